package sensor

import (
	"cmp"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/cipherlens/cipherlens/internal/launchd"
	"github.com/cipherlens/cipherlens/internal/process"
)

// How a process was tied to its job, the best proof first.
const (
	ProofCgroup      = "cgroup"      // Linux: its control group names the systemd service
	ProofParent      = "parent"      // launchd is its parent, and executable, arguments and user are the job's
	ProofEnvironment = "environment" // XPC_SERVICE_NAME is the job's label; whoever started it can write anything there
	ProofResponsible = "responsible" // the system holds a process responsible for it that ProofParent ties to the job
	ProofCoalition   = "coalition"   // it is in the coalition, the process tree, of a process that ProofParent ties to the job
	ProofExecutable  = "executable"  // only its executable is the job's: it may as well have been started by hand
)

// launchdPID is the parent of every job's first process, and of orphans.
const launchdPID = 1

// Process is a running process with the job that it belongs to.
type Process struct {
	process.Process
	Proof string                // how Label was found; empty without one
	Code  *process.CodeIdentity // what the kernel says of its signature; nil where there is no such kernel, or it may not be asked
	plist string                // of the job; empty for systemd's
}

// tie ties each process to a job, by the best proof that there is. uid gives the id of a user; it is false for one that it does not know.
func tie(all []process.Process, jobs []launchd.Job, uid func(string) (int, bool)) []Process {
	return newTies(jobs, uid).all(all)
}

func newTies(jobs []launchd.Job, uid func(string) (int, bool)) *ties {
	t := &ties{executables: map[string][]*launchd.Job{}, labels: map[string][]*launchd.Job{}, coalitions: map[uint64]*launchd.Job{}, uid: uid}
	for i := range jobs {
		t.add(&jobs[i])
	}
	return t
}

// all ties processes that run at one time.
func (t *ties) all(all []process.Process) []Process {
	tied := make([]Process, len(all))
	for i, p := range all {
		tied[i] = t.alone(p)
		t.learn(&tied[i])
	}
	by := make(map[int]*Process, len(tied))
	for i := range tied {
		by[tied[i].PID] = &tied[i]
	}
	for i := range tied {
		p := &tied[i]
		if other := p.answers(); other == 0 || !t.helper(p, by[other]) {
			t.tree(p)
		}
	}
	return tied
}

// answers is the pid of another process that answers for p; 0 when there is none that is known.
func (p *Process) answers() int {
	if p.Responsible == nil || p.Responsible.PID == p.PID || p.Responsible.PID <= launchdPID {
		return 0
	}
	return p.Responsible.PID
}

// helper ties a process to the job of the one that answers for it, which may be nil, where there is no better proof. Of another user's only root's
// job is taken: a program that was started by sudo has a user's application to answer for it, and is not that user's job.
func (t *ties) helper(p, responsible *Process) bool {
	weak := p.Proof == "" || p.Proof == ProofExecutable || p.Proof == ProofCoalition
	if !weak || responsible == nil || responsible.Proof != ProofParent {
		return false
	}
	if responsible.UID != p.UID && responsible.UID != 0 || responsible.Path != p.Responsible.Path {
		return false
	}
	job := t.find(responsible.plist, responsible.Path)
	if job != nil {
		p.set(job, ProofResponsible)
	}
	return job != nil
}

// maxCoalitions bounds how many process trees are remembered; beyond, all are forgotten.
const maxCoalitions = 4096

// learn remembers whose process tree it is that p stands at the top of.
func (t *ties) learn(p *Process) {
	if p.Proof != ProofParent || p.Coalition == 0 {
		return
	}
	job := t.find(p.plist, p.Path)
	if other, known := t.coalitions[p.Coalition]; known && other != job {
		job = nil // two jobs in one coalition: it tells nothing
	}
	if len(t.coalitions) >= maxCoalitions {
		clear(t.coalitions)
	}
	t.coalitions[p.Coalition] = job
}

// tree ties a process by the process tree that it is in, where there is no better proof.
func (t *ties) tree(p *Process) {
	if p.Proof != "" && p.Proof != ProofExecutable {
		return
	}
	if job := t.coalitions[p.Coalition]; p.Coalition != 0 && job != nil {
		p.set(job, ProofCoalition)
	}
}

// ties are the jobs by what a process shows of them.
type ties struct {
	executables map[string][]*launchd.Job
	labels      map[string][]*launchd.Job
	coalitions  map[uint64]*launchd.Job // nil for those that several jobs have
	uid         func(string) (int, bool)
}

func (t *ties) add(job *launchd.Job) {
	if job.Label == "" {
		return
	}
	t.labels[job.Label] = append(t.labels[job.Label], job)
	paths := append(slices.Clone(job.Others), job.Executable, job.Interpreter)
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		if path != "" {
			t.executables[path] = append(t.executables[path], job)
		}
	}
}

func (t *ties) find(plist, path string) *launchd.Job {
	for _, job := range t.executables[path] {
		if job.PlistPath == plist {
			return job
		}
	}
	return nil
}

// alone ties a process by what is known of itself.
func (t *ties) alone(p process.Process) Process {
	tied := Process{Process: p}
	if p.Label != "" {
		tied.Proof = ProofCgroup
		return tied
	}
	if job := first(t.executables[p.Path], p.Service, func(j *launchd.Job) bool { return t.parent(&p, j) }); job != nil {
		tied.set(job, ProofParent)
		return tied
	}
	if job := first(t.labels[p.Service], p.Service, func(*launchd.Job) bool { return true }); job != nil && p.Service != "" {
		if same := first(t.labels[p.Service], p.Service, func(j *launchd.Job) bool { return slices.Contains(jobPaths(j), p.Path) }); same != nil {
			job = same // of two jobs with one label the one that runs this
		}
		tied.set(job, ProofEnvironment)
		return tied
	}
	if job := first(t.executables[p.Path], "", func(j *launchd.Job) bool { return slices.Contains(jobPaths(j), p.Path) }); job != nil {
		tied.set(job, ProofExecutable)
	}
	return tied
}

func (p *Process) set(job *launchd.Job, proof string) {
	p.Label, p.plist, p.Proof = job.Label, job.PlistPath, proof
}

// first gives the job that fits: of several the one that is called label, then the one whose label comes first.
func first(jobs []*launchd.Job, label string, fits func(*launchd.Job) bool) *launchd.Job {
	var best *launchd.Job
	for _, j := range jobs {
		if fits(j) && (best == nil || order(j, best, label) < 0) {
			best = j
		}
	}
	return best
}

func order(a, b *launchd.Job, label string) int {
	named := func(j *launchd.Job) int {
		if label != "" && j.Label == label {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(named(a), named(b)), strings.Compare(a.Label, b.Label), strings.Compare(a.PlistPath, b.PlistPath))
}

// parent says whether launchd started p for the job: launchd.md, "Running pid -> job", proof 2. Arguments that could not be read prove
// nothing; argv[0] is free text.
func (t *ties) parent(p *process.Process, job *launchd.Job) bool {
	if p.PPID != launchdPID || len(p.Args) == 0 || !t.user(p.UID, job) {
		return false
	}
	args := p.Args[1:]
	declared := job.Args
	if len(declared) > 0 {
		declared = declared[1:]
	}
	if slices.Equal(args, declared) {
		return true
	}
	// A script that the kernel started by its #! line: interpreter, its options, script, arguments.
	at := slices.Index(args, job.PayloadPath)
	return at >= 0 && job.PayloadPath == job.Program && slices.Equal(args[at+1:], declared)
}

// user says whether a process of uid can be the job's.
func (t *ties) user(uid int, job *launchd.Job) bool {
	if job.Username != "" {
		want, ok := t.uid(job.Username)
		return ok && uid == want
	}
	switch job.Domain {
	case launchd.DomainSystem, launchd.DomainHelper:
		return uid == 0
	}
	return uid >= 0
}

// mainProcesses gives the first process of each job, by its property list: the one that launchd itself started.
func mainProcesses(all []Process) map[string]int {
	best := map[string]*Process{}
	for i := range all {
		p := &all[i]
		if p.plist == "" || p.PPID != launchdPID || p.Proof != ProofParent && p.Proof != ProofEnvironment {
			continue
		}
		old := best[p.plist]
		if old == nil || p.Proof == ProofParent && old.Proof != ProofParent || p.Proof == old.Proof && p.PID < old.PID {
			best[p.plist] = p
		}
	}
	mains := make(map[string]int, len(best))
	for plist, p := range best {
		mains[plist] = p.PID
	}
	return mains
}

// uidOf looks users up in the system's directory, each once.
func uidOf() func(string) (int, bool) {
	known := map[string]int{}
	return func(name string) (int, bool) {
		uid, asked := known[name]
		if !asked {
			uid = -1
			if u, err := user.Lookup(name); err == nil {
				if n, err := strconv.Atoi(u.Uid); err == nil {
					uid = n
				}
			}
			known[name] = uid
		}
		return uid, uid >= 0
	}
}
