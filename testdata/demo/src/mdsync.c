// Encrypts with Security.framework's SecTransform (AES) and sends what comes out over a plain socket.
typedef const void *ref;
extern ref kSecTransformInputAttributeName, kSecAttrKeyTypeAES, kSecAttrKeyType;
ref CFDataCreate(ref, const unsigned char *, long);
ref CFDictionaryCreateMutable(ref, long, ref, ref);
void CFDictionaryAddValue(ref, ref, ref);
void CFRelease(ref);
ref SecKeyCreateFromData(ref, ref, ref *);
ref SecEncryptTransformCreate(ref, ref *);
int SecTransformSetAttribute(ref, ref, ref, ref *);
ref SecTransformExecute(ref, ref *);
int socket(int, int, int);
int connect(int, const void *, unsigned);
long send(int, const void *, unsigned long, int);
int close(int);

int main(void) {
	ref error = 0, parameters = CFDictionaryCreateMutable(0, 0, 0, 0);
	CFDictionaryAddValue(parameters, kSecAttrKeyType, kSecAttrKeyTypeAES);
	ref key = SecKeyCreateFromData(parameters, CFDataCreate(0, (const unsigned char *)"0123456789abcdef", 16), &error);
	ref transform = SecEncryptTransformCreate(key, &error);
	SecTransformSetAttribute(transform, kSecTransformInputAttributeName, CFDataCreate(0, (const unsigned char *)"host facts", 10), &error);
	ref out = SecTransformExecute(transform, &error);
	int s = socket(2, 1, 0);
	connect(s, "", 16);
	send(s, out, 16, 0);
	CFRelease(out);
	return close(s);
}
