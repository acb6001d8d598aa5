package image

import (
	"io"
	"slices"
	"strings"

	"github.com/cipherlens/cipherlens/internal/macho"
)

// The kinds of linkage.
const (
	linkDirect   = "direct"
	linkWeak     = "weak"
	linkLazy     = "lazy"
	linkReexport = "reexport"
	linkBundled  = "bundled"
	linkStatic   = "static"
	linkDlopen   = "dlopen"
)

// facts is what one file says by itself, whatever it is loaded with. It holds no path: one file may have many.
type facts struct {
	format    string
	units     []*unit
	signature Signature
	runtime   string
	errs      []error
}

// unit is one slice of a Mach-O file, or one ELF file, reduced to what matters for crypto linkage.
type unit struct {
	arch, uuid  string
	name        string // install name or SONAME
	libraries   []library
	rpaths      []string // LC_RPATH; DT_RPATH
	runpaths    []string // DT_RUNPATH
	environment []string // LC_DYLD_ENVIRONMENT
	references  []reference
	loads       bool // imports dlopen or one of its kin
	markers     []marker
}

// library is one that a unit asks for.
type library struct {
	name    string
	linkage string // linkDirect, linkWeak, linkLazy, linkReexport
}

// reference is one import whose name the catalogue has.
type reference struct {
	symbol  string // without the leading underscore of Mach-O
	library int    // index into libraries; unknownLibrary where the file does not say
	weak    bool
}

// unknownLibrary is for names that are looked for in all libraries: flat namespaces, ELF symbols without a version.
const unknownLibrary = -1

// marker is a trace of crypto inside a unit: a row of the catalogue and what was found.
type marker struct {
	entry    *entry
	strength string
	linkage  string // linkStatic or linkDlopen
	found    string
}

// readMachO reduces a Mach-O file to facts without its contents and signature.
func readMachO(r io.ReaderAt, size int64) (*facts, *macho.File, error) {
	file, err := macho.Read(r, size)
	if err != nil {
		return nil, nil, err
	}
	f := &facts{format: "mach-o", errs: slices.Clone(file.Errs)}
	for _, s := range file.Slices {
		f.errs = append(f.errs, s.Errs...)
		f.units = append(f.units, machoUnit(s))
	}
	return f, file, nil
}

func machoUnit(s *macho.Slice) *unit {
	u := &unit{arch: s.Arch, uuid: s.UUID, name: s.InstallName, rpaths: s.RPaths, environment: s.Environment}
	for _, l := range s.Libraries {
		u.libraries = append(u.libraries, library{name: l.Name, linkage: libraryLinkage(l.Kind)})
	}
	c := loadCatalogue()
	for _, i := range s.Imports {
		name := strings.TrimPrefix(i.Name, "_")
		u.loads = u.loads || loader(name)
		if len(c.imports[name]) == 0 || i.Ordinal == macho.OrdinalSelf {
			continue
		}
		ref := reference{symbol: name, library: unknownLibrary, weak: i.Weak}
		if i.Ordinal > 0 && i.Ordinal <= len(u.libraries) {
			ref.library = i.Ordinal - 1
		}
		u.references = append(u.references, ref)
	}
	return u
}

func libraryLinkage(k macho.LibraryKind) string {
	switch k {
	case macho.Weak:
		return linkWeak
	case macho.Reexport:
		return linkReexport
	case macho.Lazy:
		return linkLazy
	}
	return linkDirect // upward libraries are direct ones that may be cyclic
}

// loader says whether a symbol opens libraries or looks up symbols by name at run time.
func loader(symbol string) bool {
	switch symbol {
	case "dlopen", "dlsym", "dlopen_preflight", "NSAddImage", "NSLookupSymbolInImage", "NSLookupAndBindSymbol",
		"CFBundleGetFunctionPointerForName", "CFBundleGetFunctionPointersForNames", "CFBundleGetDataPointerForName":
		return true
	}
	return false
}
