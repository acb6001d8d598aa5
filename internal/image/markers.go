package image

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

// anchorText is a rare text that leads to a marker; found decides by what is around it whether it is one, and whether any
// more of it is wanted.
type anchorText struct {
	text  string
	bytes []byte
	found func(s *scan, b []byte, at int) (enough bool)
}

const (
	sodiumBox = "crypto_secretbox_xsalsa20poly1305"
	aesTable  = "\x63\x7c\x77\x7b\xf2\x6b\x6f\xc5\x30\x01\x67\x2b\xfe\xd7\xab\x76" // FIPS 197, figure 7: the S-box
	// pyInstaller is the cookie of its archives, MAGIC in PyInstaller/archive/writers.py.
	pyInstaller = "MEI\x0c\x0b\x0a\x0b\x0e"
)

// anchors were measured on 567 real slices not to be wrong. Words alone are: node has "openSSLIsBoringSSL" and "mbedtls" in it.
var anchors = newAnchors(map[string]func(*scan, []byte, int) bool{
	"OpenSSL ": func(s *scan, b []byte, at int) bool {
		banner := openSSLBanner.Find(b[at:min(at+64, len(b))])
		return banner != nil && s.mark("OpenSSL <version> <day> <Mon> <year>", string(banner))
	},
	"boringssl/": func(s *scan, b []byte, at int) bool {
		from := max(at-len("third_party/"), 0)
		if !bytes.Equal(b[from:at], []byte("third_party/")) && !bytes.HasPrefix(b[at:], []byte("boringssl/src/crypto")) {
			return false
		}
		return s.mark("boringssl source path", "third_party/boringssl")
	},
	"aws_lc_": func(s *scan, b []byte, at int) bool {
		v := awsLC.Find(b[at:min(at+32, len(b))])
		return v != nil && s.mark("aws_lc_<version>", string(bytes.TrimSuffix(v, []byte("_"))))
	},
	"ring_core_": func(s *scan, b []byte, at int) bool {
		v := ringCore.Find(b[at:min(at+40, len(b))])
		return v != nil && s.mark("ring_core_<version>", string(bytes.TrimSuffix(v, []byte("__"))))
	},
	"/src/": func(s *scan, b []byte, at int) bool {
		s.crate(b, at)
		return false
	},
	"sodium_malloc":          func(s *scan, _ []byte, _ int) bool { return s.mark("sodium_malloc", "sodium_malloc") },
	sodiumBox:                func(*scan, []byte, int) bool { return true },
	"mbedtls":                func(s *scan, _ []byte, _ int) bool { return s.mark("mbedtls with AES tables", "mbedtls") },
	aesTable:                 func(*scan, []byte, int) bool { return true },
	"NODE_SEA_FUSE_":         runs("node"),
	"NODE_CHANNEL_FD":        runs("node"),
	"System.Private.CoreLib": runs("dotnet"),
})

var (
	openSSLBanner = regexp.MustCompile(`^OpenSSL \d\.\d+\.\d+[a-z]* +\d{1,2} [A-Z][a-z]{2} \d{4}`)
	awsLC         = regexp.MustCompile(`^aws_lc_\d+_\d+_\d+_`)
	ringCore      = regexp.MustCompile(`^ring_core_\d+_\d+_\d+_*__`)
	crateVersion  = regexp.MustCompile(`/([a-z0-9_]+(?:-[a-z0-9_]+)*)-\d+\.\d+\.\d+[0-9A-Za-z.+-]*$`)
)

func newAnchors(found map[string]func(*scan, []byte, int) bool) []anchorText {
	out := make([]anchorText, 0, len(found))
	for text, f := range found {
		out = append(out, anchorText{text, []byte(text), f})
	}
	slices.SortFunc(out, func(a, b anchorText) int { return strings.Compare(a.text, b.text) })
	return out
}

func runs(name string) func(*scan, []byte, int) bool {
	return func(s *scan, _ []byte, _ int) bool {
		if s.runtime == "" {
			s.runtime = name
		}
		return true
	}
}

// crate looks before "/src/" for a Rust crate of the catalogue, as panics of its code name it: /aes-0.8.4/src/soft.rs.
func (s *scan) crate(b []byte, at int) {
	m := crateVersion.FindSubmatch(b[max(at-48, 0):at])
	if m != nil {
		s.mark("/"+string(m[1])+"-<semver>/src/", string(m[0][1:]))
	}
}

// appended looks at the end of the file for archives.
func (s *scan) appended() {
	b := make([]byte, s.end.size)
	n, _ := s.r.ReadAt(b, s.end.offset) // at worst there is no archive to be seen
	if bytes.Contains(b[:n], []byte(pyInstaller)) {
		s.runtime = "pyinstaller"
	}
}

// Runtimes by a part of the name of a library, and by a section or segment.
var (
	runtimeLibraries = []struct{ part, runtime string }{
		{"Electron Framework", "electron"}, {"Python.framework/", "python"}, {"libpython", "python"},
		{"libjli.", "java"}, {"libjvm.", "java"}, {"libcoreclr.", "dotnet"}, {"libhostfxr.", "dotnet"},
		{"libruby", "ruby"}, {"libperl", "perl"}, {"libnode.", "node"},
	}
	runtimeSections = map[string]string{
		"__BUN": "bun", "__POSTJECT": "node", "__NODE_SEA_BLOB": "node", "__managedcode": "dotnet", "__go_buildinfo": "go",
		".go.buildinfo": "go", "__gopclntab": "go", ".gopclntab": "go",
	}
)

// runtimeOf names what runs the program, where libraries or sections say so.
func runtimeOf(u *unit, sections []string) string {
	for _, l := range u.libraries {
		for _, r := range runtimeLibraries {
			if strings.Contains(l.name, r.part) {
				return r.runtime
			}
		}
	}
	for _, s := range sections {
		if r, ok := runtimeSections[s]; ok {
			return r
		}
	}
	return ""
}
