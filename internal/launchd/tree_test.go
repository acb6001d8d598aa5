package launchd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// machO is the start of a 64-bit executable: all that this package looks at.
const machO = "\xcf\xfa\xed\xfe\x0c\x00\x00\x01\x00\x00\x00\x00\x02\x00\x00\x00"

// tree is a made macOS volume.
type tree struct {
	t   testing.TB
	dir string
}

func newTree(t testing.TB) *tree { return &tree{t: t, dir: t.TempDir()} }

func (tr *tree) path(name string) string { return filepath.Join(tr.dir, filepath.FromSlash(name)) }

func (tr *tree) write(name, content string) {
	tr.t.Helper()
	require.NoError(tr.t, os.MkdirAll(filepath.Dir(tr.path(name)), 0o755))
	require.NoError(tr.t, os.WriteFile(tr.path(name), []byte(content), 0o755)) //nolint:gosec // executables
}

func (tr *tree) link(target, name string) {
	tr.t.Helper()
	require.NoError(tr.t, os.MkdirAll(filepath.Dir(tr.path(name)), 0o755))
	require.NoError(tr.t, os.Symlink(target, tr.path(name)))
}

// job writes a property list whose dictionary holds body.
func (tr *tree) job(name, body string) { tr.t.Helper(); tr.write(name, xmlPlist(body)) }

func xmlPlist(body string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>` + body + "</dict></plist>\n"
}

func programArguments(args ...string) string {
	r := strings.NewReplacer("&", "&amp;", "<", "&lt;")
	var b strings.Builder
	b.WriteString("<key>ProgramArguments</key><array>")
	for _, a := range args {
		b.WriteString("<string>" + r.Replace(a) + "</string>")
	}
	return b.String() + "</array>"
}

func label(name string) string { return "<key>Label</key><string>" + name + "</string>" }

func (tr *tree) root() *rootfs.Root {
	tr.t.Helper()
	root, err := rootfs.Open(tr.dir)
	require.NoError(tr.t, err)
	tr.t.Cleanup(func() { _ = root.Close() })
	return root
}

// jobs scans the tree, which must give no errors.
func (tr *tree) jobs() map[string]Job {
	tr.t.Helper()
	jobs, errs := Jobs(context.Background(), tr.root())
	require.Empty(tr.t, errs)
	return byPlist(jobs)
}

func byPlist(jobs []Job) map[string]Job {
	m := make(map[string]Job, len(jobs))
	for _, j := range jobs {
		m[j.PlistPath] = j
	}
	return m
}
