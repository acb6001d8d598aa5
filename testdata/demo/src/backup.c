// A TLS client (SecureTransport) that also encrypts files at rest with CommonCrypto: benign, though it imports CCCrypt.
typedef const void *ref;
int CCCrypt(unsigned, unsigned, unsigned, const void *, unsigned long, const void *, const void *, unsigned long, void *, unsigned long, unsigned long *);
ref SSLCreateContext(ref, int, int);
int SSLHandshake(ref);
int SSLWrite(ref, const void *, unsigned long, unsigned long *);

int main(void) {
	char out[64];
	unsigned long moved;
	CCCrypt(0, 0, 1, "0123456789abcdef", 16, 0, "a file's content", 16, out, sizeof out, &moved);
	ref tls = SSLCreateContext(0, 1, 0);
	SSLHandshake(tls);
	return SSLWrite(tls, out, moved, &moved);
}
