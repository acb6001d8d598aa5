package launchd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

const (
	maxPlistSize = 1 << 20 // bytes of one property list
	maxPlists    = 10_000  // in one folder
	maxEntries   = 100_000 // in one folder, whatever they are
)

// One user's home is written by that user: these bound what it, or a folder of applications, can cost everybody else.
const (
	placeFiles = 10_000
	placeBytes = 32 << 20
	placeTime  = 2 * time.Second
)

var errBudget = errors.New("too much to read")

// Jobs is Scanner.Jobs for once.
func Jobs(ctx context.Context, root *rootfs.Root) ([]Job, []error) { return NewScanner(root).Jobs(ctx) }

func newScan(root *rootfs.Root, known map[source]memory) *scan {
	return &scan{
		seen:  map[string]int{},
		files: &files{Root: root, walker: root.Walker(), seen: map[string]located{}, known: known, remember: map[source]memory{}},
	}
}

// all looks in all places.
func (s *scan) all(ctx context.Context) ([]Job, []error) {
	homes := s.homes(ctx)
	for _, p := range systemPlaces {
		s.folder(ctx, p, nil)
	}
	for _, h := range homes {
		s.home(ctx, h)
	}
	for _, dir := range applicationFolders {
		s.within(ctx, dir, func(ctx context.Context, a *allowance) { s.applications(ctx, place{dir: dir, uid: -1}, a, 0) })
	}
	s.helpers(ctx)
	s.background(ctx, homes)
	s.overrides(homes)
	if err := ctx.Err(); err != nil {
		s.fail(err)
	}
	slices.SortStableFunc(s.found, func(a, b found) int { return strings.Compare(a.PlistPath, b.PlistPath) })
	jobs := make([]Job, len(s.found))
	for i, f := range s.found {
		jobs[i] = f.Job
	}
	return jobs, s.errs
}

// found is a job with what is only needed during the scan.
type found struct {
	Job
	daemon bool // of the system domain
	uid    int  // of the one user that it belongs to; -1 for all
	off    bool // by background task management
}

// scan collects the jobs of one host.
type scan struct {
	files *files
	seen  map[string]int // index in found by the property list's resolved path, so that none is read twice
	found []found
	errs  []error
}

func (s *scan) fail(err error) { s.errs = append(s.errs, fmt.Errorf("launchd: %w", err)) }

// within runs f with the time and files that one place may cost which others than root can write to.
func (s *scan) within(ctx context.Context, name string, f func(context.Context, *allowance)) {
	own, cancel := context.WithTimeout(ctx, placeTime)
	defer cancel()
	f(own, &allowance{files: placeFiles, bytes: placeBytes})
	if own.Err() != nil && ctx.Err() == nil {
		s.fail(fmt.Errorf("%s: %w: not done within %s", name, errBudget, placeTime))
	}
}

// place is a folder with property lists.
type place struct {
	dir    string
	domain string
	daemon bool
	user   string // whose home it is in
	uid    int    // of user; -1 for all users
	bundle string // the application that BundleProgram is relative to
}

// systemPlaces are those of launchd.plist(5), of cryptexes and of Apple's own updates.
var systemPlaces = []place{
	{dir: "/System/Library/LaunchDaemons", domain: DomainSystem, daemon: true, uid: -1},
	{dir: "/System/Library/LaunchAgents", domain: DomainAgent, uid: -1},
	{dir: "/System/Library/LaunchAngels", domain: DomainAngel, uid: -1},
	{dir: "/AppleInternal/Library/LaunchAngels", domain: DomainAngel, uid: -1},
	{dir: "/System/Cryptexes/App/System/Library/LaunchDaemons", domain: DomainSystem, daemon: true, uid: -1},
	{dir: "/System/Cryptexes/App/System/Library/LaunchAgents", domain: DomainAgent, uid: -1},
	{dir: "/System/Volumes/Preboot/Cryptexes/App/System/Library/LaunchDaemons", domain: DomainSystem, daemon: true, uid: -1},
	{dir: "/System/Volumes/Preboot/Cryptexes/App/System/Library/LaunchAgents", domain: DomainAgent, uid: -1},
	{dir: "/Library/Apple/System/Library/LaunchDaemons", domain: DomainSystem, daemon: true, uid: -1},
	{dir: "/Library/Apple/System/Library/LaunchAgents", domain: DomainAgent, uid: -1},
	{dir: "/Library/LaunchDaemons", domain: DomainSystem, daemon: true, uid: -1},
	{dir: "/Library/LaunchAgents", domain: DomainAgent, uid: -1},
}

// allowance is what may still be read for one home; nil is without bounds.
type allowance struct {
	files int
	bytes int64
}

func (a *allowance) take(bytes int) bool {
	if a != nil {
		a.files--
		a.bytes -= int64(bytes)
	}
	return !a.spent()
}

func (a *allowance) spent() bool { return a != nil && (a.files < 0 || a.bytes < 0) }

// folder reads the property lists of one folder.
func (s *scan) folder(ctx context.Context, p place, a *allowance) {
	entries, err := s.entries(p.dir)
	if err != nil {
		s.fail(err)
	}
	if len(entries) == 0 {
		return
	}
	real, err := s.files.Resolve(p.dir)
	if err != nil {
		s.fail(err)
		return
	}
	count := 0
	for _, e := range entries {
		if !isPlistName(e.Name()) {
			continue
		}
		if count++; count > maxPlists {
			s.fail(fmt.Errorf("%s: %w: more than %d property lists", p.dir, errBudget, maxPlists))
			return
		}
		target := path.Join(real, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			target = s.real(target)
		}
		if !s.file(ctx, path.Join(p.dir, e.Name()), target, p, a) {
			return
		}
	}
}

// file reads one property list, whose path leads to real, unless that was done; it is false when there is no allowance or time left.
func (s *scan) file(ctx context.Context, name, real string, p place, a *allowance) bool {
	if ctx.Err() != nil {
		return false
	}
	if !s.first(real) {
		return true
	}
	job, size := s.read(ctx, name, p)
	return s.add(job, size, p, a)
}

// add keeps a job and is false when no other may be read.
func (s *scan) add(job Job, size int, p place, a *allowance) bool {
	s.found = append(s.found, found{Job: job, daemon: p.daemon, uid: p.uid})
	if !a.take(size) {
		s.fail(fmt.Errorf("%s: %w", p.dir, errBudget))
		return false
	}
	return true
}

// first says whether a file is met for the first time, by whatever path. The job that comes of it must be added next.
func (s *scan) first(real string) bool {
	if _, again := s.seen[real]; again {
		return false
	}
	s.seen[real] = len(s.found)
	return true
}

// real resolves a path; one that leads nowhere stays as it is.
func (s *scan) real(name string) string {
	if real, err := s.files.Resolve(name); err == nil {
		return real
	}
	return name
}

// entries lists a folder; one that is not there, or is something else, is empty.
func (s *scan) entries(dir string) ([]fs.DirEntry, error) {
	entries, err := s.files.ReadDir(dir, maxEntries)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		err = nil
	}
	return entries, err
}

// list gives the names in a folder.
func (s *scan) list(dir string) ([]string, error) {
	entries, err := s.entries(dir)
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
