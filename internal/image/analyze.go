package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/cipherlens/cipherlens/internal/macho"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// Analyzer analyses the images of one host, and remembers files by their ID. Its methods may be called at the same time.
type Analyzer struct {
	root    *rootfs.Root
	cache   *cache
	roots   []anchor
	ldCache *ldCache
}

// NewAnalyzer gives an Analyzer of the host behind root, which must stay open.
func NewAnalyzer(root *rootfs.Root) *Analyzer {
	return &Analyzer{root: root, cache: newCache(maxCached), roots: appleRoots(), ldCache: newLDCache(root)}
}

// rereads is how often a file that changes while it is read is read again.
const rereads = 3

// maxWalk is how long the libraries of one executable are followed: nothing that somebody bundles may hold up the rest.
const maxWalk = 20 * time.Second

// errChanged says that a file was another one after it was read.
var errChanged = errors.New("changed while it was read")

// Analyze says what the executable at path, with the libraries that DYLD_INSERT_LIBRARIES puts into it, can encrypt with. The
// error is for files of which nothing can be said: missing, unreadable, not regular. All else is in Report.Errs.
func (a *Analyzer) Analyze(ctx context.Context, path string, inserted []string) (*Report, error) {
	info, err := a.root.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("image: %w", named(path, err))
	}
	f, err := a.facts(ctx, path, info, true)
	if err != nil {
		return nil, fmt.Errorf("image: %w", named(path, err))
	}
	r := &Report{Path: path, Format: f.format, Runtime: f.runtime, Signature: f.signature}
	for _, u := range f.units {
		r.Arch = append(r.Arch, u.arch)
		r.UUIDs = append(r.UUIDs, u.uuid)
	}
	for _, err := range f.errs {
		r.Errs = append(r.Errs, fmt.Errorf("image: %s: %w", path, err))
	}
	var found []Evidence
	p := newPlaces(a.root)
	limited, cancel := context.WithTimeout(ctx, maxWalk)
	defer cancel()
	for _, u := range f.units {
		w := newWalk(a, path, f.format, u, p)
		found = append(found, w.run(limited, inserted)...)
		r.Errs = append(r.Errs, w.errs...)
	}
	if limited.Err() != nil {
		r.Errs = append(r.Errs, fmt.Errorf("image: %s: its libraries were not followed to the end within %v", path, maxWalk))
	}
	r.Evidence = merge(found)
	r.Errs = distinct(r.Errs)
	return r, ctx.Err()
}

// named makes sure that err names the file.
func named(path string, err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// distinct drops errors that say the same, as the slices of one file do.
func distinct(errs []error) []error {
	seen := map[string]bool{}
	return slices.DeleteFunc(errs, func(err error) bool {
		said := seen[err.Error()]
		seen[err.Error()] = true
		return said
	})
}

// facts gives what the file at path, which info describes, says, from the cache where it can. The signature is that of
// executables only, which main says.
func (a *Analyzer) facts(ctx context.Context, path string, info fs.FileInfo, main bool) (*facts, error) {
	if !info.Mode().IsRegular() {
		return nil, rootfs.ErrNotRegular
	}
	id, ok := rootfs.IDOf(info)
	if !ok {
		_, f, err := a.read(ctx, path, main)
		return f, err
	}
	return a.cache.get(ctx, cacheKey{id, main}, func() (cacheKey, *facts, error) {
		id, f, err := a.read(ctx, path, main)
		return cacheKey{id, main}, f, err
	})
}

// read reads a file again while it changes.
func (a *Analyzer) read(ctx context.Context, path string, main bool) (id rootfs.ID, f *facts, err error) {
	for range rereads {
		if id, f, err = a.readOnce(ctx, path, main); !errors.Is(err, errChanged) {
			break
		}
	}
	return id, f, err
}

func (a *Analyzer) readOnce(ctx context.Context, path string, main bool) (rootfs.ID, *facts, error) {
	file, err := a.root.Open(path)
	if err != nil {
		return rootfs.ID{}, nil, err
	}
	defer func() { _ = file.Close() }()
	before, err := identity(file)
	if err != nil {
		return rootfs.ID{}, nil, err
	}
	f, err := a.readFacts(ctx, file, before.Size, main)
	if err != nil {
		return before, nil, err
	}
	if after, err := identity(file); err != nil || after != before {
		return before, nil, errChanged
	}
	return before, f, nil
}

func identity(file *os.File) (rootfs.ID, error) {
	info, err := file.Stat()
	if err != nil {
		return rootfs.ID{}, err
	}
	id, _ := rootfs.IDOf(info)
	id.Size = info.Size()
	return id, nil
}

// readFacts reads whatever the file is.
func (a *Analyzer) readFacts(ctx context.Context, r io.ReaderAt, size int64, main bool) (*facts, error) {
	head := make([]byte, 4)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch head = head[:n]; {
	case string(head) == elfMagic:
		return readELF(ctx, r, size)
	case len(head) > 1 && string(head[:2]) == "#!":
		return &facts{format: "script"}, nil
	}
	f, file, err := readMachO(r, size)
	if errors.Is(err, macho.ErrNotMachO) {
		return notAnImage(head, err), nil
	}
	if err != nil {
		return nil, err
	}
	b := newBudget()
	for i, s := range file.Slices {
		f.look(ctx, f.units[i], machoContents(r, size, s), b)
	}
	if main {
		f.signature = verifySlices(ctx, r, file.Slices, a.roots, b)
	}
	return f, ctx.Err()
}

// notAnImage is for files of other formats; one that starts like a Mach-O file and is none says why.
func notAnImage(head []byte, err error) *facts {
	f := &facts{format: "other"}
	switch string(head) {
	case "\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe", "\xca\xfe\xba\xbf":
		f.errs = append(f.errs, err)
	}
	return f
}
