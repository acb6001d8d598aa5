/* Stands for libcrypto: has OpenSSL's calls, and asks the system for random numbers. */
extern int getentropy(int);
int EVP_EncryptInit_ex(int a) { return getentropy(a); }
int EVP_EncryptUpdate(int a) { return a; }
int EVP_EncryptFinal_ex(int a) { return a; }
int RC4(int a) { return a; }
