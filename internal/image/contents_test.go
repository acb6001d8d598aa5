package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"debug/elf"
	"debug/gosym"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// lookAt looks through one region of text.
func lookAt(t *testing.T, text string, loads bool) (*facts, *unit) {
	t.Helper()
	f, u := &facts{}, &unit{arch: "arm64", loads: loads}
	n := int64(len(text))
	f.look(t.Context(), u, contents{
		r: strings.NewReader(text), texts: []region{{0, n}}, end: region{max(0, n-maxEnd), min(n, maxEnd)},
	}, newBudget())
	return f, u
}

// markersOf gives "provider: text" of all markers, sorted.
func markersOf(u *unit) []string {
	var out []string
	for _, m := range u.markers {
		out = append(out, m.entry.provider+": "+m.found+" ("+m.strength+" "+m.linkage+")")
	}
	slices.Sort(out)
	return out
}

// The texts are those that were seen in real programs (reference: static-crypto.md), right ones and misleading ones.
func TestStaticMarkers(t *testing.T) {
	t.Parallel()
	sbox := aesTable
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"openssl", "\x00OpenSSL 3.5.8 25 Aug 2026\x00", []string{"openssl: OpenSSL 3.5.8 25 Aug 2026 (weak static)"}},
		{"old openssl", "OpenSSL 1.0.2d 9 Jul 2015", []string{"openssl: OpenSSL 1.0.2d 9 Jul 2015 (weak static)"}},
		{"double space", "OpenSSL 1.1.1w  11 Sep 2023", []string{"openssl: OpenSSL 1.1.1w  11 Sep 2023 (weak static)"}},
		{"words about openssl", "built with OpenSSL 3.0 or later; OpenSSL error; OpenSSL 3.0.0", nil},
		{"boringssl", "../../third_party/boringssl/src/ssl/x.cc", []string{"boringssl: third_party/boringssl (weak static)"}},
		{"boringssl by cargo", "/x/boringssl/src/crypto/fipsmodule/bcm.c", []string{"boringssl: third_party/boringssl (weak static)"}},
		{"words about boringssl", "openSSLIsBoringSSL boringssl/ see boringssl", nil},
		{"aws-lc", "aws_lc_0_40_0_EVP_aead", []string{"aws_lc: aws_lc_0_40_0 (weak static)"}},
		{"words about aws-lc", "aws_lc_version aws_lc_rs", nil},
		{"ring", "_ring_core_0_17_14__aes_gcm", []string{"rust_ring: ring_core_0_17_14 (weak static)"}},
		{"ring by path", "/ring-0.17.14/src/aead.rs", []string{"rust_ring: ring-0.17.14 (weak static)"}},
		{"no ring", "/magic_string-0.3.4/src/lib.rs and spring-0.1.1/src/", nil},
		{
			"rustcrypto", "io-1949cf8c6b5b557f/aes-gcm-0.10.3/src/lib.rs /chacha20poly1305-0.10.1/src/",
			[]string{"rustcrypto: aes-gcm-0.10.3 (weak static)", "rustcrypto: chacha20poly1305-0.10.1 (weak static)"},
		},
		{"rustls", "/rustls-0.23.31/src/conn.rs", []string{"rust_rustls: rustls-0.23.31 (weak static)"}},
		{"libsodium", "sodium_malloc\x00crypto_secretbox_xsalsa20poly1305", []string{"libsodium: sodium_malloc (weak static)"}},
		{"half of libsodium", "sodium_malloc", nil},
		{"mbedtls", "mbedtls_aes" + sbox, []string{"mbedtls: mbedtls (weak static)"}},
		{"word about mbedtls", "mbedtls", nil},
		{"word about mbedtls beside OpenSSL", "mbedtls OpenSSL 3.5.8 25 Aug 2026" + sbox, []string{"openssl: OpenSSL 3.5.8 25 Aug 2026 (weak static)"}},
		{
			"across chunks", strings.Repeat("x", scanChunk-10) + "OpenSSL 3.5.8 25 Aug 2026",
			[]string{"openssl: OpenSSL 3.5.8 25 Aug 2026 (weak static)"},
		},
	} {
		f, u := lookAt(t, c.text, false)
		require.Equal(t, c.want, markersOf(u), c.name)
		require.Empty(t, f.errs, c.name)
	}
}

func TestNamesForDlsym(t *testing.T) {
	t.Parallel()
	const names = "\x00CCCryptorUpdate\x00SecEncryptTransformCreate\x00EVP_EncryptUpdate\x00CC_SHA256\x00kSecAttrKeyTypeAES\x00CCCryptX\x00"
	_, u := lookAt(t, names, false)
	require.Empty(t, u.markers, "names alone mean nothing in a program that loads nothing")
	_, u = lookAt(t, names, true)
	require.Equal(t, []string{
		"commoncrypto: CCCryptorUpdate (weak dlopen)", "security_framework: SecEncryptTransformCreate (weak dlopen)",
	}, markersOf(u))
	_, u = lookAt(t, names+"/opt/homebrew/lib/libcrypto.3.dylib\x00", true)
	require.Contains(t, markersOf(u), "openssl: EVP_EncryptUpdate (weak dlopen)")
}

func TestRuntimes(t *testing.T) {
	t.Parallel()
	for want, text := range map[string]string{
		"node": "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:0", "dotnet": "System.Private.CoreLib\x00",
		"pyinstaller": "archive MEI\x0c\x0b\x0a\x0b\x0e\x00\x00\x10", "": "nothing of the kind",
	} {
		f, _ := lookAt(t, text, false)
		require.Equal(t, want, f.runtime)
	}
	for name, want := range map[string]string{
		"@rpath/Electron Framework.framework/Electron Framework": "electron", "libpython3.11.so.1.0": "python", "/usr/lib/libz.dylib": "",
	} {
		require.Equal(t, want, runtimeOf(&unit{libraries: []library{{name: name}}}, nil))
	}
	require.Equal(t, "bun", runtimeOf(&unit{}, []string{"__TEXT", "__BUN"}))
}

func TestPacked(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 64<<10)
	_, _ = rand.Read(noise)
	f, u := &facts{}, &unit{arch: "x86_64"}
	f.look(t.Context(), u, contents{r: bytes.NewReader(noise), code: region{0, int64(len(noise))}, encrypted: "encrypted"}, newBudget())
	require.Len(t, f.errs, 2)
	require.ErrorContains(t, f.errs[0], "slice x86_64: encrypted")
	require.ErrorContains(t, f.errs[1], "packed or encrypted")
	// The test's own code is not.
	self, err := os.Executable()
	require.NoError(t, err)
	r, err := analyzer(t, filepath.Dir(self)).Analyze(t.Context(), "/"+filepath.Base(self), nil)
	require.NoError(t, err)
	for _, err := range r.Errs {
		require.NotContains(t, err.Error(), "packed")
	}
	require.Equal(t, "go", r.Runtime)
}

func TestScanLimits(t *testing.T) {
	t.Parallel()
	f, u := &facts{}, &unit{}
	f.look(t.Context(), u, contents{r: zeros{}, texts: []region{{0, maxScan + 1}}}, newBudget())
	require.ErrorContains(t, f.errs[0], "looked through for no more than")
	f = &facts{}
	f.look(t.Context(), u, contents{r: strings.NewReader("short"), texts: []region{{0, 10}}}, newBudget())
	require.ErrorIs(t, f.errs[0], io.EOF)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f = &facts{}
	f.look(ctx, u, contents{r: zeros{}, texts: []region{{0, maxScan}}}, newBudget())
	require.ErrorIs(t, f.errs[0], context.Canceled)
}

// zeros is a file without an end.
type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) { return len(b), nil }

// debug/gosym reads the same table its own way.
func TestGoNamesAgainstGosym(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the test binary is no ELF file here")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	f, err := elf.Open(self)
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	tab := f.Section(".gopclntab")
	if tab == nil {
		t.Skip("no .gopclntab section")
	}
	data, err := tab.Data()
	require.NoError(t, err)
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, f.Section(".text").Addr))
	require.NoError(t, err)
	names, err := goNames(io.NewSectionReader(bytes.NewReader(data), 0, int64(len(data))), func([]byte) bool { return true })
	require.NoError(t, err)
	require.Greater(t, len(table.Funcs), 1000)
	slices.Sort(names)
	for _, fn := range table.Funcs {
		_, ok := slices.BinarySearch(names, fn.Name)
		require.True(t, ok, fn.Name)
	}
}

// What programs of each kind hold was measured (reference: static-crypto.md, "Go discriminators").
func TestGoMarkers(t *testing.T) {
	t.Parallel()
	tls := []string{
		"crypto/aes.NewCipher", "crypto/cipher.NewCBCEncrypter", "crypto/des.NewTripleDESCipher", "crypto/rc4.NewCipher", goTLS,
		"vendor/golang.org/x/crypto/chacha20poly1305.New",
	}
	for _, c := range []struct {
		name   string
		funcs  []string
		strong bool
	}{
		{"net/http only", tls, false},
		{"net/http and AES-GCM", append([]string{"crypto/cipher.NewGCM"}, tls...), false},
		{"net.Dial and AES-GCM", []string{"crypto/aes.NewCipher", "crypto/cipher.NewGCM"}, true},
		{"net.Dial and AES-CTR", []string{"crypto/cipher.NewCTR", "crypto/rc4.NewCipher"}, true},
		{"net.Dial and x/crypto", []string{"golang.org/x/crypto/chacha20poly1305.(*chacha20poly1305).Seal"}, true},
		{"x/crypto of another kind", []string{"golang.org/x/crypto/sha3.New256"}, false},
		{"map hashing only", nil, false},
	} {
		got := slices.ContainsFunc(goMarkers(c.funcs), func(m marker) bool {
			return m.strength == strong && m.entry.class == ClassSymmetric
		})
		require.Equal(t, c.strong, got, c.name)
	}
}

func TestGoNamesRefuses(t *testing.T) {
	t.Parallel()
	for _, tab := range []string{"", "short", "\xf1\xff\xff\xff\x00\x00\x01\x08" + strings.Repeat("\xff", 64), strings.Repeat("\x00", 64)} {
		_, err := goNames(io.NewSectionReader(strings.NewReader(tab), 0, int64(len(tab))), goOfInterest)
		require.ErrorContains(t, err, "pclntab")
	}
}
