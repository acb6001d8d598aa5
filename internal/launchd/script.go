package launchd

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// maxScript is how many bytes of a script are looked at: what does crypto says so in its imports.
const maxScript = 64 << 10

// hint finds one kind of call of crypto in a script's text. It is reported by its name only: text is nobody's business.
type hint struct {
	name    string
	needs   []string // one of these is in the text in lower case, or the pattern, which is slow, need not be tried
	pattern *regexp.Regexp
}

var scriptHints = []hint{
	{"openssl", []string{"openssl"}, regexp.MustCompile(`\bopenssl["',\s]+(enc|aes-|des|rc4|chacha20|camellia|smime|cms|rsautl|pkeyutl)`)},
	{"cccrypt", []string{"cccrypt", "cchmac", "cckeyd"}, regexp.MustCompile(`\bCC(Crypt(or\w*)?|HmacInit|KeyDerivationPBKDF)\b`)},
	{"sectransform", []string{"transformcreate", "seckey"},
		regexp.MustCompile(`\bSec((Encrypt|Decrypt)TransformCreate|Key(Create(Encrypted|Decrypted)Data|Encrypt|Decrypt|WrapSymmetric))\b`)},
	{"cryptokit", []string{"cryptokit", "aes.gcm", "chachapoly"}, regexp.MustCompile(`\b(import CryptoKit|AES\.GCM|ChaChaPoly)\b`)},
	{"pycrypto", []string{"crypto.", "cryptodome."}, regexp.MustCompile(`\bCrypto(dome)?\.(Cipher|Util)\b`)},
	{"cryptography", []string{"cryptography.", "fernet"}, regexp.MustCompile(`\bcryptography\.(hazmat|fernet)\b|\bFernet\(`)},
	{"nacl", []string{"nacl", "sodium"},
		regexp.MustCompile(`\b(import nacl|from nacl|nacl\.(secret|public|bindings)|libsodium|sodium\.crypto_\w+|tweetnacl|sodium_crypto_\w+)\b`)},
	{"pyaes", []string{"pyaes"}, regexp.MustCompile(`\bpyaes\b`)},
	{"node-crypto", []string{"cipher"}, regexp.MustCompile(`\bcreate(C|Dec)ipher(iv)?\b`)},
	{"webcrypto", []string{"subtle."}, regexp.MustCompile(`\bsubtle\.(en|de)crypt\b`)},
	{"crypto-js", []string{"crypto-js", "cryptojs"}, regexp.MustCompile(`\b(crypto-js|CryptoJS)\b`)},
	{"perl-crypt", []string{"crypt::"}, regexp.MustCompile(`\bCrypt::(CBC|Rijndael|Cipher|AuthEnc|OpenSSL|Blowfish|RC4|Mode)\b`)},
	{"ruby-openssl", []string{"openssl::"}, regexp.MustCompile(`\bOpenSSL::Cipher\b`)},
	{"java-crypto", []string{"javax.crypto"}, regexp.MustCompile(`\bjavax\.crypto\b`)},
	{"php-openssl", []string{"openssl_", "mcrypt_"}, regexp.MustCompile(`\b(openssl_(en|de)crypt|mcrypt_\w+)\s*\(`)},
	{"aes", []string{"aes"}, regexp.MustCompile(`(?i)\baes[-_. ]?(128|192|256)\b|\bAES\.(new|MODE_\w+)\b|\bkCCAlgorithmAES\w*\b`)},
	{"rc4", []string{"rc4", "arcfour"}, regexp.MustCompile(`(?i)\b(rc4|arc4|arcfour)\b`)},
	{"chacha20", []string{"chacha20"}, regexp.MustCompile(`(?i)\bx?chacha20\b`)},
}

// blobLength is the run of base64 characters that no word or path reaches.
const blobLength = 200

// hasBlob says whether text holds a long run of base64 in one line.
func hasBlob(text string) bool {
	run := 0
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' {
			if run++; run >= blobLength {
				return true
			}
		} else {
			run = 0
		}
	}
	return false
}

// script collects the hints of all the text that one job runs.
type script struct {
	found map[string]bool
}

// hints are the names of the scriptHints that were found, sorted.
func (s *script) hints() []string {
	if len(s.found) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(s.found))
}

func (s *script) text(text string) {
	text = text[:min(len(text), maxScript)]
	lower := strings.ToLower(text)
	for _, h := range scriptHints {
		if slices.ContainsFunc(h.needs, func(n string) bool { return strings.Contains(lower, n) }) && h.pattern.MatchString(text) {
			s.add(h.name)
		}
	}
	if hasBlob(text) {
		s.add("base64-blob")
	}
}

func (s *script) add(name string) {
	if s.found == nil {
		s.found = map[string]bool{}
	}
	s.found[name] = true
}

// file looks at the beginning of a file and gives it; what cannot be read gives no hints.
func (s *script) file(files *files, name string) string {
	f, err := files.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	var b strings.Builder
	_, _ = io.Copy(&b, io.LimitReader(f, maxScript)) // what was read before an error is text too
	s.text(b.String())
	return b.String()
}
