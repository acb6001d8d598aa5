package launchd

import (
	"errors"
	"path"
	"strings"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// info is a bundle's Info.plist.
type info struct {
	identifier string // CFBundleIdentifier
	main       string // CFBundleExecutable
	dict       map[string]any
}

// infoPath is where macOS bundles keep their property list.
func infoPath(bundle string) string { return path.Join(bundle, "Contents/Info.plist") }

// readInfo reads the Info.plist of a bundle and gives its size in bytes.
func readInfo(root *rootfs.Root, bundle string) (info, int, error) {
	data, err := root.ReadFile(infoPath(bundle), maxPlistSize)
	if err != nil {
		return info{}, 0, bare(err)
	}
	value, err := plist.Parse(data)
	if err != nil && value == nil {
		return info{}, len(data), err
	}
	dict, ok := value.(map[string]any)
	if !ok {
		return info{}, len(data), errors.New("not a dictionary")
	}
	i := info{dict: dict}
	i.identifier, _ = dict["CFBundleIdentifier"].(string)
	i.main, _ = dict["CFBundleExecutable"].(string)
	if strings.ContainsAny(i.main, "/\x00") {
		i.main = ""
	}
	return i, len(data), nil
}

// executable is the bundle's main program. Without CFBundleExecutable it has the bundle's own name.
func (i info) executable(bundle string) string {
	name := i.main
	if name == "" {
		name = strings.TrimSuffix(path.Base(bundle), path.Ext(bundle))
	}
	return path.Join(bundle, "Contents/MacOS", name)
}
