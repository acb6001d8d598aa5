/* Calls the analytic's own API. */
extern const void *SecEncryptTransformCreate(const void *, const void **);
extern const void *SecTransformExecute(const void *, const void **);
extern const void *const kSecPaddingPKCS7Key;
extern void CFRelease(const void *);
int main(void) {
	const void *t = SecEncryptTransformCreate(kSecPaddingPKCS7Key, 0);
	CFRelease(SecTransformExecute(t, 0));
	return 0;
}
