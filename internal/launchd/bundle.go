package launchd

import (
	"errors"
	"path"
	"strings"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
)

// info is a bundle's Info.plist.
type info struct {
	main string // CFBundleExecutable
}

// infoPath is where macOS bundles keep their property list.
func infoPath(bundle string) string { return path.Join(bundle, "Contents/Info.plist") }

// readInfo reads the Info.plist of a bundle.
func readInfo(files *files, bundle string) (info, error) {
	data, err := files.ReadFile(infoPath(bundle), maxPlistSize)
	if err != nil {
		return info{}, bare(err)
	}
	value, err := plist.Parse(data)
	if err != nil && value == nil {
		return info{}, err
	}
	dict, ok := value.(map[string]any)
	if !ok {
		return info{}, errors.New("not a dictionary")
	}
	return bundleInfo(dict), nil
}

func bundleInfo(dict map[string]any) info {
	main, _ := dict["CFBundleExecutable"].(string)
	if strings.ContainsAny(main, "/\x00") {
		return info{}
	}
	return info{main: main}
}

// executable is the bundle's main program. Without CFBundleExecutable it has the bundle's own name.
func (i info) executable(bundle string) string {
	name := i.main
	if name == "" {
		name = strings.TrimSuffix(path.Base(bundle), path.Ext(bundle))
	}
	return path.Join(bundle, "Contents/MacOS", name)
}
