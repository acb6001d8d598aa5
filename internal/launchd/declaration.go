package launchd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
)

// Bounds of what a Job keeps of its property list: macOS starts no program with more than 1 MiB of arguments and environment.
const (
	maxArgs     = 4_096
	maxArgBytes = 256 << 10
	maxProblems = 32
)

// declaration is a property list being read into a Job. What is wrong with it is collected, and does not hide the rest.
type declaration struct {
	name string // of the file
	dict map[string]any
	errs []error
}

// wrong notes what is wrong with a key; an empty key stands for the whole file.
func (d *declaration) wrong(key, format string, args ...any) {
	if len(d.errs) >= maxProblems {
		return
	}
	err := fmt.Errorf(format, args...)
	if key != "" {
		err = fmt.Errorf("%s: %w", key, err)
	}
	d.errs = append(d.errs, fmt.Errorf("launchd: %s: %w", d.name, err))
}

func (d *declaration) err() error {
	if len(d.errs) == 0 {
		return nil
	}
	return problems(d.errs)
}

// problems are several errors on one line, for a column and a log.
type problems []error

func (p problems) Error() string {
	texts := make([]string, len(p))
	for i, err := range p {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap lets errors.Is look into each.
func (p problems) Unwrap() []error { return p }

// load reads the file; it gives the file's size, and leaves dict nil where there is nothing to read.
func (s *scan) load(name string) (d *declaration, size int) {
	d = &declaration{name: name}
	defer func() {
		if r := recover(); r != nil { // a fault of ours in one file must not hide all others
			d.dict = nil
			d.wrong("", "cannot be read: %v", r)
		}
	}()
	data, err := s.files.ReadFile(name, maxPlistSize)
	if err != nil {
		d.wrong("", "%w", bare(err))
		return d, 0
	}
	d.parse(data)
	return d, len(data)
}

func (d *declaration) parse(data []byte) {
	value, err := plist.Parse(data)
	if err != nil {
		d.wrong("", "%w", err)
	}
	dict, ok := value.(map[string]any)
	if !ok && err == nil {
		d.wrong("", "not a dictionary")
	}
	d.dict = dict
}

// bare strips the path of an error that will name it anyway.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// read makes a Job of a launchd property list.
func (s *scan) read(ctx context.Context, name string, p place) (Job, int) {
	return s.files.once(ctx, source{name, p}, func() (Job, int) {
		d, size := s.load(name)
		job := Job{PlistPath: name, Domain: p.domain, Username: p.user}
		if d.dict != nil {
			s.fill(ctx, &job, d, p)
		}
		job.Err = d.err()
		return job, size
	})
}

func (s *scan) fill(ctx context.Context, job *Job, d *declaration, p place) {
	d.checkTypes()
	if job.Label = d.text("Label"); job.Label == "" {
		d.wrong("Label", "missing")
	}
	if user := d.text("UserName"); p.domain == DomainSystem || p.domain == DomainHelper {
		job.Username = user
	}
	job.RunAtLoad = d.truth("RunAtLoad")
	job.KeepAlive = d.keepAlive()
	job.Enabled = !d.truth("Disabled")
	job.Args = d.arguments()
	job.InsertLibraries = insertLibraries(d.texts("EnvironmentVariables")["DYLD_INSERT_LIBRARIES"])
	s.program(ctx, job, d, p)
}

// program says what launchd executes: Program, else BundleProgram, else the first argument.
func (s *scan) program(ctx context.Context, job *Job, d *declaration, p place) {
	x := &exec{ctx: ctx, files: s.files, dir: d.text("WorkingDirectory"), chroot: d.text("RootDirectory")}
	args := job.Args
	if len(args) > 0 {
		args = args[1:]
	}
	key := "Program"
	switch program, inBundle := d.text("Program"), d.text("BundleProgram"); {
	case program != "":
		job.Program = program
	case inBundle != "" && p.bundle != "":
		job.Program, key = path.Join(p.bundle, inBundle), "BundleProgram"
	case inBundle != "":
		d.wrong("BundleProgram", "the property list is not inside an application")
		return
	case len(job.Args) > 0 && job.Args[0] != "":
		job.Program, key = job.Args[0], "ProgramArguments"
	default:
		d.wrong("Program", "missing")
		return
	}
	x.run(job, args)
	if job.Executable == "" {
		d.wrong(key, "%s: %w", job.Program, x.problem())
	}
}

// text gives a string; one with NUL would end there for the kernel.
func (d *declaration) text(key string) string {
	s, _ := d.dict[key].(string)
	if strings.IndexByte(s, 0) >= 0 {
		d.wrong(key, "holds a NUL")
		return ""
	}
	return s
}

func (d *declaration) truth(key string) bool {
	b, _ := d.dict[key].(bool)
	return b
}

// keepAlive is true for a dictionary too: it names conditions.
func (d *declaration) keepAlive() bool {
	conditions, _ := d.dict["KeepAlive"].(map[string]any)
	onDemand, given := d.dict["OnDemand"].(bool) // its name before macOS 10.5, the other way round
	return d.truth("KeepAlive") || len(conditions) > 0 || given && !onDemand
}

// texts gives a dictionary of strings.
func (d *declaration) texts(key string) map[string]string {
	dict, _ := d.dict[key].(map[string]any)
	texts := make(map[string]string, len(dict))
	for name, value := range dict {
		if s, ok := value.(string); ok {
			texts[name] = s
		}
	}
	if len(texts) < len(dict) {
		d.wrong(key, "a value that is not a string")
	}
	return texts
}

func (d *declaration) arguments() []string {
	list, _ := d.dict["ProgramArguments"].([]any)
	var args []string
	total := 0
	for i, value := range list {
		s, ok := value.(string)
		if !ok {
			d.wrong("ProgramArguments", "argument %d is not a string", i)
			continue
		}
		if total += len(s); i >= maxArgs || total > maxArgBytes {
			d.wrong("ProgramArguments", "more than macOS can start")
			break
		}
		args = append(args, s)
	}
	return args
}

// insertLibraries splits DYLD_INSERT_LIBRARIES.
func insertLibraries(value string) []string {
	if value == "" || len(value) > maxArgBytes {
		return nil
	}
	var libraries []string
	for lib := range strings.SplitSeq(value, ":") {
		if lib != "" && len(libraries) < maxArgs {
			libraries = append(libraries, lib)
		}
	}
	return libraries
}
