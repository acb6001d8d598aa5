package launchd

import (
	"context"
	"path"
	"strings"
)

// applicationFolders hold applications, which may bring jobs along, outside the homes.
var applicationFolders = []string{"/Applications", "/System/Applications", "/System/Library/CoreServices"}

// maxFolders is how deep folders of applications are looked into: /Applications/Vendor/Suite/Program.app.
const maxFolders = 3

// maxBundles is how deep bundles within bundles are looked into.
const maxBundles = 2

// applications reads the jobs of all applications in p.dir and in the folders there.
func (s *scan) applications(ctx context.Context, p place, a *allowance, level int) {
	names, err := s.list(p.dir)
	if err != nil {
		s.fail(err)
	}
	for _, name := range names {
		if ctx.Err() != nil || a.spent() {
			return
		}
		in := p
		in.dir = path.Join(p.dir, name)
		switch {
		case strings.EqualFold(path.Ext(name), ".app"):
			s.embedded(ctx, in, a, 0)
		case path.Ext(name) == "" && level+1 < maxFolders && s.isFolder(in.dir):
			s.applications(ctx, in, a, level+1)
		}
	}
}

// isFolder is false for a link, which could lead back.
func (s *scan) isFolder(name string) bool {
	real, err := s.files.Resolve(name)
	if err != nil || path.Base(real) != path.Base(name) {
		return false
	}
	info, err := s.files.Stat(real)
	return err == nil && info.IsDir()
}

// parts are the folders of a bundle that hold other bundles which launchd starts.
var parts = []struct{ dir, ext, domain string }{
	{"Contents/Library/LoginItems", ".app", DomainLoginItem},
	{"Contents/XPCServices", ".xpc", DomainXPC},
	{"Contents/PlugIns", ".appex", DomainExtension},
	{"Contents/Library/SystemExtensions", ".systemextension", DomainSystemExtension},
}

// embedded reads the jobs that the bundle p.dir brings along: launchd.plist(5), BundleProgram, and SMAppService.
func (s *scan) embedded(ctx context.Context, p place, a *allowance, level int) {
	bundle := p.dir
	for _, daemon := range []bool{false, true} {
		in := place{dir: path.Join(bundle, "Contents/Library/LaunchAgents"), domain: DomainApp, user: p.user, uid: p.uid, bundle: bundle}
		if daemon {
			in.dir, in.daemon, in.uid = path.Join(bundle, "Contents/Library/LaunchDaemons"), true, -1
		}
		s.folder(ctx, in, a)
	}
	for _, part := range parts {
		s.bundles(ctx, place{dir: path.Join(bundle, part.dir), domain: part.domain, user: p.user, uid: p.uid}, part.ext, a, level)
	}
	s.frameworks(ctx, p, a, level)
}

// frameworks reads the XPC services that frameworks inside a bundle bring along.
func (s *scan) frameworks(ctx context.Context, p place, a *allowance, level int) {
	dir := path.Join(p.dir, "Contents/Frameworks")
	names, err := s.list(dir)
	if err != nil {
		s.fail(err)
	}
	for _, name := range names {
		if path.Ext(name) != ".framework" || ctx.Err() != nil {
			continue
		}
		in := place{dir: path.Join(dir, name, "XPCServices"), domain: DomainXPC, user: p.user, uid: p.uid}
		s.bundles(ctx, in, ".xpc", a, level)
	}
}

// bundles reads each bundle of one kind in a folder, and what is inside.
func (s *scan) bundles(ctx context.Context, p place, ext string, a *allowance, level int) {
	names, err := s.list(p.dir)
	if err != nil {
		s.fail(err)
	}
	for _, name := range names {
		if ctx.Err() != nil || a.spent() {
			return
		}
		if !strings.EqualFold(path.Ext(name), ext) {
			continue
		}
		in := p
		in.dir = path.Join(p.dir, name)
		if s.bundle(ctx, in, a) && level+1 < maxBundles {
			s.embedded(ctx, in, a, level+1)
		}
	}
}

// bundle makes a Job of the bundle p.dir; it is false when that was done or nothing more may be read.
func (s *scan) bundle(ctx context.Context, p place, a *allowance) bool {
	name := infoPath(p.dir)
	if !s.first(s.real(name)) {
		return false
	}
	job, size := s.files.once(ctx, source{name, p}, func() (Job, int) {
		d, size := s.load(name)
		job := Job{PlistPath: name, Domain: p.domain, Username: p.user, Enabled: true}
		if d.dict != nil {
			s.fillBundle(ctx, &job, d, p.dir)
		}
		job.Err = d.err()
		return job, size
	})
	return s.add(job, size, p, a)
}

func (s *scan) fillBundle(ctx context.Context, job *Job, d *declaration, dir string) {
	for _, key := range []string{"CFBundleIdentifier", "CFBundleExecutable"} {
		if value, given := d.dict[key]; given && kindOf(value) != aText {
			d.wrong(key, "not %s", aText)
		}
	}
	if job.Label = d.text("CFBundleIdentifier"); job.Label == "" {
		d.wrong("CFBundleIdentifier", "missing")
	}
	job.InsertLibraries = insertLibraries(d.texts("LSEnvironment")["DYLD_INSERT_LIBRARIES"])
	if service, ok := d.dict["XPCService"].(map[string]any); ok {
		inner := &declaration{name: d.name, dict: service}
		job.InsertLibraries = append(job.InsertLibraries, insertLibraries(inner.texts("EnvironmentVariables")["DYLD_INSERT_LIBRARIES"])...)
		d.errs = append(d.errs, inner.errs...)
	}
	job.Program = bundleInfo(d.dict).executable(dir)
	x := &exec{ctx: ctx, files: s.files}
	x.run(job, nil)
	if job.Executable == "" {
		d.wrong("CFBundleExecutable", "%s: %w", job.Program, x.problem())
	}
}
