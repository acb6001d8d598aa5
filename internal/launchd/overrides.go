package launchd

import (
	"fmt"
	"path"
	"regexp"
	"strconv"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
)

// overrideFolder is where launchd keeps what "launchctl disable" and "enable" set since macOS 10.10.
const overrideFolder = "/var/db/com.apple.xpc.launchd"

var overrideName = regexp.MustCompile(`^disabled(?:\.(\d{1,10}))?\.plist$`)

// firstUser is the lowest uid that macOS gives to people.
const firstUser = 500

// disabledBy are the overrides of one host: true is disabled.
type disabledBy struct {
	system map[string]bool
	users  map[int]map[string]bool
}

// overrides applies launchctl's switches, which outlive the property list and its Disabled key.
func (s *scan) overrides(homes []home) {
	by := s.readOverrides()
	for _, h := range homes {
		if h.uid >= firstUser && by.users[h.uid] == nil {
			by.users[h.uid] = map[string]bool{}
		}
	}
	for i := range s.found {
		f := &s.found[i]
		f.Enabled = by.enabled(f) && !f.off
	}
}

func (by *disabledBy) enabled(f *found) bool {
	switch {
	case f.daemon:
		return after(by.system, f)
	case f.uid >= 0:
		return after(by.users[f.uid], f)
	}
	for _, labels := range by.users {
		if after(labels, f) {
			return true
		}
	}
	return len(by.users) == 0 && f.Enabled
}

// after gives a job's state with one domain's overrides.
func after(labels map[string]bool, f *found) bool {
	if disabled, ok := labels[f.Label]; ok {
		return !disabled
	}
	return f.Enabled
}

func (s *scan) readOverrides() disabledBy {
	by := disabledBy{users: map[int]map[string]bool{}}
	names, err := s.list(overrideFolder)
	if err != nil {
		s.fail(err)
	}
	for _, name := range names {
		m := overrideName.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		labels, err := s.readOverride(path.Join(overrideFolder, name))
		if err != nil {
			s.fail(fmt.Errorf("%s: %w", path.Join(overrideFolder, name), err))
		}
		if uid, err := strconv.Atoi(m[1]); err == nil {
			by.users[uid] = labels
		} else {
			by.system = labels
		}
	}
	return by
}

func (s *scan) readOverride(name string) (map[string]bool, error) {
	data, err := s.files.ReadFile(name, maxPlistSize)
	if err != nil {
		return nil, bare(err)
	}
	value, err := plist.Parse(data)
	labels := map[string]bool{}
	dict, _ := value.(map[string]any)
	for label, state := range dict {
		if disabled, ok := state.(bool); ok {
			labels[label] = disabled
		} else if err == nil {
			err = fmt.Errorf("%q: not a boolean", label)
		}
	}
	return labels, err
}
