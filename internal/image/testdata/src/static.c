/* Has OpenSSL and Rust crypto linked in, as far as strings tell, and words that mean nothing. */
const char *const traces[] = {"OpenSSL 3.5.6 7 Apr 2026", "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/aes-0.8.4/src/soft.rs",
	"openSSLIsBoringSSL", "mbedtls", "/src/magic_string-0.3.4/src/lib.rs", "OpenSSL 4.x or later"};
int main(int argc, char **argv) { return traces[argc & 3][0]; }
