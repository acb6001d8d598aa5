package launchd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

const (
	maxPlistSize = 1 << 20 // bytes of one property list
	maxPlists    = 10_000  // in one folder
	maxEntries   = 100_000 // in one folder, whatever they are
)

// One user's home is written by that user: these bound what it can cost everybody else.
const (
	homeFiles = 10_000
	homeBytes = 32 << 20
	homeTime  = 2 * time.Second
)

var errBudget = errors.New("too much to read")

// Jobs finds every job that is declared on a host, sorted by PlistPath. The errors are about places that could not be looked at; a bad
// property list is a Job with Err. It ends early, with what it has, when ctx does.
func Jobs(ctx context.Context, root *rootfs.Root) ([]Job, []error) {
	s := &scan{root: root, seen: map[string]bool{}}
	for _, p := range systemPlaces {
		s.folder(ctx, p, nil)
	}
	for _, h := range s.homes(ctx) {
		s.home(ctx, h)
	}
	if err := ctx.Err(); err != nil {
		s.fail(err)
	}
	slices.SortStableFunc(s.jobs, func(a, b Job) int { return strings.Compare(a.PlistPath, b.PlistPath) })
	return s.jobs, s.errs
}

// scan collects the jobs of one host.
type scan struct {
	root *rootfs.Root
	seen map[string]bool // property lists by resolved path, so that none is read twice
	jobs []Job
	errs []error
}

func (s *scan) fail(err error) { s.errs = append(s.errs, fmt.Errorf("launchd: %w", err)) }

// place is a folder with property lists.
type place struct {
	dir    string
	domain string
	user   string // for DomainUser
	bundle string // the application that BundleProgram is relative to
}

// systemPlaces are those of launchd.plist(5), of cryptexes and of Apple's own updates.
var systemPlaces = []place{
	{dir: "/System/Library/LaunchDaemons", domain: DomainSystem},
	{dir: "/System/Library/LaunchAgents", domain: DomainAgent},
	{dir: "/System/Library/LaunchAngels", domain: DomainAngel},
	{dir: "/AppleInternal/Library/LaunchAngels", domain: DomainAngel},
	{dir: "/System/Cryptexes/App/System/Library/LaunchDaemons", domain: DomainSystem},
	{dir: "/System/Cryptexes/App/System/Library/LaunchAgents", domain: DomainAgent},
	{dir: "/System/Volumes/Preboot/Cryptexes/App/System/Library/LaunchDaemons", domain: DomainSystem},
	{dir: "/System/Volumes/Preboot/Cryptexes/App/System/Library/LaunchAgents", domain: DomainAgent},
	{dir: "/Library/Apple/System/Library/LaunchDaemons", domain: DomainSystem},
	{dir: "/Library/Apple/System/Library/LaunchAgents", domain: DomainAgent},
	{dir: "/Library/LaunchDaemons", domain: DomainSystem},
	{dir: "/Library/LaunchAgents", domain: DomainAgent},
}

// allowance is what may still be read for one home; nil is without bounds.
type allowance struct {
	files int
	bytes int64
}

func (a *allowance) take(bytes int) bool {
	if a == nil {
		return true
	}
	a.files--
	a.bytes -= int64(bytes)
	return a.files >= 0 && a.bytes >= 0
}

// folder reads the property lists of one folder.
func (s *scan) folder(ctx context.Context, p place, a *allowance) {
	names, err := s.list(p.dir)
	if err != nil {
		s.fail(err)
	}
	count := 0
	for _, name := range names {
		if !isPlistName(name) {
			continue
		}
		if count++; count > maxPlists {
			s.fail(fmt.Errorf("%s: %w: more than %d property lists", p.dir, errBudget, maxPlists))
			return
		}
		if !s.file(ctx, path.Join(p.dir, name), p, a) {
			return
		}
	}
}

// file reads one property list unless that was done; it is false when there is no allowance or time left.
func (s *scan) file(ctx context.Context, name string, p place, a *allowance) bool {
	if ctx.Err() != nil {
		return false
	}
	if !s.first(name) {
		return true
	}
	job, size := s.read(name, p)
	s.jobs = append(s.jobs, job)
	if !a.take(size) {
		s.fail(fmt.Errorf("%s: %w", p.dir, errBudget))
		return false
	}
	return true
}

// first says whether a file is met for the first time, by whatever path.
func (s *scan) first(name string) bool {
	real, err := s.root.Resolve(name)
	if err != nil {
		real = name
	}
	if s.seen[real] {
		return false
	}
	s.seen[real] = true
	return true
}

// list gives the names in a folder; one that is not there has none.
func (s *scan) list(dir string) ([]string, error) {
	entries, err := s.root.ReadDir(dir, maxEntries)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// isPlistName says whether launchd takes a file: hidden ones too (osquery#7703), but not AppleDouble files, which hold the extended
// attributes of another file on foreign volumes.
func isPlistName(name string) bool {
	return strings.EqualFold(path.Ext(name), ".plist") && !strings.HasPrefix(name, "._")
}
