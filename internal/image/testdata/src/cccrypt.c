/* CommonCrypto, which libSystem re-exports. */
extern int CCCrypt(int);
extern int CC_SHA256(int);
int entry(void) { return CCCrypt(1) + CC_SHA256(2); }
int main(void) { return entry(); }
