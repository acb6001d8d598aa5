// Package packaging holds what makes releases; these tests run its scripts on made-up hosts. test-deb.sh and test-reproducible.sh (make dist-test) do what takes longer.
package packaging

import (
	"bytes"
	"debug/macho"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// host is a folder that the scripts take for "/", on a system whose uname and chown are stand-ins: chown writes down what it was asked for.
type host struct {
	t                   *testing.T
	root, tools, chowns string
}

func newHost(t *testing.T, system string) host {
	t.Helper()
	h := host{t: t, root: t.TempDir(), tools: t.TempDir()}
	h.chowns = filepath.Join(h.tools, "chowns")
	for name, text := range map[string]string{
		"uname": "echo " + system,
		"chown": `echo "$@" >>` + h.chowns,
		"id":    "echo 0",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(h.tools, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	}
	return h
}

// run gives the script's output.
func (h host) run(script string, args ...string) string {
	h.t.Helper()
	cmd := exec.Command(script, args...)
	cmd.Env = []string{"ROOT=" + h.root, "PATH=" + h.tools + ":" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	require.NoError(h.t, err, "%s %v: %s", script, args, out)
	return string(out)
}

func (h host) write(name, text string) {
	h.t.Helper()
	file := filepath.Join(h.root, name)
	require.NoError(h.t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(h.t, os.WriteFile(file, []byte(text), 0o644))
}

func (h host) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.root, name))
	require.NoError(h.t, err)
	return string(text)
}

func TestExtensionsLoad(t *testing.T) {
	t.Parallel()
	const ours = "/opt/cipherlens/bin/cipherlens.ext"
	cases := []struct {
		name, system  string
		before        map[string]string
		folders       []string
		added, remove map[string]string
	}{
		{"macOS, nothing there", "Darwin", nil, nil, map[string]string{"var/osquery/extensions.load": ours + "\n"}, nil},
		{"macOS, orbit only", "Darwin", nil, []string{"opt/orbit"}, map[string]string{"opt/orbit/extensions.load": ours + "\n"}, nil},
		{"macOS, orbit and osquery", "Darwin", nil, []string{"opt/orbit", "var/osquery"},
			map[string]string{"opt/orbit/extensions.load": ours + "\n", "var/osquery/extensions.load": ours + "\n"}, nil},
		{"Linux, others' lines, no newline at the end", "Linux", map[string]string{"etc/osquery/extensions.load": "/opt/a.ext\n/opt/b.ext"}, nil,
			map[string]string{"etc/osquery/extensions.load": "/opt/a.ext\n/opt/b.ext\n" + ours + "\n"},
			map[string]string{"etc/osquery/extensions.load": "/opt/a.ext\n/opt/b.ext\n"}},
		{"Linux, listed twice, with blanks", "Linux", map[string]string{"etc/osquery/extensions.load": ours + "\n/opt/a.ext\n  " + ours + " \r\n"}, nil,
			map[string]string{"etc/osquery/extensions.load": "/opt/a.ext\n" + ours + "\n"},
			map[string]string{"etc/osquery/extensions.load": "/opt/a.ext\n"}},
		{"a longer path is another extension", "Linux", map[string]string{"etc/osquery/extensions.load": ours + ".old\n"}, nil,
			map[string]string{"etc/osquery/extensions.load": ours + ".old\n" + ours + "\n"},
			map[string]string{"etc/osquery/extensions.load": ours + ".old\n"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, c.system)
			for _, folder := range c.folders {
				require.NoError(t, os.MkdirAll(filepath.Join(h.root, folder), 0o755))
			}
			for name, text := range c.before {
				h.write(name, text)
			}
			for range 2 { // once is like twice
				h.run("./extensions-load.sh", "add", ours)
				require.Equal(t, c.added, loads(t, h.root))
			}
			chowns, err := os.ReadFile(h.chowns)
			require.NoError(t, err)
			group := map[string]string{"Darwin": "wheel", "Linux": "root"}[c.system]
			require.Contains(t, string(chowns), "root:"+group+" ")
			h.run("./extensions-load.sh", "remove", ours)
			if c.remove == nil {
				c.remove = map[string]string{}
			}
			require.Equal(t, c.remove, loads(t, h.root))
		})
	}
}

// TestExtensionsLoadUnread: a file that could not be read to its end stays as it is.
func TestExtensionsLoadUnread(t *testing.T) {
	t.Parallel()
	h := newHost(t, "Linux")
	const before = "/opt/a.ext\n/opt/b.ext\n"
	h.write("etc/osquery/extensions.load", before)
	require.NoError(t, os.WriteFile(filepath.Join(h.tools, "awk"), []byte("#!/bin/sh\necho /opt/a.ext\nexit 2\n"), 0o755))
	for _, what := range []string{"add", "remove"} {
		cmd := exec.Command("./extensions-load.sh", what, "/opt/x.ext")
		cmd.Env = []string{"ROOT=" + h.root, "PATH=" + h.tools + ":" + os.Getenv("PATH")}
		require.Error(t, cmd.Run(), what)
		require.Equal(t, map[string]string{"etc/osquery/extensions.load": before}, loads(t, h.root), what)
	}
}

// loads gives every extensions.load, with its mode checked.
func loads(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o644), info.Mode(), name)
		rel, err := filepath.Rel(root, name)
		out[rel] = string(text)
		return err
	}))
	return out
}

func TestExtensionsLoadUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"add"}, {"eat", "/x.ext"}} {
		out, err := exec.Command("./extensions-load.sh", args...).CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "extensions-load: ")
	}
}

// The macOS package: what payload.sh lays out, postinstall on a volume, and uninstall.
func TestMacOSPackage(t *testing.T) {
	t.Parallel()
	h := newHost(t, "Darwin")
	dist, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dist, "man"), 0o755))
	for _, name := range []string{"cipherlens-darwin-universal.ext", "man/cipherlens.1.gz"} {
		require.NoError(t, os.WriteFile(filepath.Join(dist, name), []byte(name), 0o600))
	}
	h.run("macos/payload.sh", dist, filepath.Join(out, "macos"))
	require.NoError(t, os.CopyFS(h.root, os.DirFS(filepath.Join(out, "macos", "root"))))
	h.write("var/osquery/extensions.load", "/opt/other.ext\n")
	h.write("Library/Application Support/Cipherlens/config.yaml", "record_sni: none\n")
	h.write("Library/Application Support/Cipherlens/alerts", "x")

	info, err := os.Stat(filepath.Join(h.root, "opt/cipherlens/bin/cipherlens.ext"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o755), info.Mode().Perm())
	packs, err := filepath.Glob(filepath.Join(h.root, "opt/cipherlens/share/packs/*.conf"))
	require.NoError(t, err)
	require.NotEmpty(t, packs)

	for range 2 { // an upgrade is an installation over the old one
		h.run(filepath.Join(out, "macos", "scripts", "postinstall"), "package", "/", h.root)
		require.Equal(t, "/opt/other.ext\n/opt/cipherlens/bin/cipherlens.ext\n", h.read("var/osquery/extensions.load"))
	}
	chowns, err := os.ReadFile(h.chowns)
	require.NoError(t, err)
	require.Contains(t, string(chowns), "-R root:wheel "+h.root+"/opt/cipherlens")

	uninstall := filepath.Join(t.TempDir(), "uninstall")
	text := h.read("opt/cipherlens/libexec/uninstall")
	require.NoError(t, os.WriteFile(uninstall, []byte(text), 0o755))
	h.run(uninstall, "--keep-settings")
	require.Equal(t, "/opt/other.ext\n", h.read("var/osquery/extensions.load"))
	require.NoDirExists(t, filepath.Join(h.root, "opt/cipherlens"))
	require.Equal(t, "record_sni: none\n", h.read("Library/Application Support/Cipherlens/config.yaml"))
	require.NoFileExists(t, filepath.Join(h.root, "Library/Application Support/Cipherlens/alerts"))
}

// A universal file is what Go's own reader, and lipo where there is one, take for one.
func TestUniversal(t *testing.T) {
	t.Parallel()
	demo := "../testdata/demo/root/usr/local/libexec/telemetryd"
	fat, err := macho.OpenFat(demo)
	require.NoError(t, err)
	dir := t.TempDir()
	whole, err := os.ReadFile(demo)
	require.NoError(t, err)
	args := []string{"run", "./universal", filepath.Join(dir, "out")}
	var slices [][]byte
	for _, a := range fat.Arches {
		slice := whole[a.Offset : a.Offset+a.Size]
		name := filepath.Join(dir, a.Cpu.String())
		require.NoError(t, os.WriteFile(name, slice, 0o600))
		args, slices = append(args, name), append(slices, slice)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	require.NoError(t, err, "%s", out)

	made, err := os.ReadFile(filepath.Join(dir, "out"))
	require.NoError(t, err)
	joined, err := macho.NewFatFile(bytes.NewReader(made))
	require.NoError(t, err)
	require.Len(t, joined.Arches, len(slices))
	for i, a := range joined.Arches {
		require.Zero(t, a.Offset%(1<<14))
		require.Equal(t, slices[i], made[a.Offset:a.Offset+a.Size])
	}
	if lipo, err := exec.LookPath("llvm-lipo-19"); err == nil {
		archs, err := exec.Command(lipo, "-archs", filepath.Join(dir, "out")).Output()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"x86_64", "arm64"}, strings.Fields(string(archs)))
	}
}
