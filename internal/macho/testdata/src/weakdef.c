/* Defines a weak symbol, which dyld coalesces by weak binds, and binds it and another one. */
extern int puts(const char *);
__attribute__((weak)) int coalesced(void) { return puts("here"); }
int (*pointer)(void) = coalesced;
int (*extern_pointer)(const char *) = puts;
int call(void) { return coalesced(); }
