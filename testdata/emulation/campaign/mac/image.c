// One implant's macOS executable: it encrypts with the API that is defined and sends over a plain socket. It is linked, analysed and never run.
typedef const void *ref;
typedef unsigned char byte;
int socket(int, int, int);
int connect(int, const void *, unsigned);
long send(int, const void *, unsigned long, int);

static const char name[] = NAME; // makes each executable, and so its LC_UUID, a different one
static const byte key[16] = "0123456789abcdef";

#if defined(CCCRYPT)
int CCCrypt(unsigned, unsigned, unsigned, const void *, unsigned long, const void *, const void *, unsigned long, void *, unsigned long, unsigned long *);
static unsigned long seal(const byte *in, unsigned long n, byte *out) {
	unsigned long moved;
	CCCrypt(0, 0, 1, key, 16, 0, in, n, out, 64, &moved);
	return moved;
}
#elif defined(CCCRYPTOR) || defined(CCMODE)
int CCCryptorCreate(unsigned, unsigned, unsigned, const void *, unsigned long, const void *, void **);
int CCCryptorCreateWithMode(unsigned, unsigned, unsigned, unsigned, const void *, const void *, unsigned long, const void *, unsigned long, int, unsigned, void **);
int CCCryptorUpdate(void *, const void *, unsigned long, void *, unsigned long, unsigned long *);
static unsigned long seal(const byte *in, unsigned long n, byte *out) {
	void *cryptor;
	unsigned long moved;
#ifdef CCMODE
	CCCryptorCreateWithMode(0, 3, 3, 0, 0, key, 16, 0, 0, 0, 0, &cryptor); // CAST-128 or AES in a stream mode
#else
	CCCryptorCreate(0, 4, 0, key, 16, 0, &cryptor); // RC4
#endif
	CCCryptorUpdate(cryptor, in, n, out, 64, &moved);
	return moved;
}
#elif defined(SECTRANSFORM)
ref SecEncryptTransformCreate(ref, ref *);
int SecTransformSetAttribute(ref, ref, ref, ref *);
ref SecTransformExecute(ref, ref *);
static unsigned long seal(const byte *in, unsigned long n, byte *out) {
	ref error = 0, transform = SecEncryptTransformCreate(key, &error);
	SecTransformSetAttribute(transform, "", in, &error);
	*(ref *)out = SecTransformExecute(transform, &error);
	return n;
}
#elif defined(EVP)
void *EVP_CIPHER_CTX_new(void);
const void *EVP_aes_256_ctr(void);
int EVP_EncryptInit_ex(void *, const void *, void *, const byte *, const byte *);
int EVP_EncryptUpdate(void *, byte *, int *, const byte *, int);
static unsigned long seal(const byte *in, unsigned long n, byte *out) {
	int moved = 0;
	void *context = EVP_CIPHER_CTX_new();
	EVP_EncryptInit_ex(context, EVP_aes_256_ctr(), 0, key, key);
	EVP_EncryptUpdate(context, out, &moved, in, (int)n);
	return (unsigned long)moved;
}
#elif defined(INLINE_RC4)
static unsigned long seal(const byte *in, unsigned long n, byte *out) {
	static byte s[256];
	for (int i = 0; i < 256; i++) s[i] = (byte)i;
	for (int i = 0, j = 0; i < 256; i++) {
		j = (j + s[i] + key[i % 16]) & 255;
		byte t = s[i]; s[i] = s[j]; s[j] = t;
	}
	for (unsigned long k = 0, i = 0, j = 0; k < n; k++) {
		i = (i + 1) & 255; j = (j + s[i]) & 255;
		byte t = s[i]; s[i] = s[j]; s[j] = t;
		out[k] = in[k] ^ s[(s[i] + s[j]) & 255];
	}
	return n;
}
#elif defined(INLINE_AES)
#include "sbox.h"
static unsigned long seal(const byte *in, unsigned long n, byte *out) { // SubBytes and AddRoundKey: the table is what matters here
	for (unsigned long k = 0; k < n; k++) out[k] = sbox[in[k] ^ key[k % 16]];
	return n;
}
#elif defined(DLSYM)
void *dlopen(const char *, int);
void *dlsym(void *, const char *);
static unsigned long seal(const byte *in, unsigned long n, byte *out) {
	volatile char symbol[8] = { 'C' ^ 7, 'C' ^ 7, 'C' ^ 7, 'r' ^ 7, 'y' ^ 7, 'p' ^ 7, 't' ^ 7, 0 };
	for (int i = 0; i < 7; i++) symbol[i] ^= 7;
	int (*crypt)(unsigned, unsigned, unsigned, const void *, unsigned long, const void *, const void *, unsigned long, void *, unsigned long, unsigned long *) = dlsym(dlopen(0, 1), (const char *)symbol);
	unsigned long moved;
	crypt(0, 4, 0, key, 16, 0, in, n, out, 64, &moved);
	return moved;
}
#elif defined(TLS)
ref SSLCreateContext(ref, int, int);
int SSLHandshake(ref);
int SSLWrite(ref, const void *, unsigned long, unsigned long *);
static unsigned long seal(const byte *in, unsigned long n, byte *out) {
	unsigned long moved;
	ref tls = SSLCreateContext(0, 1, 0);
	SSLHandshake(tls);
	return (unsigned long)SSLWrite(tls, in, n, &moved);
}
#else // XOR
static unsigned long seal(const byte *in, unsigned long n, byte *out) {
	for (unsigned long k = 0; k < n; k++) out[k] = in[k] ^ key[k % 16];
	return n;
}
#endif

int main(void) {
	byte out[64];
	int s = socket(2, 1, 0);
	connect(s, name, 16);
	return (int)send(s, out, seal((const byte *)name, sizeof name & 31, out), 0);
}
