/* Names a key type only. */
extern const int kSecAttrKeyTypeAES;
const int *type = &kSecAttrKeyTypeAES;
int main(void) { return *type; }
