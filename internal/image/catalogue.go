package image

import (
	_ "embed" // the catalogue is data
	"path"
	"slices"
	"strings"
	"sync"
)

// catalogueTSV has one row a symbol and library: symbol (no leading underscore), library (install names and file patterns
// joined by "|", or "static" for what is found inside an image), provider, class, strength, source.
//
//go:embed catalogue.tsv
var catalogueTSV string

// The strengths of evidence.
const (
	strong = "strong"
	weak   = "weak"
)

// entry is one row of the catalogue.
type entry struct {
	symbol    string
	libraries []string // "/usr/lib/libSystem.B.dylib" or "libcrypto.*"; nil for static
	provider  string
	class     string
	strength  string
}

// catalogue is the parsed data file.
type catalogue struct {
	imports map[string][]*entry // by symbol, most likely provider first
	inside  map[string]*entry   // what is found inside an image, by marker
	stems   []string            // libcrypto, libssl, …: names of crypto libraries
}

var loadCatalogue = sync.OnceValue(func() *catalogue {
	c := &catalogue{imports: map[string][]*entry{}, inside: map[string]*entry{}}
	for line := range strings.Lines(catalogueTSV) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 6 || f[0] == "symbol" {
			continue
		}
		c.add(&entry{symbol: f[0], provider: f[2], class: f[3], strength: f[4]}, f[1])
	}
	for _, entries := range c.imports {
		slices.SortStableFunc(entries, func(a, b *entry) int { return likelihood(a.provider) - likelihood(b.provider) })
	}
	slices.Sort(c.stems)
	c.stems = slices.Compact(c.stems)
	return c
})

func (c *catalogue) add(e *entry, libraries string) {
	if libraries == "static" {
		c.inside[e.symbol] = e
		return
	}
	e.libraries = strings.Split(libraries, "|")
	c.imports[e.symbol] = append(c.imports[e.symbol], e)
	for _, l := range e.libraries {
		if stem, ok := strings.CutSuffix(l, ".*"); ok && strings.HasPrefix(stem, "lib") && e.provider != "libc" && e.provider != "dotnet" {
			c.stems = append(c.stems, stem)
		}
	}
}

// likelihood orders the providers that share names: OpenSSL's are the original ones.
func likelihood(provider string) int {
	switch provider {
	case "openssl":
		return 0
	case "libressl":
		return 1
	case "boringssl":
		return 2
	case "apple_boringssl":
		return 3
	}
	return 0
}

// lookup finds the row for a symbol that is bound to library. Names that several libraries have (EVP_*, HMAC) are told
// apart by it; a library that the catalogue does not know for this symbol gives nil.
func (c *catalogue) lookup(symbol, library string) *entry {
	for _, e := range c.imports[symbol] {
		if slices.Contains(e.libraries, library) {
			return e
		}
	}
	for _, e := range c.imports[symbol] {
		if e.in(library) {
			return e
		}
	}
	return nil
}

// likeliest gives the row that a symbol of unknown library stands for; nil for names that the catalogue does not have.
func (c *catalogue) likeliest(symbol string) *entry {
	if entries := c.imports[symbol]; len(entries) > 0 {
		return entries[0]
	}
	return nil
}

// cryptoLibrary says whether a file or install name is that of a crypto library other than Apple's own.
func (c *catalogue) cryptoLibrary(name string) bool {
	base := path.Base(name)
	return slices.ContainsFunc(c.stems, func(stem string) bool { return hasStem(base, stem) })
}

// in says whether e's symbol is at home in library. Apple's own are looked up through whatever system library re-exports
// them, so any system library will do; others are known by their file's name.
func (e *entry) in(library string) bool {
	for _, l := range e.libraries {
		switch stem, pattern := strings.CutSuffix(l, ".*"); {
		case pattern && hasStem(path.Base(library), stem):
			return true
		case !pattern && e.provider != "apple_boringssl" && systemLibrary(library):
			return true
		}
	}
	return false
}

// hasStem says whether base is stem with a version or an ending: libcrypto.3.dylib, libcrypto.so.3, libcrypto-1f2e.so.1.1.
func hasStem(base, stem string) bool {
	rest, ok := strings.CutPrefix(base, stem)
	return ok && (rest == "" || strings.ContainsRune(".-_", rune(rest[0])))
}

// systemLibrary says whether name is a library of macOS itself, which since macOS 11 is in the shared cache only: every
// walk ends there.
func systemLibrary(name string) bool {
	if name != path.Clean(name) {
		return false // /usr/lib/../../tmp/x.dylib
	}
	// /System/Volumes/Data is where everybody's files are.
	return strings.HasPrefix(name, "/usr/lib/") || strings.HasPrefix(name, "/System/") && !strings.HasPrefix(name, "/System/Volumes/")
}
