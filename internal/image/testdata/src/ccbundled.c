/* A bundled library that encrypts. */
extern int CCCrypt(int);
int bundled(void) { return CCCrypt(1); }
