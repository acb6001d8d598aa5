package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// What one executable's libraries may cost.
const (
	maxImages    = 256 // images followed; Chrome's helpers have about ten
	maxDepth     = 32
	maxWalkErrs  = 64
	maxLookups   = 20_000 // places where libraries are looked for, over the walks of all slices
	maxReexports = 64     // libraries that one library passes on
)

// walk follows the libraries of one slice of one executable as the loader would, and collects evidence.
type walk struct {
	analyzer *Analyzer
	main     string // the executable's path, as asked
	format   string
	unit     *unit
	places   *places
	seen     map[string]*node // by path
	queue    []*node
	errs     []error
}

// places remembers what is where, so that the walks of several slices ask the system once.
type places struct {
	root    *rootfs.Root
	known   map[string]found
	lookups int
}

// found is the regular file at a place; its path is free of links, and empty where there is none.
type found struct {
	path string
	info fs.FileInfo
}

func newPlaces(root *rootfs.Root) *places { return &places{root: root, known: map[string]found{}} }

func (p *places) look(name string) (found, error) {
	if f, ok := p.known[name]; ok {
		return f, nil
	}
	if p.lookups++; p.lookups > maxLookups {
		return found{}, errBudget
	}
	var f found
	if real, info, err := p.root.Locate(name); err == nil && info.Mode().IsRegular() {
		f = found{real, info}
	}
	p.known[name] = f
	return f, nil
}

// node is one image of the walk.
type node struct {
	path   string // free of links
	unit   *unit
	loader *node // the image that asked for it; nil for the executable
	depth  int
	found  []*node  // by index into unit.libraries; nil for libraries of the system and those not found
	passes []string // what it re-exports, once somebody asked
}

func newWalk(a *Analyzer, main, format string, u *unit, p *places) *walk {
	return &walk{analyzer: a, main: main, format: format, unit: u, places: p, seen: map[string]*node{}}
}

// run gives all evidence of the slice.
func (w *walk) run(ctx context.Context, inserted []string) []Evidence {
	root := &node{path: w.main, unit: w.unit}
	if at, err := w.places.look(w.main); err == nil && at.path != "" {
		root.path = at.path
	}
	w.seen[root.path] = root
	w.queue = append(w.queue, root)
	for i := 0; i < len(w.queue) && ctx.Err() == nil; i++ {
		n := w.queue[i]
		for _, l := range n.unit.libraries {
			if ctx.Err() != nil {
				break
			}
			n.found = append(n.found, w.follow(ctx, n, l))
		}
		if n == root {
			for _, name := range inserted {
				w.follow(ctx, root, library{name: name, linkage: linkDirect})
			}
		}
	}
	var out []Evidence
	for _, n := range w.queue {
		out = append(out, w.evidence(n)...)
	}
	return out
}

func (w *walk) fail(image string, err error) {
	if len(w.errs) < maxWalkErrs {
		w.errs = append(w.errs, fmt.Errorf("image: %s: %w", image, err))
	}
}

// follow finds the library that n asks for and puts it into the queue. Nil is for libraries of the system and those that
// could not be found.
func (w *walk) follow(ctx context.Context, n *node, l library) *node {
	at, err := w.resolve(n, l.name)
	if err != nil {
		if l.linkage != linkWeak || !errors.Is(err, errNotFound) {
			w.fail(n.path, fmt.Errorf("library %s: %w", l.name, err))
		}
		return nil
	}
	if at.path == "" {
		return nil
	}
	if known, ok := w.seen[at.path]; ok {
		return known
	}
	if len(w.seen) >= maxImages || n.depth >= maxDepth {
		w.fail(n.path, fmt.Errorf("library %s: more than %d images, or %d deep, are not followed", l.name, maxImages, maxDepth))
		return nil
	}
	f, err := w.analyzer.facts(ctx, at.path, at.info, false)
	if err != nil {
		w.fail(at.path, err)
		return nil
	}
	for _, err := range f.errs {
		w.fail(at.path, err)
	}
	u := f.unitFor(w.unit.arch)
	if u == nil || f.format != w.format {
		w.fail(at.path, fmt.Errorf("%s without a slice for %s", f.format, w.unit.arch))
		return nil
	}
	next := &node{path: at.path, unit: u, loader: n, depth: n.depth + 1}
	w.seen[at.path] = next
	w.queue = append(w.queue, next)
	return next
}

// unitFor gives the slice that a process of arch loads.
func (f *facts) unitFor(arch string) *unit {
	for _, u := range f.units {
		if u.arch == arch {
			return u
		}
	}
	for _, u := range f.units {
		if strings.HasPrefix(u.arch, "arm64") && strings.HasPrefix(arch, "arm64") ||
			strings.HasPrefix(u.arch, "x86_64") && strings.HasPrefix(arch, "x86_64") {
			return u
		}
	}
	return nil
}

// resolve gives the library that n asks for by name; it is nothing for libraries of the system.
func (w *walk) resolve(n *node, name string) (found, error) {
	if name == "" || len(name) > maxPath || strings.IndexByte(name, 0) >= 0 {
		return found{}, errors.New("not a path")
	}
	if w.format == "elf" {
		return w.resolveELF(n, name)
	}
	return w.resolveMachO(n, name)
}

// maxPath is the longest path taken, macOS's PATH_MAX times four for long names of links.
const maxPath = 4096

var (
	errNotFound = errors.New("not found")
	errBudget   = errors.New("too many places to look for libraries")
)

// first gives the first candidate that is a regular file.
func (w *walk) first(candidates []string) (found, error) {
	for _, c := range candidates {
		if at, err := w.places.look(c); err != nil || at.path != "" {
			return at, err
		}
	}
	return found{}, errNotFound
}

// chain gives the images between the executable and n, outermost first.
func (n *node) chain() []string {
	var via []string
	for l := n.loader; l != nil && l.loader != nil; l = l.loader {
		via = append([]string{l.path}, via...)
	}
	return via
}

// evidence gives what n holds itself.
func (w *walk) evidence(n *node) []Evidence {
	found := attribute(n.unit, n.reexported)
	imported := map[string]bool{}
	for _, a := range found {
		imported[a.entry.provider] = true
	}
	for _, m := range n.unit.markers {
		// The same strings are in a program that imports the library: only the import counts then.
		if !imported[m.entry.provider] {
			found = append(found, attributed{entry: m.entry, symbol: m.found, strength: m.strength, linkage: m.linkage})
		}
	}
	if n.loader != nil {
		found = bundled(found, n)
	}
	at := place{image: n.path, via: n.chain(), arch: w.unit.arch}
	if n.loader == nil {
		at.image = w.main
	}
	return group(found, at)
}

// bundled marks what an image that the executable brings along imports. What a crypto library does itself is its own
// business, unless it calls Apple's symmetric APIs, which no real one does: then only its name is that of one.
func bundled(found []attributed, n *node) []attributed {
	crypto := loadCatalogue().cryptoLibrary(n.path) || n.unit.name != "" && loadCatalogue().cryptoLibrary(n.unit.name)
	var kept []attributed
	for _, a := range found {
		if crypto && (a.entry.class != ClassSymmetric || !AppleProvider(a.entry.provider)) {
			continue
		}
		if a.linkage != linkStatic && a.linkage != linkDlopen {
			a.linkage = linkBundled
		}
		kept = append(kept, a)
	}
	return kept
}

// reexported lists what the library of that index passes on, itself or through others.
func (n *node) reexported(index int) []string {
	if index >= len(n.found) || n.found[index] == nil {
		return nil
	}
	m := n.found[index]
	if m.passes == nil {
		m.passes = []string{}
		m.pass(&m.passes, map[*node]bool{})
	}
	return m.passes
}

// pass collects the names of the libraries that m re-exports.
func (m *node) pass(names *[]string, seen map[*node]bool) {
	seen[m] = true
	for i, l := range m.unit.libraries {
		if l.linkage != linkReexport || len(*names) >= maxReexports {
			continue
		}
		*names = append(*names, l.name)
		if i < len(m.found) && m.found[i] != nil && !seen[m.found[i]] {
			m.found[i].pass(names, seen)
		}
	}
}

// expand puts dir in place of an @-prefix of name.
func expand(name, prefix, dir string) (string, bool) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || rest != "" && rest[0] != '/' {
		return name, false
	}
	return path.Join(dir, rest), true
}
