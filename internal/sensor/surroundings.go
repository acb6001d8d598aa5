package sensor

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"regexp"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// What is asked of the system, and nothing decided, is here.

// interfaces lists the network interfaces.
func interfaces() ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	links := make([]link, 0, len(all))
	for _, i := range all {
		l := link{name: i.Name, up: i.Flags&net.FlagUp != 0}
		addresses, err := i.Addrs()
		if err != nil {
			continue // it went away just now
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				l.addresses = append(l.addresses, p.Addr())
			}
		}
		links = append(links, l)
	}
	return links, nil
}

// maxExtensions is how large the database of system extensions may be.
const maxExtensions = 4 << 20

// readExtensions reads the system's active network extensions; a system without a database has none.
func readExtensions(root *rootfs.Root) ([]networkExtension, error) {
	data, err := root.ReadFile("/Library/SystemExtensions/db.plist", maxExtensions)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	db, err := plist.Parse(data)
	if err != nil {
		return nil, err
	}
	return networkExtensions(db), nil
}

var backgroundDatabase = regexp.MustCompile(`^BackgroundItems-v\d+\.btm$`)

// openPrivate tries to open what Full Disk Access is needed for.
func openPrivate(root *rootfs.Root) map[string]error {
	files := []string{privacyDatabase}
	opened := map[string]error{}
	entries, err := root.ReadDir(backgroundFolder, 1000)
	if err != nil {
		opened[backgroundFolder] = err
	}
	for _, e := range entries {
		if backgroundDatabase.MatchString(e.Name()) {
			files = append(files, path.Join(backgroundFolder, e.Name()))
		}
	}
	for _, name := range files {
		f, err := root.Open(name)
		if err == nil {
			_ = f.Close()
		}
		opened[name] = err
	}
	return opened
}
