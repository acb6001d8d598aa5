package launchd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/cipherlens/cipherlens/internal/macho"
)

// helperFolder is where SMJobBless puts tools, each with its launchd property list in the section __TEXT,__launchd_plist.
const helperFolder = "/Library/PrivilegedHelperTools"

const maxHelpers = 1_000

// helpers reads the embedded property lists of privileged helper tools. One that is also declared in a folder is that job.
func (s *scan) helpers(ctx context.Context) {
	names, err := s.list(helperFolder)
	if err != nil {
		s.fail(err)
	}
	if len(names) > maxHelpers {
		s.fail(fmt.Errorf("%s: %w: more than %d files", helperFolder, errBudget, maxHelpers))
		names = names[:maxHelpers]
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return
		}
		s.helper(ctx, path.Join(helperFolder, name))
	}
}

func (s *scan) helper(ctx context.Context, name string) {
	data, err := s.embeddedPlist(ctx, name)
	if err != nil {
		s.fail(fmt.Errorf("%s: %w", name, bare(err)))
		return
	}
	if data == nil {
		return
	}
	d := &declaration{name: name}
	d.parse(data)
	job := Job{PlistPath: name, Domain: DomainHelper}
	if d.dict != nil {
		d.withProgram(name)
		s.fill(ctx, &job, d, place{domain: DomainHelper})
	}
	job.Err = d.err()
	for _, f := range s.found {
		if f.Label == job.Label && f.Executable == job.Executable && f.daemon {
			return
		}
	}
	s.found = append(s.found, found{Job: job, daemon: true, uid: -1})
}

// withProgram sets the program of an embedded property list, which SMJobBless adds when it installs the tool.
func (d *declaration) withProgram(name string) {
	if _, given := d.dict["ProgramArguments"]; given || d.dict["Program"] != nil {
		return
	}
	dict := map[string]any{"Program": name}
	for key, value := range d.dict {
		dict[key] = value
	}
	d.dict = dict
}

// embeddedPlist gives the section's content, nil without one.
func (s *scan) embeddedPlist(ctx context.Context, name string) ([]byte, error) {
	x := &exec{ctx: ctx, files: s.files}
	if f := x.inspect(name); f.kind != PayloadMachO {
		return nil, nil
	}
	f, err := s.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	file, err := macho.Read(f, info.Size())
	if err != nil {
		return nil, err
	}
	for _, slice := range file.Slices {
		if at, size := launchdSection(slice); size > 0 {
			return readSection(f, slice.Offset+at, size)
		}
	}
	return nil, nil
}

// launchdSection gives the place of the section within the slice.
func launchdSection(slice *macho.Slice) (at, size int64) {
	for _, segment := range slice.Segments {
		for _, section := range segment.Sections {
			if segment.Name == "__TEXT" && section.Name == "__launchd_plist" {
				return section.Offset, section.Size
			}
		}
	}
	return 0, 0
}

func readSection(r io.ReaderAt, at, size int64) ([]byte, error) {
	if size > maxPlistSize {
		return nil, errors.New("__launchd_plist: too large")
	}
	data := make([]byte, size)
	if _, err := r.ReadAt(data, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("__launchd_plist: offset %d: %w", at, err)
	}
	return data, nil
}
