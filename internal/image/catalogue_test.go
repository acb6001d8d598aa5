package image

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rows reads the data file as it is, without the code that uses it.
func rows(t *testing.T) [][]string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(catalogueTSV, "\n"), "\n")
	require.Equal(t, "symbol\tlibrary\tprovider\tclass\tstrength\tsource", lines[0])
	var out [][]string
	for _, l := range lines[1:] {
		out = append(out, strings.Split(l, "\t"))
	}
	return out
}

func TestCatalogueShape(t *testing.T) {
	t.Parallel()
	library := regexp.MustCompile(`^(static|/[\w./]+|[\w.]+\.\*(\|[\w.]+\.\*)*|/[\w./]+(\|[\w.]+\.\*)+)$`)
	for i, r := range rows(t) {
		require.Len(t, r, 6, "row %d", i)
		require.NotEmpty(t, r[0], "row %d", i)
		require.False(t, strings.HasPrefix(r[0], "_CC") || strings.HasPrefix(r[0], "_Sec"), "row %d: leading underscore", i)
		require.Regexp(t, library, r[1], "row %d", i)
		require.Regexp(t, `^[a-z_]+$`, r[2], "row %d", i)
		require.Contains(t, []string{ClassSymmetric, ClassHybrid, ClassKDF, ClassHash, ClassTLS, ClassRandom}, r[3], "row %d", i)
		require.Contains(t, []string{"strong", "weak"}, r[4], "row %d", i)
		require.NotEmpty(t, r[5], "row %d: every row says where it is from", i)
	}
}

// Two rows may share a symbol only where they differ by provider, and then they must agree on what it does.
func TestCatalogueDoesNotContradictItself(t *testing.T) {
	t.Parallel()
	meaning, providers := map[string]string{}, map[string]bool{}
	for _, r := range rows(t) {
		key := r[0] + " " + r[2]
		require.False(t, providers[key], "%s of %s is there twice", r[0], r[2])
		providers[key] = true
		if r[1] == "static" {
			continue
		}
		if m, ok := meaning[r[0]]; ok {
			require.Equal(t, m, r[3]+" "+r[4], r[0])
		}
		meaning[r[0]] = r[3] + " " + r[4]
	}
}

func TestCatalogueHasTheAnalyticsCalls(t *testing.T) {
	t.Parallel()
	const (
		security  = "/System/Library/Frameworks/Security.framework/Versions/A/Security"
		libSystem = "/usr/lib/libSystem.B.dylib"
		cryptoKit = "/System/Library/Frameworks/CryptoKit.framework/Versions/A/CryptoKit"
	)
	for _, c := range []struct{ symbol, library, provider string }{
		{"SecEncryptTransformCreate", security, "security_framework"},
		{"SecDecryptTransformCreate", security, "security_framework"},
		{"SecKeyGenerateSymmetric", security, "security_framework"},
		{"SecKeyWrapSymmetric", security, "security_framework"},
		{"CSSM_EncryptData", security, "cssm_cdsa"},
		{"CSSM_DecryptData", security, "cssm_cdsa"},
		{"CCCrypt", libSystem, "commoncrypto"},
		{"CCCryptorCreate", libSystem, "commoncrypto"},
		{"CCCryptorCreateWithMode", libSystem, "commoncrypto"},
		{"CCCryptorUpdate", libSystem, "commoncrypto"},
		{"CCCryptorGCMOneshotEncrypt", libSystem, "commoncrypto"},
		{"$s9CryptoKit3AESO3GCMO4open_5using10Foundation4DataVAE9SealedBoxV_AA12SymmetricKeyVtKFZ", cryptoKit, "cryptokit"},
		{"$s9CryptoKit03ChaC4PolyO4open_5using10Foundation4DataVAC9SealedBoxV_AA12SymmetricKeyVtKFZ", cryptoKit, "cryptokit"},
	} {
		e := loadCatalogue().lookup(c.symbol, c.library)
		require.NotNil(t, e, c.symbol)
		require.Equal(t, []string{c.provider, ClassSymmetric, strong}, []string{e.provider, e.class, e.strength}, c.symbol)
	}
	e := loadCatalogue().lookup("kSecAttrKeyTypeAES", security)
	require.Equal(t, weak, e.strength, "a constant is never strong")
}

func TestLookupByLibrary(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ symbol, library, provider string }{
		{"EVP_EncryptInit_ex", "libcrypto.so.3", "openssl"},
		{"EVP_EncryptInit_ex", "@rpath/libcrypto.3.dylib", "openssl"},
		{"EVP_EncryptInit_ex", "libcrypto-1f2e3d4c.so.1.1", "openssl"},
		{"EVP_EncryptInit_ex", "@rpath/libboringssl.dylib", "boringssl"},
		{"EVP_AEAD_CTX_seal", "/usr/lib/libboringssl.dylib", "apple_boringssl"},
		{"mbedtls_gcm_crypt_and_tag", "libmbedcrypto.so.7", "mbedtls"},
		{"EVP_EncryptInit_ex", "libcryptominer.dylib", ""},
		{"EVP_EncryptInit_ex", "/usr/lib/libSystem.B.dylib", ""},
		{"CCCrypt", "/usr/lib/system/libcommonCrypto.dylib", "commoncrypto"},
		{"CCCrypt", "@rpath/libSystem.B.dylib", ""},
		{"CCCrypt", "/usr/lib/../../tmp/libSystem.B.dylib", ""},
		{"CCCrypt", "/System/Volumes/Data/tmp/libSystem.B.dylib", ""},
		{"not_crypto", "/usr/lib/libSystem.B.dylib", ""},
	} {
		e := loadCatalogue().lookup(c.symbol, c.library)
		if c.provider == "" {
			require.Nil(t, e, "%s of %s", c.symbol, c.library)
			continue
		}
		require.NotNil(t, e, "%s of %s", c.symbol, c.library)
		require.Equal(t, c.provider, e.provider, "%s of %s", c.symbol, c.library)
	}
}
