package sensor

import (
	"context"
	"slices"
	"sync"

	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// maxApplications bounds how many files of applications the index looks at.
const maxApplications = 20_000

// Index knows the executables of a host's jobs, applications and, live, processes: by LC_UUID, for captures that state nothing else, and which
// job each belongs to. It is built at the first question and safe for concurrent use.
type Index struct {
	root *rootfs.Root
	scan *launchd.Scanner
	once sync.Once
	mu   sync.Mutex
	jobs map[string]string // executable to label; of several jobs the first label
	ties *ties             // jobs by what a process shows of them; nil before they were read
	// What runs or is a job comes before what merely lies there, so that a file with a borrowed UUID does not hide it.
	uuids [2]*image.Index
}

// OpenIndex makes the index of the host whose "/" is at root.
func OpenIndex(ctx context.Context, root string) (*Index, error) {
	r, err := rootfs.Open(root)
	if err != nil {
		return nil, err
	}
	x := newIndex(r)
	x.build(ctx)
	return x, nil
}

func newIndex(root *rootfs.Root) *Index { return &Index{root: root, scan: launchd.NewScanner(root)} }

// build reads what the Index knows, once.
func (x *Index) build(ctx context.Context) {
	x.once.Do(func() { x.refresh(ctx, func() {}) })
}

// refresh reads all again. It calls jobsKnown in between: reading jobs is much quicker than reading what they run.
func (x *Index) refresh(ctx context.Context, jobsKnown func()) {
	paths := x.readJobs(ctx)
	jobsKnown()
	x.readFiles(ctx, paths)
}

// readJobs reads the jobs, and gives the executables that they and, live, processes run.
func (x *Index) readJobs(ctx context.Context) []string {
	jobs, _ := x.scan.Jobs(ctx) // what could not be read shows in the tables and in the coverage
	labels := map[string]string{}
	var paths []string
	for i := range jobs {
		for _, path := range jobPaths(&jobs[i]) {
			if old, known := labels[path]; !known || jobs[i].Label < old {
				labels[path] = jobs[i].Label
			}
			paths = append(paths, path)
		}
	}
	var running []process.Process
	if x.root.Live() {
		running, _ = process.List(ctx)
		for _, p := range running {
			paths = append(paths, p.Path)
		}
	}
	known := newTies(jobs, uidOf())
	known.all(running)
	slices.Sort(paths)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.jobs, x.ties = labels, known
	return slices.Compact(paths)
}

// readFiles reads these executables and those of applications.
func (x *Index) readFiles(ctx context.Context, paths []string) {
	files, _ := image.Applications(ctx, x.root, maxApplications)
	uuids := [...]*image.Index{image.BuildIndex(ctx, x.root, paths), image.BuildIndex(ctx, x.root, files)}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.uuids = uuids
}

// maxAncestors is how far up a process tree a job is looked for.
const maxAncestors = 16

// job gives the label of the job that a running process belongs to, by the same proofs as Sensor.Processes; empty without one. get describes a process.
func (x *Index) job(p process.Process, get func(pid int) (process.Process, error)) string {
	tied, done := x.tied(p)
	if !done || tied.Proof == ProofCoalition {
		done = x.helper(&tied, get) || done
	}
	if done || tied.PPID <= launchdPID {
		return tied.Label
	}
	for child, up := p, 0; up < maxAncestors && child.PPID > launchdPID; up++ {
		parent, err := get(child.PPID)
		if err != nil || parent.StartTime > child.StartTime || parent.Coalition != p.Coalition { // gone, and its pid another's; or launched for itself
			break
		}
		if above, done := x.tied(parent); done {
			if above.Proof == ProofParent || above.Proof == ProofCoalition {
				return above.Label
			}
			break
		}
		child = parent
	}
	return tied.Label
}

// helper ties a process to the job of the one that answers for it, where there is no better proof.
func (x *Index) helper(tied *Process, get func(pid int) (process.Process, error)) bool {
	other := tied.answers()
	if other == 0 {
		return false
	}
	p, err := get(other)
	if err != nil {
		return false
	}
	responsible, _ := x.tied(p)
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ties.helper(tied, &responsible)
}

// tied ties one process to a job; done says that its ancestors can tell nothing better.
func (x *Index) tied(p process.Process) (tied Process, done bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ties == nil || len(x.ties.labels) == 0 { // no jobs: nobody's ancestors have to be looked at
		return Process{Process: p}, true
	}
	tied = x.ties.alone(p)
	x.ties.learn(&tied)
	x.ties.tree(&tied)
	return tied, tied.Proof != "" && tied.Proof != ProofExecutable
}

// jobPaths are the executables that a job's process can have. An interpreter is not among them: many jobs share it.
func jobPaths(job *launchd.Job) []string {
	if job.Label == "" {
		return nil
	}
	paths := slices.Clone(job.Others)
	if job.Executable != "" && job.Executable != job.Interpreter {
		paths = append(paths, job.Executable)
	}
	return paths
}

// label gives the job that runs path; empty when there is none.
func (x *Index) label(path string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.jobs[path]
}

// path gives the executable with that LC_UUID; empty when there is none, or several different ones.
func (x *Index) path(uuid string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, known := range x.uuids {
		if known != nil && len(known.Paths(uuid)) > 0 {
			path, _ := known.Path(uuid)
			return path
		}
	}
	return ""
}
