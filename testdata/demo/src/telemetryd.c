// Encrypts with CommonCrypto's RC4 and sends the stream over a plain socket.
int CCCryptorCreate(unsigned, unsigned, unsigned, const void *, unsigned long, const void *, void **);
int CCCryptorUpdate(void *, const void *, unsigned long, void *, unsigned long, unsigned long *);
int CCCryptorRelease(void *);
int socket(int, int, int);
int connect(int, const void *, unsigned);
long send(int, const void *, unsigned long, int);
int close(int);

int main(void) {
	void *cryptor;
	char out[64];
	unsigned long moved;
	CCCryptorCreate(0, 4, 0, "0123456789abcdef", 16, 0, &cryptor);
	CCCryptorUpdate(cryptor, "host facts", 10, out, sizeof out, &moved);
	CCCryptorRelease(cryptor);
	int s = socket(2, 1, 0);
	connect(s, "", 16);
	send(s, out, moved, 0);
	return close(s);
}
