package launchd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

const (
	// maxNesting is how many programs are followed that only start another one (env, nohup, sh -c).
	maxNesting = 3
	// headSize is what is read of a file to know its kind; the kernels read no more of a #! line than 512 bytes.
	headSize = 512
	// stdPath is where launchd looks for a program without a slash (_PATH_STDPATH).
	stdPath = "/usr/bin:/bin:/usr/sbin:/sbin"
	// maxOthers bounds Job.Others, and four times that the files that are looked at for it.
	maxOthers = 16
)

var errNotExecutable = errors.New("neither an executable nor a script with an interpreter")

// exec finds out what really runs for one job.
type exec struct {
	ctx    context.Context // ends the looking at files: a hostile command line can name thousands that are slow to find
	files  *files
	dir    string // the working directory
	chroot string
	script script
	insert []string // DYLD_INSERT_LIBRARIES set by env
	others []string // see Job.Others; not yet sorted
	looks  int      // files that were looked at for others
	err    error    // why a program on the way was not found
}

// outcome is what following a command line led to.
type outcome struct {
	executable  string // resolved
	interpreter string
	payload     string
	kind        string
}

// run fills in what really runs when job.Program is started with args behind argv[0].
func (x *exec) run(job *Job, args []string) {
	job.Program = x.lookup(job.Program)
	o := x.follow(job.Program, args, 0)
	job.Executable, job.Interpreter, job.PayloadPath = o.executable, o.interpreter, o.payload
	if o.interpreter != "" {
		job.PayloadKind = o.kind
	}
	job.ScriptCrypto = x.script.hints()
	job.Others = x.rest(job)
	job.InsertLibraries = append(job.InsertLibraries, x.insert...)
}

// rest gives Job.Others: what is neither the executable nor the interpreter.
func (x *exec) rest(job *Job) []string {
	interpreter, _ := x.files.Resolve(job.Interpreter)
	others := slices.DeleteFunc(x.others, func(name string) bool { return name == job.Executable || name == interpreter })
	if len(others) == 0 {
		return nil
	}
	slices.Sort(others)
	others = slices.Compact(others)
	return others[:min(len(others), maxOthers)]
}

// other keeps an executable on the way, unless it is one of the system's.
func (x *exec) other(f file) {
	if executable(f.kind) && !inSystem(f.real) && len(x.others) < 4*maxOthers {
		x.others = append(x.others, f.real)
	}
}

// mentioned keeps the executables that shell text starts by their path.
func (x *exec) mentioned(commands []command) {
	err := x.err
	for _, c := range commands {
		if x.looks < 4*maxOthers && strings.Contains(c.name, "/") && !inSystem(c.name) {
			x.looks++
			x.other(x.inspect(x.lookup(c.name)))
		}
	}
	x.err = err // what a script names need not be there
}

// problem says why no executable was found.
func (x *exec) problem() error {
	if x.err != nil {
		return x.err
	}
	return errNotExecutable
}

// lookup makes a program's name absolute, as launchd and execvp do. A name that is not found stays as it is.
func (x *exec) lookup(name string) string {
	switch {
	case path.IsAbs(name):
		return x.inside(name)
	case strings.Contains(name, "/"):
		return x.inside(path.Join("/", x.dir, name))
	}
	for dir := range strings.SplitSeq(stdPath, ":") {
		if at := x.inside(path.Join(dir, name)); x.regular(at) {
			return at
		}
	}
	return name
}

// inside takes RootDirectory into account.
func (x *exec) inside(name string) string {
	if x.chroot == "" {
		return name
	}
	return path.Join("/", x.chroot, path.Join("/", name))
}

func (x *exec) regular(name string) bool {
	if x.ctx.Err() != nil {
		return false
	}
	info, err := x.files.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// file is what a path leads to.
type file struct {
	real string   // resolved; empty when there is none
	kind string   // one of the payload kinds
	line []string // of a script: the words behind #!
}

// inspect reads the head of a file.
func (x *exec) inspect(name string) file {
	if !path.IsAbs(name) {
		return file{kind: PayloadMissing}
	}
	if err := x.ctx.Err(); err != nil {
		x.note(err)
		return file{kind: PayloadMissing}
	}
	real, err := x.files.Resolve(name)
	if err != nil {
		x.note(err)
		return file{kind: PayloadMissing}
	}
	f, err := x.files.Open(real)
	if err != nil {
		return x.unopened(real, err)
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, headSize)
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	return file{real: real, kind: kindOfHead(head), line: shebang(head)}
}

// unopened says what a path is that could not be opened.
func (x *exec) unopened(real string, err error) file {
	if errors.Is(err, rootfs.ErrNotRegular) {
		if info, err := x.files.Stat(real); err == nil && info.IsDir() {
			return file{real: real, kind: PayloadBundle}
		}
	}
	x.note(err)
	if errors.Is(err, fs.ErrPermission) {
		return file{real: real, kind: PayloadScript}
	}
	return file{kind: PayloadMissing}
}

// note keeps the first error.
func (x *exec) note(err error) {
	if x.err == nil {
		x.err = bare(err)
	}
}

// kindOfHead knows executables by their first bytes. 0xcafebabe is a Java class too, whose version (45 and above) stands where a
// universal file has its number of slices.
func kindOfHead(head []byte) string {
	if len(head) < 8 {
		return PayloadScript
	}
	switch magic := binary.BigEndian.Uint32(head); magic {
	case 0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe:
		return PayloadMachO
	case 0xcafebabe, 0xcafebabf:
		if binary.BigEndian.Uint32(head[4:]) < 45 {
			return PayloadMachO
		}
	case 0x7f454c46:
		return PayloadELF
	}
	return PayloadScript
}

// shebang gives the words of a #! line. macOS, unlike Linux, cuts it at every blank.
func shebang(head []byte) []string {
	line, ok := strings.CutPrefix(string(head), "#!")
	if !ok {
		return nil
	}
	line, _, _ = strings.Cut(line, "\n")
	return strings.Fields(line)
}

func executable(kind string) bool { return kind == PayloadMachO || kind == PayloadELF }

// follow says what runs when program is executed with args (without argv[0]); level counts the programs before it.
func (x *exec) follow(program string, args []string, level int) outcome {
	f := x.inspect(program)
	if len(f.line) > 0 && level <= maxNesting {
		return x.interpreted(f, program, args, level)
	}
	o := outcome{kind: f.kind}
	if executable(f.kind) {
		o.executable = f.real
	}
	in, ok := interpreterOf(program, f.real)
	if !ok {
		return o
	}
	o.interpreter = program
	x.other(f)
	if level >= maxNesting {
		o.kind = PayloadMissing
		return o
	}
	x.apply(&o, in, in.parse(args), level)
	return o
}

// interpreted follows the #! line of program.
func (x *exec) interpreted(f file, program string, args []string, level int) outcome {
	rest := append(append([]string{}, f.line[1:]...), program)
	interpreter := x.lookup(f.line[0])
	o := x.follow(interpreter, append(rest, args...), level+1)
	if o.payload == "" && o.kind != PayloadInline { // not an interpreter that we know, or too deep
		if o.interpreter == "" {
			o.interpreter = interpreter
		}
		o.payload, o.kind = program, PayloadScript
		x.script.file(x.files, f.real)
	}
	return o
}

// apply carries out what an interpreter does with its arguments.
func (x *exec) apply(o *outcome, in syntax, c command, level int) {
	x.insert = append(x.insert, insertLibraries(c.env["DYLD_INSERT_LIBRARIES"])...)
	switch c.does {
	case runsNothing:
		o.kind = PayloadInline
	case runsModule:
		o.payload, o.kind = c.name, PayloadModule
	case runsFile:
		x.payload(o, x.lookupFile(c.name), in.shell())
	case runsText:
		o.kind = PayloadInline
		x.script.text(c.name)
	case runsShellText:
		o.kind = PayloadInline
		x.script.text(c.name)
		x.shellText(o, c.name, level)
	case runsProgram:
		x.program(o, c, level)
	case runsApplication:
		x.application(o, c.name)
	}
}

// lookupFile makes a script's name absolute: unlike programs, scripts are not looked for in PATH first.
func (x *exec) lookupFile(name string) string {
	if path.IsAbs(name) {
		return x.inside(name)
	}
	return x.inside(path.Join("/", x.dir, name))
}

// payload sets a file that an interpreter reads.
func (x *exec) payload(o *outcome, name string, shell bool) {
	f := x.inspect(name)
	o.payload, o.kind = name, f.kind
	switch f.kind {
	case PayloadMachO, PayloadELF:
		o.executable = f.real
	case PayloadScript:
		text := x.script.file(x.files, f.real)
		if shell {
			x.mentioned(shellCommands(text))
		}
	}
}

// program follows a program that another one starts (env, nohup, …).
func (x *exec) program(o *outcome, c command, level int) {
	name := x.lookup(c.name)
	inner := x.follow(name, c.args, level+1)
	if inner.interpreter != "" {
		*o = inner
		return
	}
	o.payload, o.kind = name, inner.kind
	if inner.executable != "" {
		o.executable = inner.executable
	}
}

// shellText follows the command of a shell's -c that matters most: the first with a program outside the system's own folders,
// else the first one that names a program by its absolute path.
func (x *exec) shellText(o *outcome, text string, level int) {
	var best *command
	commands := shellCommands(text)
	x.mentioned(commands)
	for _, c := range commands {
		if !path.IsAbs(c.name) && !strings.Contains(c.name, "/") && !c.leads() {
			continue
		}
		if !c.leads() && !x.regular(x.lookup(c.name)) {
			continue
		}
		if best == nil || inSystem(best.name) && !inSystem(c.name) {
			best = &c
		}
	}
	if best == nil {
		return
	}
	x.insert = append(x.insert, insertLibraries(best.env["DYLD_INSERT_LIBRARIES"])...)
	inner := *o
	x.program(&inner, *best, level)
	if inner.kind != PayloadMissing {
		*o = inner
	}
}

// inSystem says whether a program is one of the system's stock, which shell text uses for everything.
func inSystem(name string) bool {
	for dir := range strings.SplitSeq(stdPath, ":") {
		if path.Dir(name) == dir {
			return true
		}
	}
	return !strings.Contains(name, "/")
}

// application resolves what "open" starts: a path, or a name that is looked for where applications are.
func (x *exec) application(o *outcome, name string) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		app := strings.TrimSuffix(name, ".app") + ".app"
		candidates = []string{"/Applications/" + app, "/Applications/Utilities/" + app, "/System/Applications/" + app,
			"/System/Applications/Utilities/" + app, "/System/Library/CoreServices/" + app}
	}
	o.payload, o.kind = name, PayloadMissing
	for _, at := range candidates {
		at = x.lookupFile(at)
		f := x.inspect(at)
		if f.kind == PayloadMissing {
			continue
		}
		o.payload, o.kind = at, f.kind
		if executable(f.kind) {
			o.executable = f.real
		}
		if f.kind == PayloadBundle {
			x.bundle(o, at)
		}
		return
	}
}

// bundle finds the executable of an application's folder.
func (x *exec) bundle(o *outcome, dir string) {
	info, err := readInfo(x.files, dir)
	if err != nil {
		x.note(err)
		return
	}
	if f := x.inspect(info.executable(dir)); executable(f.kind) {
		o.executable = f.real
	} else {
		o.executable = ""
		x.note(fmt.Errorf("%s: %w", info.executable(dir), errNotExecutable))
	}
}
