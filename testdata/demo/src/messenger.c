// A messenger with a protocol of its own over CommonCrypto's AES: random by nature, and approved.
int CCCrypt(unsigned, unsigned, unsigned, const void *, unsigned long, const void *, const void *, unsigned long, void *, unsigned long, unsigned long *);
int CCRandomGenerateBytes(void *, unsigned long);
int socket(int, int, int);
long send(int, const void *, unsigned long, int);

int main(void) {
	char out[64], iv[16];
	unsigned long moved;
	CCRandomGenerateBytes(iv, sizeof iv);
	CCCrypt(0, 0, 1, "0123456789abcdef", 16, iv, "hello", 5, out, sizeof out, &moved);
	return (int)send(socket(2, 1, 0), out, moved, 0);
}
