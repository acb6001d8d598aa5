/* Calls nothing of interest. */
extern int puts(const char *);
int main(void) { return puts("plain"); }
