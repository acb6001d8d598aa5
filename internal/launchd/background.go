package launchd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
)

// backgroundFolder is where background task management keeps its database since macOS 13.
const backgroundFolder = "/var/db/com.apple.backgroundtaskmanagement"

var backgroundName = regexp.MustCompile(`^BackgroundItems-v(\d{1,6})\.btm$`)

// backgroundLimits fit a database of several thousand items; it is written by root's daemon.
var backgroundLimits = plist.Limits{Size: 8 << 20, Depth: 64, Nodes: 400_000}

// maxItems bounds the items that are looked at.
const maxItems = 20_000

// Bits of an item's type and disposition, from osquery's startup_items.mm and Objective-See's DumpBTM.
const (
	typeApp       = 0x2
	typeLoginItem = 0x4
	typeAgent     = 0x8
	typeDaemon    = 0x10

	itemEnabled = 0x1
	itemAllowed = 0x2
)

// item is one record of the database.
type item struct {
	user       string // UUID
	identifier string
	container  string // the identifier of the item it belongs to
	url, base  string
	kind       int64
	state      int64
}

func (i item) on() bool { return i.state&itemEnabled != 0 && i.state&itemAllowed != 0 }

// parseBackground reads a database.
func parseBackground(data []byte) ([]item, error) {
	value, err := backgroundLimits.Parse(data)
	if err != nil && value == nil {
		return nil, err
	}
	a, err := newArchive(value)
	if err != nil {
		return nil, err
	}
	return a.items()
}

// items reads the records of all users.
func (a *archive) items() ([]item, error) {
	store := a.object(a.top["store"])
	if store == nil {
		return nil, fmt.Errorf("%w of background items: no store", errArchive)
	}
	var items []item
	users, lists := a.pairs(store["itemsByUserIdentifier"])
	for i, user := range users {
		for _, element := range a.list(lists[i]) {
			if len(items) == maxItems || a.steps > maxSteps {
				return items, fmt.Errorf("%w: more than %d items", errBudget, maxItems)
			}
			items = append(items, a.item(a.text(user), element))
		}
	}
	return items, nil
}

func (a *archive) item(user string, element any) item {
	o := a.object(element)
	i := item{
		user: strings.ToUpper(user), identifier: a.text(o["identifier"]), container: a.text(o["container"]),
		kind: a.number(o["type"]), state: a.number(o["disposition"]),
	}
	i.url, i.base = a.url(o["url"])
	return i
}

// background applies the database: it knows jobs in applications that lie anywhere, and which of them the user has switched off.
func (s *scan) background(ctx context.Context, homes []home) {
	name := s.backgroundFile()
	if name == "" {
		return
	}
	data, err := s.files.ReadFile(name, int64(backgroundLimits.Size))
	var items []item
	if err == nil {
		items, err = parseBackground(data)
	}
	if err != nil {
		s.fail(fmt.Errorf("%s: %w", name, bare(err)))
	}
	s.within(ctx, name, func(ctx context.Context, a *allowance) { s.merge(ctx, items, homes, a) })
}

// backgroundFile picks the newest version; macOS leaves old ones behind.
func (s *scan) backgroundFile() string {
	names, err := s.list(backgroundFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.fail(err)
	}
	best, newest := "", -1
	for _, name := range names {
		if m := backgroundName.FindStringSubmatch(name); m != nil {
			if version, err := strconv.Atoi(m[1]); err == nil && version > newest {
				best, newest = path.Join(backgroundFolder, name), version
			}
		}
	}
	return best
}

// merge adds jobs that no folder had, and notes which are switched off: for every user that has them.
func (s *scan) merge(ctx context.Context, items []item, homes []home, a *allowance) {
	folders := containers(items)
	on, off := map[int]bool{}, map[int]bool{}
	for _, i := range items {
		if ctx.Err() != nil || a.spent() {
			break
		}
		index, ok := s.known(ctx, i, i.path(folders), homes, a)
		if ok && i.on() {
			on[index] = true
		} else if ok {
			off[index] = true
		}
	}
	for index := range off {
		if !on[index] {
			s.found[index].off = true
		}
	}
}

// containers gives the folder of each application by its identifier: items inside have an URL relative to it.
func containers(items []item) map[string]string {
	folders := map[string]string{}
	for _, i := range items {
		if dir := filePath(i.url); i.kind&typeApp != 0 && dir != "" {
			folders[i.user+"\x00"+i.identifier] = dir
		}
	}
	return folders
}

// path gives the absolute path of an item; empty where it cannot be known.
func (i item) path(folders map[string]string) string {
	if at := filePath(i.url); at != "" {
		return at
	}
	dir := filePath(i.base)
	if dir == "" {
		dir = folders[i.user+"\x00"+i.container]
	}
	relative, err := url.PathUnescape(i.url)
	if dir == "" || err != nil || relative == "" {
		return ""
	}
	return path.Join(dir, path.Join("/", relative))
}

// filePath gives the path of a file URL, or empty.
func filePath(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "file" || !path.IsAbs(u.Path) {
		return ""
	}
	return path.Clean(u.Path)
}

// known finds the job of one item, reading its property list if no folder had it.
func (s *scan) known(ctx context.Context, i item, at string, homes []home, a *allowance) (index int, ok bool) {
	p := place{dir: at, uid: -1, bundle: enclosingApp(at)}
	for _, h := range homes {
		if h.id != "" && h.id == i.user {
			p.user, p.uid = h.user, h.uid
		}
	}
	switch {
	case at == "":
		return 0, false
	case i.kind&(typeAgent|typeDaemon) != 0 && isPlistName(path.Base(at)):
		p.daemon = i.kind&typeDaemon != 0
		p.domain = i.domain(p)
		s.file(ctx, at, s.real(at), p, a)
	case i.kind&(typeApp|typeLoginItem) != 0 && strings.EqualFold(path.Ext(at), ".app") && (i.on() || i.kind&typeLoginItem != 0):
		p.domain = DomainLoginItem
		s.bundle(ctx, p, a)
		at = infoPath(at)
	default:
		return 0, false
	}
	index, ok = s.seen[s.real(at)]
	return index, ok
}

func (i item) domain(p place) string {
	switch {
	case p.bundle != "":
		return DomainApp
	case p.daemon:
		return DomainSystem
	case p.user != "":
		return DomainUser
	}
	return DomainAgent
}

// enclosingApp gives the innermost application's folder that a path is in.
func enclosingApp(name string) string {
	for dir := path.Dir(name); dir != "/" && dir != "."; dir = path.Dir(dir) {
		if strings.EqualFold(path.Ext(dir), ".app") {
			return dir
		}
	}
	return ""
}
