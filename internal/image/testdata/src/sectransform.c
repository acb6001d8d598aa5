/* The analytic's own call. */
extern int SecEncryptTransformCreate(int);
int main(void) { return SecEncryptTransformCreate(1); }
