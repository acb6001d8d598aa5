/* Calls a function of its own library that happens to be called RC4. */
extern int RC4(int);
int main(void) { return RC4(1); }
