/* Looks the call up by name. */
extern void *dlopen(const char *, int);
extern void *dlsym(void *, const char *);
int main(void) { return ((int (*)(int))dlsym(dlopen("/usr/lib/system/libcommonCrypto.dylib", 1), "CCCryptorUpdate"))(1); }
