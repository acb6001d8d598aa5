// Package macho reads what linkage, identity and signature a Mach-O or universal file states. It is bounded: it reads only
// the tables it needs, checks each offset against the slice before it allocates, and gives an error that names the
// place instead of failing. It knows no crypto.
package macho

import (
	"errors"
	"io"
)

// ErrNotMachO is what Read and UUIDs wrap for files of another kind.
var ErrNotMachO = errors.New("not a Mach-O file")

// Read reads the file of size bytes behind r. The error is for files that are no Mach-O at all, or cannot be read; what is
// wrong inside one is in File.Errs and Slice.Errs, beside everything that could be read. It allocates at most 16 MiB.
func Read(r io.ReaderAt, size int64) (*File, error) {
	return readFile(newSource(r, size), (*reader).all)
}

// UUIDs gives the LC_UUID of each slice that has one, in file order and as Slice.UUID. It reads only headers and load commands.
func UUIDs(r io.ReaderAt, size int64) ([]string, error) {
	f, err := readFile(newSource(r, size), (*reader).uuid)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range f.Slices {
		if s.UUID != "" {
			ids = append(ids, s.UUID)
		}
	}
	return ids, nil
}

// File is a thin Mach-O file (one slice) or a universal one.
type File struct {
	Universal bool
	Slices    []*Slice // in file order
	Errs      []error  // what is wrong with the table of slices; empty for thin files
}

// Slice is one architecture's image. Where a part could not be read, Errs says so and the rest is still there.
type Slice struct {
	Arch        string // lipo's names: arm64, arm64e, x86_64, x86_64h, i386, armv7, ppc, ppc64, …; otherwise cpu-<type>-<subtype>
	Type        string // execute, dylib, bundle, dylinker, kext, object, dsym, core, preload, …
	Offset      int64  // in the file
	Size        int64  // bytes
	Flags       uint32 // mach_header flags
	UUID        string // LC_UUID, upper case with dashes as dwarfdump prints it; empty without
	Platform    string // macos, ios, maccatalyst, …; empty when unknown
	MinOS, SDK  string // "11.0", "14.2.1"
	InstallName string // LC_ID_DYLIB
	Libraries   []Library
	RPaths      []string // LC_RPATH in file order, as written
	Environment []string // LC_DYLD_ENVIRONMENT, "DYLD_LIBRARY_PATH=…"
	Imports     []Import // sorted by name: undefined symbols and binds united
	Segments    []Segment
	Encrypted   bool       // LC_ENCRYPTION_INFO with a cryptid other than 0, or a segment with SG_PROTECTED_VERSION_1
	Signature   *Signature // nil without LC_CODE_SIGNATURE; without CodeDirectories when it could not be read
	Errs        []error
}

// LibraryKind is how a load command names a library.
type LibraryKind uint8

// The kinds of library load commands.
const (
	Direct LibraryKind = iota
	Weak
	Reexport
	Lazy
	Upward
)

// Library is one library load command. Ordinals count all of them from 1 in file order. The libraries of LC_LAZY_LOAD_DYLIB_INFO,
// which dyld opens at the first call, come after these (dyld-1378 mach_o/LazyLoadDylib.h).
type Library struct {
	Name                          string // install name as written: may start with @rpath and the like
	Kind                          LibraryKind
	DelayedInit                   bool // dyld delays its initializers (dylib_use_command flag 8)
	CurrentVersion, CompatVersion uint32
}

// Special library ordinals.
const (
	OrdinalSelf       = 0
	OrdinalExecutable = -1
	OrdinalFlat       = -2
	OrdinalWeak       = -3
)

// Import is one symbol that dyld must find elsewhere.
type Import struct {
	Name    string // with the leading underscore
	Ordinal int    // 1.. an index into Libraries (Ordinal-1), or one of the special ordinals
	Library string // Libraries[Ordinal-1].Name; empty for special ordinals
	Weak    bool   // may be missing at run time
	Lazy    bool   // bound at first call
}

// Segment is one LC_SEGMENT or LC_SEGMENT_64, its offsets relative to the slice. They are what the file states: one that
// leaves the slice is in Errs, and whoever reads a segment has to clamp it.
type Segment struct {
	Name                 string
	Address, MemorySize  uint64
	FileOffset, FileSize int64
	InitProt, Flags      uint32
	Sections             []Section
}

// Section is a part of a segment. It has no bytes in the file when ZeroFill says so.
type Section struct {
	Name         string
	Address      uint64
	Offset, Size int64
	Type         uint8 // low 8 bits of the section's flags
}

// ZeroFill says that the section is made of zeros when it is loaded, so that Offset means nothing.
func (s Section) ZeroFill() bool {
	const zeroFill, gbZeroFill, threadLocalZeroFill = 0x1, 0xc, 0x12 // mach-o/loader.h, S_ZEROFILL and so on
	return s.Type == zeroFill || s.Type == gbZeroFill || s.Type == threadLocalZeroFill
}

// Signature is an embedded code signature as the file states it: nothing here is verified. CMS verification and page hashes
// are the caller's (package image).
type Signature struct {
	Offset          int64             // of the signature in the slice; bytes from the CodeLimit to here are covered by nothing
	CodeDirectories []CodeDirectory   // slot 0 first, then the alternates
	Best            int               // index of the one that the kernel takes: highest hash rank; -1 without any
	Requirements    []byte            // blob 0xfade0c01, whole
	Entitlements    []byte            // XML property list without the blob header; nil without
	DEREntitlements []byte            // without the blob header; nil without
	CMS             []byte            // CMS SignedData (DER) without the blob header; empty for ad hoc signatures
	Blobs           map[uint32][]byte // every blob by its slot, whole, as the special slots hash it
}

// CodeDirectory is one CodeDirectory blob.
type CodeDirectory struct {
	Raw           []byte // the whole blob, which cdhash and the CMS signature cover
	Slot          uint32 // 0, or 0x1000.. for alternates
	Version       uint32
	Flags         uint32 // 0x2 adhoc, 0x10000 hardened runtime, 0x20000 linker-signed, …
	Identifier    string
	TeamID        string // as claimed; anyone can write it
	HashType      uint8  // 1 SHA-1, 2 SHA-256, 3 SHA-256 cut to 20, 4 SHA-384
	HashSize      uint8  // bytes
	PageSize      uint32 // bytes; 0 is one hash for everything
	CodeLimit     int64  // bytes of the slice that are hashed
	Platform      uint8
	CodeHashes    []byte         // one of HashSize bytes for each page, joined
	SpecialHashes map[int][]byte // by slot number 1..; 1 is Info.plist, 2 requirements, 3 CodeResources, 5 entitlements, 7 DER entitlements
}
