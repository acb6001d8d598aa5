package launchd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// maxHomes bounds the users of one host.
const maxHomes = 10_000

// dslocal is where a Mac keeps its local users, readable by root only.
const dslocal = "/var/db/dslocal/nodes/Default/users"

// home is one user's.
type home struct {
	user string
	uid  int    // -1 when unknown
	id   string // its UUID in the directory, upper case
	dir  string
}

// homes lists the homes of all users: the local directory's, /Users and root's, each folder once.
func (s *scan) homes(ctx context.Context) []home {
	found := s.directoryHomes(ctx)
	names, err := s.list("/Users")
	if err != nil {
		s.fail(err)
	}
	for _, name := range names {
		found = append(found, home{user: name, uid: -1, dir: path.Join("/Users", name)})
	}
	found = append(found, home{user: "root", uid: 0, dir: "/var/root"})
	kept := found[:0]
	dirs := map[string]bool{}
	for _, h := range found {
		real, err := s.files.Resolve(h.dir)
		if err != nil || real == "/" || dirs[real] || len(kept) == maxHomes { // "/" is the home of some service accounts
			continue
		}
		dirs[real] = true
		h.uid = s.ownerOf(h)
		kept = append(kept, h)
	}
	slices.SortStableFunc(kept, func(a, b home) int { return cmp.Compare(a.dir, b.dir) })
	return kept
}

// ownerOf gives the uid of a home that the directory does not name: its folder's owner.
func (s *scan) ownerOf(h home) int {
	if h.uid >= 0 {
		return h.uid
	}
	info, err := s.files.Stat(h.dir)
	if err != nil {
		return -1
	}
	return rootfs.Owner(info)
}

// directoryHomes reads the local users' records. They are optional: another account than root cannot read them.
func (s *scan) directoryHomes(ctx context.Context) []home {
	names, err := s.list(dslocal)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		s.fail(err)
	}
	var found []home
	for _, name := range names {
		if ctx.Err() != nil || len(found) >= maxHomes {
			break
		}
		if !isPlistName(name) {
			continue
		}
		h, err := s.directoryHome(path.Join(dslocal, name))
		if err != nil {
			s.fail(fmt.Errorf("%s: %w", path.Join(dslocal, name), err))
			continue
		}
		found = append(found, h...)
	}
	return found
}

// directoryHome reads one record, whose attributes are lists.
func (s *scan) directoryHome(name string) ([]home, error) {
	data, err := s.files.ReadFile(name, maxPlistSize)
	if err != nil {
		return nil, bare(err)
	}
	value, err := plist.Parse(data)
	if err != nil && value == nil {
		return nil, err
	}
	record, _ := value.(map[string]any)
	user, uid := firstText(record["name"]), -1
	if n, err := strconv.Atoi(firstText(record["uid"])); err == nil && n >= 0 {
		uid = n
	}
	var found []home
	if dirs, ok := record["home"].([]any); ok {
		for _, d := range dirs[:min(len(dirs), 8)] {
			if dir, ok := d.(string); ok && path.IsAbs(dir) {
				found = append(found, home{user: user, uid: uid, id: strings.ToUpper(firstText(record["generateduid"])), dir: dir})
			}
		}
	}
	return found, nil
}

func firstText(value any) string {
	if list, ok := value.([]any); ok && len(list) > 0 {
		value = list[0]
	}
	text, _ := value.(string)
	return text
}

// home reads one user's jobs, within what one place may cost.
func (s *scan) home(ctx context.Context, h home) {
	s.within(ctx, h.dir, func(ctx context.Context, a *allowance) {
		p := place{dir: path.Join(h.dir, "Library/LaunchAgents"), domain: DomainUser, user: h.user, uid: h.uid}
		s.folder(ctx, p, a)
		p.dir = path.Join(h.dir, "Applications")
		s.applications(ctx, p, a, 0)
	})
}
