// No crypto: asks a web server in clear text.
int socket(int, int, int);
long send(int, const void *, unsigned long, int);

int main(void) { return (int)send(socket(2, 1, 0), "GET / HTTP/1.1\r\n\r\n", 18, 0); }
