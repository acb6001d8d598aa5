package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"path"
	"strings"
	"sync"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// resolveELF finds a library as ld.so does (ld.so(8)): DT_RPATH of the image and its loaders unless it has DT_RUNPATH, then
// DT_RUNPATH of the image, ld.so.cache, and the default folders. LD_LIBRARY_PATH of the process is not known here.
// Libraries of the distribution end the walk, as the system's do on macOS.
func (w *walk) resolveELF(n *node, name string) (found, error) {
	at, err := w.first(w.whereELF(n, name))
	if err == nil && distributionLibrary(at.path) {
		return found{}, nil
	}
	return at, err
}

func (w *walk) whereELF(n *node, name string) []string {
	if strings.Contains(name, "/") {
		if at := origin(name, n); path.IsAbs(at) {
			return []string{at}
		}
		return nil
	}
	var dirs []string
	if len(n.unit.runpaths) == 0 {
		for l := n; l != nil; l = l.loader {
			for _, dir := range l.unit.rpaths {
				dirs = append(dirs, origin(dir, l))
			}
		}
	}
	for _, dir := range n.unit.runpaths {
		dirs = append(dirs, origin(dir, n))
	}
	var places []string
	for _, dir := range dirs {
		if path.IsAbs(dir) && len(places) < maxCandidates {
			places = append(places, path.Join(dir, name))
		}
	}
	places = append(places, w.analyzer.ldCache.lookup(name)...)
	for _, dir := range elfDefaults(n.unit.arch) {
		places = append(places, path.Join(dir, name))
	}
	return places
}

// origin puts the image's folder in place of $ORIGIN.
func origin(dir string, n *node) string {
	for _, v := range []string{"${ORIGIN}", "$ORIGIN"} {
		dir = strings.ReplaceAll(dir, v, path.Dir(n.path))
	}
	return dir
}

// elfDefaults are glibc's default folders, with Debian's for the architecture.
func elfDefaults(arch string) []string {
	dirs := []string{"/lib", "/usr/lib", "/lib64", "/usr/lib64"}
	switch arch {
	case "x86_64":
		dirs = append(dirs, "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu")
	case "arm64":
		dirs = append(dirs, "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu")
	}
	return dirs
}

// distributionLibrary says whether a path is in the folders that the distribution's packages own.
func distributionLibrary(at string) bool {
	for _, dir := range []string{"/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/lib32/", "/usr/lib32/"} {
		if strings.HasPrefix(at, dir) {
			return true
		}
	}
	return false
}

// ldCache is the host's /etc/ld.so.cache, read anew when it changes.
type ldCache struct {
	root *rootfs.Root

	mu    sync.Mutex
	id    rootfs.ID
	paths map[string][]string // by library name
}

func newLDCache(root *rootfs.Root) *ldCache { return &ldCache{root: root} }

const (
	ldCachePath    = "/etc/ld.so.cache"
	maxLDCache     = 8 << 20
	maxLDEntries   = 100_000
	maxLDSameNames = 8
)

// lookup gives the paths that the cache has for a library's name, for whatever architecture.
func (c *ldCache) lookup(name string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := c.root.Stat(ldCachePath)
	if err != nil {
		return nil
	}
	if id, ok := rootfs.IDOf(info); !ok || id != c.id || c.paths == nil {
		c.id, c.paths = id, map[string][]string{}
		if b, err := c.root.ReadFile(ldCachePath, maxLDCache); err == nil {
			// What cannot be read is as if it were not there: the default folders are looked at after it.
			if paths, err := parseLDCache(b); err == nil {
				c.paths = paths
			}
		}
	}
	return c.paths[name]
}

var errLDCache = errors.New("ld.so.cache: not in the new format, or cut short")

// ldCacheMagic starts the new format (glibc elf/cache.c, struct cache_file_new), which may follow an old one.
const ldCacheMagic = "glibc-ld.so.cache1.1"

// parseLDCache reads the entries of the new format: 48 bytes of header, then 24 each {flags, key, value, osversion, hwcap},
// key and value being offsets of texts from the magic on.
func parseLDCache(b []byte) (map[string][]string, error) {
	start := bytes.Index(b, []byte(ldCacheMagic))
	if start < 0 || len(b)-start < 48 {
		return nil, errLDCache
	}
	b = b[start:]
	var order binary.ByteOrder = binary.LittleEndian
	if b[28]&3 == 3 { // cache_file_new_flags_endian_big
		order = binary.BigEndian
	}
	count := order.Uint32(b[20:])
	if count > maxLDEntries || len(b)-48 < 24*int(count) {
		return nil, errLDCache
	}
	paths := make(map[string][]string, count)
	for i := range int(count) {
		entry := b[48+24*i:]
		name := textAt(b, uint64(order.Uint32(entry[4:])), 256)
		at := textAt(b, uint64(order.Uint32(entry[8:])), maxPath)
		if name != "" && path.IsAbs(at) && len(paths[name]) < maxLDSameNames {
			paths[name] = append(paths[name], at)
		}
	}
	return paths, nil
}
