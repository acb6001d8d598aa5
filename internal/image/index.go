package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cipherlens/cipherlens/internal/macho"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// Limits of an Index.
const (
	maxIndexed  = 20_000    // files
	maxCompared = 256 << 20 // bytes of a file that are compared with another of the same UUID
	maxSame     = 8         // files of one UUID that are compared
)

// Index finds executables by LC_UUID, for captures that name nothing else. It does not change once built.
type Index struct {
	paths map[string][]string // by UUID without dashes, sorted
	same  map[string]bool     // all of them have the same contents
}

// BuildIndex reads the UUIDs of all slices of the executables at paths, at most 20,000; what is missing or no Mach-O file is
// passed over. It ends early, with what it has, when ctx does.
func BuildIndex(ctx context.Context, root *rootfs.Root, paths []string) *Index {
	x := &Index{paths: map[string][]string{}, same: map[string]bool{}}
	paths = sortedSet(slices.Clone(paths))
	for _, path := range paths[:min(len(paths), maxIndexed)] {
		if ctx.Err() != nil {
			break
		}
		for _, id := range fileUUIDs(root, path) {
			if key := uuidKey(id); !slices.Contains(x.paths[key], path) {
				x.paths[key] = append(x.paths[key], path)
			}
		}
	}
	for key, paths := range x.paths {
		x.same[key] = len(paths) == 1 || identical(ctx, root, paths)
	}
	return x
}

// Path gives the executable that has uuid, upper or lower case, with dashes or without. Where several have it, it is the first
// by name if all have the same contents; if not, nobody can tell which of them ran, and it is false.
func (x *Index) Path(uuid string) (string, bool) {
	key := uuidKey(uuid)
	if paths := x.paths[key]; len(paths) > 0 && x.same[key] {
		return paths[0], true
	}
	return "", false
}

// Paths gives all executables that have uuid, sorted.
func (x *Index) Paths(uuid string) []string { return slices.Clone(x.paths[uuidKey(uuid)]) }

// Len is how many UUIDs are known.
func (x *Index) Len() int { return len(x.paths) }

// applicationFiles are where the executables of applications are, as osquery file patterns.
var applicationFiles = []string{
	"/Applications/%.app/Contents/MacOS/%",
	"/Applications/%/%.app/Contents/MacOS/%",
	"/Users/%/Applications/%.app/Contents/MacOS/%",
	"/Library/PrivilegedHelperTools/%",
	// Tools, and where what was just brought along is put.
	"/usr/local/bin/%", "/usr/local/sbin/%", "/usr/local/libexec/%", "/opt/homebrew/bin/%", "/opt/%/bin/%",
	"/usr/bin/%", "/usr/sbin/%", "/usr/libexec/%",
	"/Users/Shared/%", "/Users/%/bin/%", "/Users/%/.local/bin/%", "/Users/%/Downloads/%", "/private/tmp/%", "/private/var/tmp/%",
}

// Applications lists the files that may be executables of applications and tools of a host and of its users, at most limit. With an error it
// gives those it has.
func Applications(ctx context.Context, root *rootfs.Root, limit int) ([]string, error) {
	var paths []string
	var problems []error
	for _, pattern := range applicationFiles {
		more, err := root.Glob(ctx, pattern, limit-len(paths))
		paths = append(paths, more...)
		if err != nil {
			problems = append(problems, fmt.Errorf("image: applications: %s: %w", pattern, err))
		}
	}
	return paths, errors.Join(problems...)
}

func uuidKey(uuid string) string {
	return strings.ToUpper(strings.ReplaceAll(uuid, "-", ""))
}

func fileUUIDs(root *rootfs.Root, path string) []string {
	f, err := root.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	ids, err := macho.UUIDs(f, info.Size())
	if err != nil {
		return nil
	}
	return ids
}

// identical says whether all files have the same contents. One that cannot be read is like no other.
func identical(ctx context.Context, root *rootfs.Root, paths []string) bool {
	if len(paths) > maxSame || !sameSize(root, paths) {
		return false
	}
	first, ok := digest(ctx, root, paths[0])
	for _, p := range paths[1:] {
		if !ok || ctx.Err() != nil {
			return false
		}
		var other [sha256.Size]byte
		if other, ok = digest(ctx, root, p); other != first {
			return false
		}
	}
	return ok
}

func sameSize(root *rootfs.Root, paths []string) bool {
	size := int64(-1)
	for _, p := range paths {
		info, err := root.Stat(p)
		if err != nil || size >= 0 && info.Size() != size {
			return false
		}
		size = info.Size()
	}
	return true
}

func digest(ctx context.Context, root *rootfs.Root, path string) (sum [sha256.Size]byte, ok bool) {
	f, err := root.Open(path)
	if err != nil || ctx.Err() != nil {
		return sum, false
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, maxCompared+1))
	if err != nil || n > maxCompared {
		return sum, false
	}
	return [sha256.Size]byte(h.Sum(nil)), true
}
