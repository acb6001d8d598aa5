package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

const (
	libSystem = "/usr/lib/libSystem.B.dylib"
	security  = "/System/Library/Frameworks/Security.framework/Versions/A/Security"
	app       = "/Applications/Bundle.app/Contents"
)

func analyzer(t testing.TB, dir string) *Analyzer {
	t.Helper()
	root, err := rootfs.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = root.Close() })
	return NewAnalyzer(root)
}

// symmetric drops what the analytic does not ask for.
func symmetric(all []Evidence) []Evidence {
	var out []Evidence
	for _, e := range all {
		if e.Class == ClassSymmetric {
			out = append(out, e)
		}
	}
	return out
}

// What each fixture links is known from its source and from how testdata/build.sh links it.
func TestAnalyze(t *testing.T) {
	t.Parallel()
	a := analyzer(t, "testdata/tree")
	evp := []string{"EVP_EncryptFinal_ex", "EVP_EncryptInit_ex", "EVP_EncryptUpdate"}
	x86 := []string{"x86_64"}
	for _, c := range []struct {
		path     string
		inserted []string
		want     []Evidence
		errs     []string
	}{
		{path: "/usr/local/bin/direct", want: []Evidence{{
			Provider: "commoncrypto", Strength: strong, Linkage: linkDirect, Library: libSystem, Symbols: []string{"CCCrypt"},
			ImagePath: "/usr/local/bin/direct", Arch: []string{"arm64", "x86_64"},
		}}},
		{path: "/usr/local/bin/sectransform", want: []Evidence{{
			Provider: "security_framework", Strength: strong, Linkage: linkDirect, Library: security,
			Symbols: []string{"SecEncryptTransformCreate"}, ImagePath: "/usr/local/bin/sectransform", Arch: x86,
		}}},
		{path: "/usr/local/bin/weak", want: []Evidence{{
			Provider: "security_framework", Strength: strong, Linkage: linkWeak, Library: security,
			Symbols: []string{"SecEncryptTransformCreate"}, ImagePath: "/usr/local/bin/weak", Arch: x86,
		}}},
		{path: "/usr/local/bin/constant", want: []Evidence{{
			Provider: "security_framework", Strength: weak, Linkage: linkDirect, Library: security,
			Symbols: []string{"kSecAttrKeyTypeAES"}, ImagePath: "/usr/local/bin/constant", Arch: x86,
		}}},
		{path: "/usr/local/bin/flat", want: []Evidence{{
			Provider: "commoncrypto", Strength: strong, Linkage: linkDirect, Library: libSystem, Symbols: []string{"CCCrypt"},
			ImagePath: "/usr/local/bin/flat", Arch: x86,
		}}},
		{path: "/usr/local/bin/byname", want: []Evidence{{
			Provider: "commoncrypto", Strength: weak, Linkage: linkDlopen, Symbols: []string{"CCCryptorUpdate"},
			ImagePath: "/usr/local/bin/byname", Arch: x86,
		}}},
		{path: "/usr/local/bin/static", want: []Evidence{
			{
				Provider: "openssl", Strength: weak, Linkage: linkStatic, Symbols: []string{"OpenSSL 3.5.6 7 Apr 2026"},
				ImagePath: "/usr/local/bin/static", Arch: x86,
			},
			{
				Provider: "rustcrypto", Strength: weak, Linkage: linkStatic, Symbols: []string{"aes-0.8.4"},
				ImagePath: "/usr/local/bin/static", Arch: x86,
			},
		}},
		{path: app + "/MacOS/evp", want: []Evidence{{
			Provider: "openssl", Strength: strong, Linkage: linkBundled, Library: "@rpath/libcrypto.3.dylib", Symbols: evp,
			ImagePath: app + "/Frameworks/libmid.dylib", Arch: x86,
		}}},
		{path: app + "/MacOS/nested", want: []Evidence{{
			Provider: "commoncrypto", Strength: strong, Linkage: linkBundled, Library: libSystem, Symbols: []string{"CCCrypt"},
			ImagePath: app + "/Frameworks/libinner.dylib", Via: []string{app + "/Frameworks/libouter.dylib"}, Arch: x86,
		}}},
		// What libssl asks of libcrypto is its own business.
		{path: app + "/MacOS/tls"},
		// A function of its own that happens to be called RC4 is weak; three names of OpenSSL's from one library are not.
		{path: "/usr/local/bin/ownrc4", want: []Evidence{{
			Provider: "openssl", Strength: weak, Linkage: linkDirect, Library: "/usr/local/lib/libown.dylib", Symbols: []string{"RC4"},
			ImagePath: "/usr/local/bin/ownrc4", Arch: x86,
		}}},
		{path: "/usr/local/bin/renamed", want: []Evidence{{
			Provider: "openssl", Strength: strong, Linkage: linkDirect, Library: "/usr/local/lib/libown.dylib", Symbols: evp,
			ImagePath: "/usr/local/bin/renamed", Arch: x86,
		}}},
		{path: "/usr/local/bin/bare", errs: []string{"library libbare.dylib: a bare name"}},
		{path: "/usr/local/bin/gone", errs: []string{"library @rpath/libgone.dylib: not found"}},
		{path: "/usr/local/bin/cycle", want: []Evidence{{
			Provider: "commoncrypto", Strength: strong, Linkage: linkBundled, Library: libSystem, Symbols: []string{"CCCrypt"},
			ImagePath: "/usr/local/lib/libb.dylib", Arch: x86,
		}}},
		{path: "/opt/env/program", want: []Evidence{{
			Provider: "commoncrypto", Strength: strong, Linkage: linkBundled, Library: libSystem, Symbols: []string{"CCCrypt"},
			ImagePath: "/opt/env/lib/libenv.dylib", Arch: x86,
		}}},
		{
			path: "/usr/local/bin/constant", inserted: []string{"/opt/env/lib/libenv.dylib", "/nowhere.dylib"},
			want: []Evidence{
				{
					Provider: "commoncrypto", Strength: strong, Linkage: linkBundled, Library: libSystem, Symbols: []string{"CCCrypt"},
					ImagePath: "/opt/env/lib/libenv.dylib", Arch: x86,
				},
				{
					Provider: "security_framework", Strength: weak, Linkage: linkDirect, Library: security,
					Symbols: []string{"kSecAttrKeyTypeAES"}, ImagePath: "/usr/local/bin/constant", Arch: x86,
				},
			},
			errs: []string{"library /nowhere.dylib: not found"},
		},
	} {
		r, err := a.Analyze(t.Context(), c.path, c.inserted)
		require.NoError(t, err, c.path)
		for i := range c.want {
			c.want[i].Class = ClassSymmetric
		}
		require.Equal(t, c.want, symmetric(r.Evidence), c.path)
		require.Equal(t, "mach-o", r.Format)
		require.Len(t, r.UUIDs, len(r.Arch))
		require.Len(t, r.Errs, len(c.errs), "%s: %v", c.path, r.Errs)
		for i, want := range c.errs {
			require.ErrorContains(t, r.Errs[i], want)
			require.ErrorContains(t, r.Errs[i], c.path)
		}
	}
}

// A library that passes Security on is Security, as far as the analytic goes.
func TestAnalyzeReexport(t *testing.T) {
	t.Parallel()
	r, err := analyzer(t, "testdata/tree").Analyze(t.Context(), "/usr/local/bin/reexport", nil)
	require.NoError(t, err)
	strongly, apple := r.Strong()
	require.True(t, strongly && apple, "%+v", r.Evidence)
}

func TestAnalyzeELF(t *testing.T) {
	t.Parallel()
	a := analyzer(t, "testdata/elf")
	r, err := a.Analyze(t.Context(), "/app/program", nil)
	require.NoError(t, err)
	require.Empty(t, r.Errs)
	require.Equal(t, "elf", r.Format)
	require.Equal(t, []Evidence{{
		Provider: "openssl", Class: ClassSymmetric, Strength: strong, Linkage: linkBundled, Library: "libcrypto.so.3",
		Symbols:   []string{"EVP_EncryptFinal_ex", "EVP_EncryptInit_ex", "EVP_EncryptUpdate"},
		ImagePath: "/app/lib/libuser.so", Arch: []string{"x86_64"},
	}}, symmetric(r.Evidence))

	r, err = a.Analyze(t.Context(), "/app/unversioned", nil)
	require.NoError(t, err)
	require.Equal(t, []Evidence{{
		Provider: "openssl", Class: ClassSymmetric, Strength: strong, Linkage: linkDirect,
		Symbols:   []string{"EVP_EncryptFinal_ex", "EVP_EncryptInit_ex", "EVP_EncryptUpdate"},
		ImagePath: "/app/unversioned", Arch: []string{"x86_64"},
	}}, r.Evidence, "three names of OpenSSL's, but no version that says whose")
	require.Len(t, r.Errs, 1)
	require.ErrorContains(t, r.Errs[0], "library libvendor.so: not found")
}

func TestAnalyzeRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := analyzer(t, dir)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	require.NoError(t, os.Symlink("/nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	for _, p := range []string{"/missing", "/folder", "/dangling", "/loop", "/a\x00b"} {
		_, err := a.Analyze(t.Context(), p, nil)
		require.ErrorContains(t, err, p)
	}
	_, err := a.Analyze(t.Context(), "/missing", nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = a.Analyze(t.Context(), "/folder", nil)
	require.ErrorIs(t, err, rootfs.ErrNotRegular)
}

func TestAnalyzeOddFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := analyzer(t, dir)
	for name, c := range map[string]struct{ contents, format, err string }{
		"empty":     {"", "other", ""},
		"script":    {"#!/bin/sh\n", "script", ""},
		"text":      {"hello", "other", ""},
		"cut":       {"\xcf\xfa\xed\xfe\x0c\x00\x00\x01", "other", "/cut"},
		"java":      {"\xca\xfe\xba\xbe\x00\x00\x00\x41rest of a class file", "other", "/java"},
		"elf":       {"\x7fELF\x02\x01\x01", "elf", "/elf: elf: header"},
		"elf-class": {"\x7fELF\x07" + strings.Repeat("\x00", 64), "elf", "class 7"},
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(c.contents), 0o600))
		r, err := a.Analyze(t.Context(), "/"+name, nil)
		require.NoError(t, err, name)
		require.Equal(t, c.format, r.Format, name)
		if c.err == "" {
			require.Empty(t, r.Errs, name)
		} else {
			require.Len(t, r.Errs, 1, name)
			require.ErrorContains(t, r.Errs[0], c.err, name)
		}
	}
}

// A file of 2 GiB without contents costs nothing.
func TestAnalyzeSparse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, head := range map[string]string{"elf": "\x7fELF\x02\x01", "macho": "\xcf\xfa\xed\xfe", "fat": "\xca\xfe\xba\xbe"} {
		f, err := os.Create(filepath.Join(dir, name))
		require.NoError(t, err)
		_, err = f.WriteString(head)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(2<<30))
		require.NoError(t, f.Close())
		start := time.Now()
		_, err = analyzer(t, dir).Analyze(t.Context(), "/"+name, nil)
		require.NoError(t, err)
		require.Less(t, time.Since(start), time.Second)
	}
}

func TestAnalyzeReplacedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a := analyzer(t, dir)
	put := func(fixture string) {
		b, err := os.ReadFile("testdata/tree/usr/local/bin/" + fixture)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "new"), b, 0o600))
		require.NoError(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "program")))
	}
	for _, c := range []struct {
		fixture string
		strong  bool
	}{{"sectransform", true}, {"constant", false}, {"flat", true}} {
		put(c.fixture)
		for range 2 {
			r, err := a.Analyze(t.Context(), "/program", nil)
			require.NoError(t, err)
			strongly, _ := r.Strong()
			require.Equal(t, c.strong, strongly, c.fixture)
		}
	}
	require.Len(t, a.cache.known, 3)
}

func TestAnalyzeAtOnce(t *testing.T) {
	t.Parallel()
	a := analyzer(t, "testdata/tree")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			r, err := a.Analyze(context.Background(), app+"/MacOS/evp", nil)
			if err != nil || len(symmetric(r.Evidence)) != 1 {
				t.Errorf("%v %v", r, err)
			}
		})
	}
	wg.Wait()
}

func TestAnalyzeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := analyzer(t, "testdata/tree")
	_, err := a.Analyze(ctx, "/usr/local/bin/direct", nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, a.cache.known, "what was not read to its end is not kept")
	_, err = a.Analyze(t.Context(), "/usr/local/bin/direct", nil)
	require.NoError(t, err)
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := newCache(2)
	reads := 0
	get := func(inode uint64) {
		key := cacheKey{id: rootfs.ID{Inode: inode}}
		_, err := c.get(t.Context(), key, func() (cacheKey, *facts, error) { reads++; return key, &facts{}, nil })
		require.NoError(t, err)
	}
	for _, inode := range []uint64{1, 2, 1, 3, 1, 2} { // 2 is forgotten for 3
		get(inode)
	}
	require.Equal(t, 4, reads)
	require.Len(t, c.known, 2)
	_, err := c.get(t.Context(), cacheKey{id: rootfs.ID{Inode: 9}}, func() (cacheKey, *facts, error) {
		return cacheKey{}, nil, errors.New("unreadable")
	})
	require.ErrorContains(t, err, "unreadable")
	require.Len(t, c.known, 2, "errors are not kept")
}

// A library that only calls itself libssl does not hide what it asks of Apple.
func TestCryptoLibraryByNameOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, fixture := range map[string]string{"program": "/usr/local/bin/constant", "libssl.3.dylib": "/opt/env/lib/libenv.dylib"} {
		b, err := os.ReadFile("testdata/tree" + fixture)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	r, err := analyzer(t, dir).Analyze(t.Context(), "/program", []string{"@executable_path/libssl.3.dylib"})
	require.NoError(t, err)
	strongly, apple := r.Strong()
	require.True(t, strongly && apple, "%+v", r.Evidence)
}

func TestWalkIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := os.ReadFile("testdata/tree/opt/env/lib/libenv.dylib")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "program"), b, 0o600))
	var inserted []string
	for i := range maxImages + 10 {
		name := fmt.Sprintf("lib%d.dylib", i)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		inserted = append(inserted, "/"+name)
	}
	r, err := analyzer(t, dir).Analyze(t.Context(), "/program", inserted)
	require.NoError(t, err)
	require.Len(t, symmetric(r.Evidence), maxImages)
	require.ErrorContains(t, r.Errs[0], "are not followed")
	require.LessOrEqual(t, len(r.Errs), maxWalkErrs)
}

func TestCacheIsBoundedByWeight(t *testing.T) {
	t.Parallel()
	c := newCache(maxCached)
	heavy := &facts{units: []*unit{{rpaths: []string{strings.Repeat("x", 5<<20)}}}}
	for i := range 40 {
		key := cacheKey{id: rootfs.ID{Inode: uint64(i)}}
		_, err := c.get(t.Context(), key, func() (cacheKey, *facts, error) { return key, heavy, nil })
		require.NoError(t, err)
	}
	require.Len(t, c.known, 9)
	require.LessOrEqual(t, c.weight, int64(maxCachedWeight))
}
