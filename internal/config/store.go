package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// maxFile is how large a settings or rule file may be.
const maxFile = 32 << 20

// Path is where the settings file is: $CIPHERLENS_CONFIG, or the system's place for it.
func Path() string {
	if p := os.Getenv("CIPHERLENS_CONFIG"); p != "" {
		return p
	}
	if runtime.GOOS == "darwin" {
		return "/Library/Application Support/Cipherlens/config.yaml"
	}
	return "/etc/cipherlens/config.yaml"
}

// Store keeps the settings in force. A source that breaks leaves its last good version in force and is reported by Problems.
// It is safe for concurrent use.
type Store struct {
	path string

	mu       sync.Mutex
	file     Config // the last good version of the file, over the defaults
	current  Config // file, and the last good override on top
	override string
	problems [2]error // of the file, of the override
	changes  uint64
}

// NewStore reads the settings file at path, if there is one; without one, or with a broken one, the defaults hold.
func NewStore(path string) *Store {
	s := &Store{path: path, file: Default(), current: Default()}
	s.Reload()
	return s
}

// Path is the settings file's path; the allowlist's folder is beside it.
func (s *Store) Path() string { return s.path }

// Current gives the settings in force; its lists must not be changed.
func (s *Store) Current() Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// Changes counts how often the settings in force have changed: whoever derives something from Current asks it first.
func (s *Store) Changes() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// Problems says what is wrong with the newest version of the file and of the override, if anything is.
func (s *Store) Problems() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.problems[:]), func(err error) bool { return err == nil })
}

// Reload reads the file again.
func (s *Store) Reload() {
	data, err := ReadTrusted(s.path)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.file, s.problems[0] = Default(), nil
	case err != nil:
		s.problems[0] = fmt.Errorf("config: %w", err)
	default:
		var next Config
		if next, s.problems[0] = Parse(Default(), s.path, data); s.problems[0] == nil {
			s.file = next
		}
	}
	s.apply()
}

// Override takes osquery's option custom_cipherlens: a JSON object with the file's keys, which goes over the file. Empty takes it back.
func (s *Store) Override(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := Parse(s.file, "custom_cipherlens", []byte(text)); err != nil {
		s.problems[1] = err
		return
	}
	s.override, s.problems[1] = text, nil
	s.apply()
}

// apply puts the override over the file. A new file under which the old override is no longer valid wins alone.
func (s *Store) apply() {
	next, err := Parse(s.file, "custom_cipherlens", []byte(s.override))
	if err != nil {
		s.problems[1] = err // next is then the file's
	}
	if !reflect.DeepEqual(s.current, next) {
		s.current = next
		s.changes++
	}
}

// ReadTrusted reads a settings file that only root, or the user we run as, could have written.
func ReadTrusted(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := trusted(info); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s: larger than %d MiB", path, maxFile>>20)
	}
	return data, err
}

func trusted(info fs.FileInfo) error {
	owner := rootfs.Owner(info)
	switch {
	case !info.Mode().IsRegular():
		return errors.New("not a regular file")
	case owner != 0 && owner != os.Geteuid():
		return fmt.Errorf("owned by user %d, not by root", owner)
	case info.Mode().Perm()&0o002 != 0:
		return fmt.Errorf("writable by everybody (mode %v)", info.Mode().Perm())
	case os.Geteuid() == 0 && info.Mode().Perm()&0o020 != 0 && rootfs.Group(info) != 0:
		return fmt.Errorf("writable by group %d (mode %v)", rootfs.Group(info), info.Mode().Perm())
	}
	return nil
}

// RuleFiles lists the allowlist files, allowlist.d/*.yaml beside the settings file, sorted.
func (s *Store) RuleFiles() ([]string, error) {
	dir := filepath.Join(filepath.Dir(s.path), "allowlist.d")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".yaml") && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files, err
}
