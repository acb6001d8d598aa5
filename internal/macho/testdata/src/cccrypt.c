/* Calls CommonCrypto, which libSystem re-exports. */
typedef unsigned long size_t;
extern int CCCrypt(unsigned, unsigned, unsigned, const void *, size_t, const void *, const void *, size_t, void *, size_t, size_t *);
extern int CCCryptorCreate(unsigned, unsigned, unsigned, const void *, size_t, const void *, void **);
extern int optional_call(void) __attribute__((weak_import));
extern const int kCCSomething;
const int *address_of_data = &kCCSomething;
int encrypt(const void *key, const void *in, size_t n, void *out) {
	size_t moved = 0;
	void *ref = 0;
	if (optional_call)
		optional_call();
	CCCryptorCreate(0, 0, 1, key, 32, 0, &ref);
	return CCCrypt(0, 0, 1, key, 32, 0, in, n, out, n, &moved) + kCCSomething;
}
int main(void) { return encrypt("k", "p", 1, 0); }
