extern int puts(const char *);
extern int bundled(void);
int main(void) { return puts("plain") + bundled(); }
