package launchd

import (
	"context"
	"io/fs"
	"os"
	"sync"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// What a Scanner remembers of one host: the property lists of a large one have 3 MiB. What a user puts in beyond that is read again.
const (
	maxRemembered = 16 << 20 // bytes, as memory.weight estimates
	maxLooks      = 256      // files that one job may depend on
)

// Scanner finds the jobs of one host again and again. It remembers each job with the state of its property list and of every file that was
// looked at for it, and reads it again when one of them has changed. Its methods may be called at the same time.
type Scanner struct {
	root *rootfs.Root

	mu    sync.Mutex
	known map[source]memory // never changed once it is here
}

// NewScanner gives a Scanner of the host behind root, which must stay open.
func NewScanner(root *rootfs.Root) *Scanner { return &Scanner{root: root} }

// Jobs finds every job that is declared on a host, sorted by PlistPath. The errors are about places that could not be looked at; a bad
// property list is a Job with Err. It ends early, with what it has, when ctx does. What the Jobs point to is shared and must not be changed.
func (m *Scanner) Jobs(ctx context.Context) ([]Job, []error) {
	m.mu.Lock()
	known := m.known
	m.mu.Unlock()
	s := newScan(m.root, known)
	defer s.files.walker.Close()
	jobs, errs := s.all(ctx)
	if ctx.Err() == nil {
		m.mu.Lock()
		m.known = s.files.remember
		m.mu.Unlock()
	}
	return jobs, errs
}

// source is where a job comes from.
type source struct {
	name string // of the property list
	place
}

// memory is a job as it was read, and on what that depends.
type memory struct {
	job   Job
	size  int // of the property list, bytes
	looks map[string]look
}

// weight estimates the memory of m, in bytes.
func (m *memory) weight() int {
	const fixed = 256
	n := fixed + 2*m.size
	for name, l := range m.looks {
		n += fixed + len(name) + len(l.real) + len(l.err)
	}
	return n
}

// look is what was found at a path.
type look struct {
	real string
	id   rootfs.ID
	mode fs.FileMode
	err  string
}

// located is a look with what it was made of.
type located struct {
	look
	info fs.FileInfo
	err  error
}

// files is the host as one scan sees it: what is at a path is asked once.
type files struct {
	*rootfs.Root
	walker   *rootfs.Walker
	seen     map[string]located
	looks    map[string]look // what the job that is being read depends on; nil for none
	known    map[source]memory
	remember map[source]memory
	size     int // weight of all that is in remember, bytes
}

// maxSeen bounds the paths that one scan remembers; beyond, the system is asked again.
const maxSeen = 20_000

func (f *files) at(name string) located {
	l, ok := f.seen[name]
	if !ok {
		l.real, l.info, l.err = f.walker.Locate(name)
		if l.err != nil {
			l.look.err = l.err.Error()
		} else {
			l.id, _ = rootfs.IDOf(l.info)
			l.mode = l.info.Mode()
			if l.info.IsDir() {
				l.id = rootfs.ID{Device: l.id.Device, Inode: l.id.Inode} // what else is in a folder changes nothing
			}
		}
		if len(f.seen) < maxSeen {
			f.seen[name] = l
		}
	}
	if f.looks != nil && len(f.looks) <= maxLooks {
		f.looks[name] = l.look
	}
	return l
}

// Resolve is Root's, and notes that the job depends on it; so do Stat, Open and ReadFile.
func (f *files) Resolve(name string) (string, error) {
	l := f.at(name)
	return l.real, l.err
}

// Stat describes what name leads to.
func (f *files) Stat(name string) (fs.FileInfo, error) {
	l := f.at(name)
	return l.info, l.err
}

// Open opens what name leads to.
func (f *files) Open(name string) (*os.File, error) {
	f.at(name)
	return f.Root.Open(name)
}

// ReadFile reads a regular file of at most limit bytes.
func (f *files) ReadFile(name string, limit int64) ([]byte, error) {
	f.at(name)
	return f.Root.ReadFile(name, limit)
}

// ReadDir lists a folder.
func (f *files) ReadDir(name string, limit int) ([]fs.DirEntry, error) {
	if l := f.at(name); l.err != nil {
		return nil, l.err
	}
	return f.Root.ReadDir(name, limit)
}

// once gives the job of a property list by read, unless it is remembered and all that it depends on is as it was.
func (f *files) once(ctx context.Context, from source, read func() (Job, int)) (Job, int) {
	old, ok := f.known[from]
	if !ok || !f.same(old.looks) {
		f.looks = map[string]look{}
		f.at(from.name) // before it is read: should it change now, it is read again the next time
		old.job, old.size = read()
		old.looks = f.looks
		f.looks = nil
	}
	if weight := old.weight(); f.size+weight <= maxRemembered && len(old.looks) <= maxLooks && ctx.Err() == nil {
		f.size += weight
		f.remember[from] = old
	}
	return old.job, old.size
}

// same says whether everything that was looked at is as it was.
func (f *files) same(looks map[string]look) bool {
	for name, was := range looks {
		if f.at(name).look != was {
			return false
		}
	}
	return true
}
