package rootfs

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxDirEntries bounds one folder's listing while globbing.
const maxDirEntries = 100_000

// maxPath is Linux's PATH_MAX; macOS has 1,024. Nothing deeper can be named by a program.
const maxPath = 4_096

func sortEntries(entries []fs.DirEntry) {
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
}

// Glob lists the regular files that match an osquery file pattern: "%" stands for any characters within one component, and a
// last component "%%" for everything below. Beyond limit files it gives those it has and ErrTooLarge. Folders that cannot be
// read are passed over. (osquery's documentation, "File Integrity Monitoring: wildcards".)
func (r *Root) Glob(ctx context.Context, pattern string, limit int) ([]string, error) {
	g := globber{root: r, limit: limit}
	err := g.walk(ctx, "/", split(pattern))
	slices.Sort(g.found)
	return slices.Compact(g.found), err
}

type globber struct {
	root  *Root
	limit int
	found []string
}

func (g *globber) walk(ctx context.Context, dir string, rest []string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(rest) == 0 || len(dir) > maxPath {
		return nil
	}
	part, last := rest[0], len(rest) == 1
	if !strings.Contains(part, "%") {
		return g.step(ctx, path.Join(dir, part), last, rest[1:], false)
	}
	deep := last && part == "%%"
	entries, _ := g.root.ReadDir(dir, maxDirEntries)
	for _, e := range entries {
		if !deep && !matchPercent(part, e.Name()) {
			continue
		}
		if err := g.step(ctx, path.Join(dir, e.Name()), last, rest[1:], deep && e.Type()&fs.ModeSymlink == 0); err != nil {
			return err
		}
	}
	return nil
}

// step takes one entry: a file is found, a folder is walked on (and, for %%, wholly below).
func (g *globber) step(ctx context.Context, name string, last bool, rest []string, deep bool) error {
	info, err := g.root.Stat(name)
	switch {
	case err != nil:
		return nil
	case info.IsDir() && deep:
		return g.walk(ctx, name, []string{"%%"})
	case info.IsDir():
		return g.walk(ctx, name, rest)
	case !last || !info.Mode().IsRegular():
		return nil
	case len(g.found) >= g.limit:
		return fmt.Errorf("pattern: %w: more than %d files match", ErrTooLarge, g.limit)
	}
	g.found = append(g.found, name)
	return nil
}

// matchPercent says whether name matches pattern, in which "%" stands for any characters.
func matchPercent(pattern, name string) bool {
	parts := strings.Split(pattern, "%")
	if len(parts) == 1 {
		return name == pattern
	}
	if !strings.HasPrefix(name, parts[0]) {
		return false
	}
	name = name[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(name, p)
		if i < 0 {
			return false
		}
		name = name[i+len(p):]
	}
	return strings.HasSuffix(name, parts[len(parts)-1])
}
