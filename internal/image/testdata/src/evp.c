/* Uses OpenSSL's calls. */
extern int EVP_EncryptInit_ex(int), EVP_EncryptUpdate(int), EVP_EncryptFinal_ex(int);
int bundled(void) { return EVP_EncryptInit_ex(1) + EVP_EncryptUpdate(2) + EVP_EncryptFinal_ex(3); }
int main(void) { return bundled(); }
