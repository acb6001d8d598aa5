package tables

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/osquery/osquery-go/plugin/table"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// volume is a made macOS volume in which the demo's jobs are too.
type volume struct {
	t   *testing.T
	dir string
}

const badAgents = "/Users/eve/Library/LaunchAgents/"

func newVolume(t *testing.T) *volume {
	t.Helper()
	v := &volume{t, t.TempDir()}
	require.NoError(t, os.CopyFS(v.dir, os.DirFS(demoRoot)))
	return v
}

func (v *volume) path(name string) string {
	at := filepath.Join(v.dir, name)
	require.NoError(v.t, os.MkdirAll(filepath.Dir(at), 0o755))
	return at
}

func (v *volume) write(name string, content []byte) {
	require.NoError(v.t, os.WriteFile(v.path(name), content, 0o755))
}

func (v *volume) job(label, program string) {
	v.write(badAgents+label+".plist", fmt.Appendf(nil, `<plist version="1.0"><dict><key>Label</key><string>%s</string><key>Program</key><string>%s</string></dict></plist>`, label, program))
}

// program writes an executable and a job for it.
func (v *volume) program(label string, content []byte) {
	v.job(label, "/opt/"+label)
	v.write("/opt/"+label, content)
}

// byPlist gives the rows of the jobs' table, and fails unless those of the demo's jobs are there and whole.
func (v *volume) byPlist() map[string][]Row {
	v.t.Helper()
	rows := map[string][]Row{}
	for _, r := range everyRow(v.t, jobsTable(v.t, v.dir)) {
		rows[r["plist_path"]] = append(rows[r["plist_path"]], r)
		require.NotContains(v.t, r["error"], v.dir, "paths are the analysed host's")
		require.NotContains(v.t, r["error"], "panic")
	}
	for _, plist := range []string{"/Library/LaunchDaemons/com.northwind.telemetryd.plist", "/Library/LaunchDaemons/com.apple.metadata.mdsync.plist",
		"/Library/LaunchAgents/com.example.indexer.plist", "/Users/ana/Library/LaunchAgents/com.example.backup.plist"} {
		require.NotEmpty(v.t, rows[plist], plist)
		require.Empty(v.t, rows[plist][0]["error"], plist)
	}
	return rows
}

// files gives the rows of the files' table.
func (v *volume) files(paths ...string) []Row {
	v.t.Helper()
	root, err := rootfs.Open(v.dir)
	require.NoError(v.t, err)
	defer func() { _ = root.Close() }()
	rows, err := FileCryptoLinkage(image.NewAnalyzer(root), root).Rows(v.t.Context(), query("path", table.OperatorEquals, paths...))
	require.NoError(v.t, err)
	return rows
}

// TestBadPropertyLists: whatever a user puts where a property list should be is a row with an error that names it, and all other jobs are there.
func TestBadPropertyLists(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	at := func(name string) string { return v.path(badAgents + name) }
	require.NoError(t, unix.Mkfifo(at("fifo.plist"), 0o600))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: shortSocket(t)})
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	require.NoError(t, os.Rename(listener.Addr().String(), at("socket.plist")))
	if err := unix.Mknod(at("device.plist"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil {
		require.NoError(t, unix.Mkfifo(at("device.plist"), 0o600)) // only root makes devices
	}
	require.NoError(t, os.Mkdir(at("folder.plist"), 0o700))
	for name, target := range map[string]string{"dangling": "nothing", "loop": "loop.plist", "outside": "/../../../../../../../etc/passwd"} {
		require.NoError(t, os.Symlink(target, at(name+".plist")))
	}
	v.write(badAgents+"empty.plist", nil)
	v.write(badAgents+"unreadable.plist", []byte("<plist/>"))
	require.NoError(t, os.Chmod(at("unreadable.plist"), 0))
	v.write(badAgents+"sparse.plist", nil)
	require.NoError(t, os.Truncate(at("sparse.plist"), 2<<30))
	v.write(badAgents+"deep.plist", []byte(`<plist version="1.0">`+strings.Repeat("<array>", 100_000)))
	v.write(badAgents+"bomb.plist", []byte(`<!DOCTYPE plist [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><plist version="1.0"><dict><key>Label</key><string>&b;</string></dict></plist>`))
	v.write(badAgents+"openstep.plist", []byte(strings.Repeat("{a=", 100_000)))
	v.write(badAgents+"binary.plist", []byte("bplist00\xa1\x00\x08\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a"))
	start := time.Now()
	rows := v.byPlist()
	require.Less(t, time.Since(start), 20*time.Second)
	for name, want := range map[string]string{
		"fifo": "FIFO", "socket": "socket", "device": "not a regular file", "folder": "folder", "dangling": "no such file", "loop": "too many levels",
		"outside": "no such file", "empty": "empty", "sparse": "too large", "deep": "deep", "bomb": "", "openstep": "deep", "binary": "",
	} {
		list := rows[badAgents+name+".plist"]
		require.Len(t, list, 1, name)
		require.Contains(t, list[0]["error"], badAgents+name+".plist: ", name)
		require.Contains(t, list[0]["error"], want, name)
	}
	if os.Geteuid() != 0 {
		require.Contains(t, rows[badAgents+"unreadable.plist"][0]["error"], "permission denied")
	}
}

// shortSocket is a path that fits into a socket's address.
func shortSocket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// TestWrongTypesForEveryKey: keys of launchd.plist(5), with values that none of them may have.
func TestWrongTypesForEveryKey(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	keys := []string{"Label", "Program", "ProgramArguments", "BundleProgram", "UserName", "RunAtLoad", "KeepAlive", "Disabled", "EnvironmentVariables",
		"WorkingDirectory", "RootDirectory"}
	values := []string{"<integer>7</integer>", "<real>1.5</real>", "<date>2020-01-01T00:00:00Z</date>", "<data>AAAA</data>"}
	for _, key := range keys {
		for i, value := range values {
			v.write(fmt.Sprintf("%s%s%d.plist", badAgents, key, i), fmt.Appendf(nil, `<plist version="1.0"><dict><key>%s</key>%s</dict></plist>`, key, value))
		}
	}
	rows := v.byPlist()
	for _, key := range keys {
		for i := range values {
			list := rows[fmt.Sprintf("%s%s%d.plist", badAgents, key, i)]
			require.Len(t, list, 1, key)
			require.Contains(t, list[0]["error"], key+": ", "%s%d", key, i)
		}
	}
}

// TestBadExecutables: the same for what jobs run.
func TestBadExecutables(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	code, slice := thinProgram(t, demoPrograms[1])
	whole, err := os.ReadFile(filepath.Join(demoRoot, demoPrograms[1]))
	require.NoError(t, err)
	thin := append(code[:len(code):len(code)], whole[slice.Offset+slice.Signature.Offset:slice.Offset+slice.Size]...)
	changed := func(change func(b []byte)) []byte {
		b := append([]byte{}, thin...)
		change(b)
		return b
	}
	le := binary.LittleEndian
	command := func(b []byte, kind uint32) []byte {
		at := 32
		for range le.Uint32(b[16:]) {
			if le.Uint32(b[at:]) == kind {
				return b[at:]
			}
			at += int(le.Uint32(b[at+4:]))
		}
		require.Fail(t, "no load command", "%#x", kind)
		return nil
	}
	const symtab = 0x2
	fat := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0xcafebabe), 20) // more would be a Java class for launchd's reader
	fat = append(fat, make([]byte, 20*20)...)
	many := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 0xcafebabf), 100_000)
	many = append(many, make([]byte, 100_000*32)...)

	for label, content := range map[string][]byte{
		"cut":     thin[:len(thin)/3],
		"header":  thin[:16],
		"symbols": changed(func(b []byte) { le.PutUint32(command(b, symtab)[8:], 0xfffffff0) }),
		"count":   changed(func(b []byte) { le.PutUint32(command(b, symtab)[12:], 0xffffffff) }),
		"overlap": changed(func(b []byte) {
			le.PutUint32(command(b, symtab)[16:], 0)
			le.PutUint32(command(b, symtab)[20:], uint32(len(b)))
		}),
		"commands":  changed(func(b []byte) { le.PutUint32(b[16:], 0xffffffff) }),
		"signature": changed(func(b []byte) { le.PutUint32(command(b, codeSignature)[12:], 0xffffffff) }),
		"superblob": changed(func(b []byte) { binary.BigEndian.PutUint32(b[le.Uint32(command(b, codeSignature)[8:])+4:], 0xffffffff) }),
		"directory": changed(func(b []byte) {
			blob := b[le.Uint32(command(b, codeSignature)[8:]):]
			binary.BigEndian.PutUint32(blob[binary.BigEndian.Uint32(blob[16:])+4:], 0xffffffff)
		}),
		"patched": changed(func(b []byte) { b[len(code)-8] ^= 1 }),
		"slices":  fat,
		"many":    many,
		"elf":     append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 20)...),
	} {
		v.program(label, content)
	}
	v.job("gone", "/opt/gone")
	v.job("fifo", "/opt/fifo")
	require.NoError(t, unix.Mkfifo(v.path("/opt/fifo"), 0o700))
	v.program("sparse", thin)
	require.NoError(t, os.Truncate(v.path("/opt/sparse"), 2<<30))
	start := time.Now()
	rows := v.byPlist()
	require.Less(t, time.Since(start), 30*time.Second)
	for label, want := range map[string]string{
		"cut": "/opt/cut: ", "header": "/opt/header: ", "symbols": "/opt/symbols: ", "count": "/opt/count: ", "overlap": "/opt/overlap: ", "commands": "/opt/commands: ",
		"signature": "/opt/signature: ", "superblob": "/opt/superblob: ", "directory": "/opt/directory: ", "patched": "changed after signing",
		"slices": "/opt/slices: ", "many": "", "elf": "/opt/elf: ", "gone": "no such file", "fifo": "FIFO", "sparse": "",
	} {
		list := rows[badAgents+label+".plist"]
		require.NotEmpty(t, list, label)
		if label != "sparse" {
			require.NotEmpty(t, list[0]["error"], label)
		}
		require.Contains(t, list[0]["error"], want, label)
		require.NotContains(t, list[0]["error"], "\n", "one line")
		require.NotContains(t, []string{"apple", "app_store", "developer_id", "development"}, list[0]["signature"])
	}
	require.Equal(t, "invalid", rows[badAgents+"patched.plist"][0]["signature"])
	for _, r := range v.files("/opt/many", "/opt/slices", "/opt/cut", "/opt/superblob", "/opt/directory", "/opt/fifo", "/opt/gone", "/opt") {
		require.Contains(t, r["error"], r["path"]+": ")
	}
}

// TestTwoJobsWithOneLabel: both are there, each with what it runs.
func TestTwoJobsWithOneLabel(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.job("com.northwind.telemetryd", "/usr/local/libexec/indexer")
	rows := v.byPlist()
	mine, real := rows[badAgents+"com.northwind.telemetryd.plist"], rows["/Library/LaunchDaemons/com.northwind.telemetryd.plist"]
	require.Equal(t, "/usr/local/libexec/indexer", mine[0]["path"])
	require.Equal(t, "/usr/local/libexec/telemetryd", real[0]["path"])
	require.Equal(t, mine[0]["label"], real[0]["label"])
}

// TestReplacedDuringTheScan: an executable that is replaced all the time is one of the two, never a mixture: signature, hash and symbols are
// of one file, or there is an error.
func TestReplacedDuringTheScan(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	contents := map[string][]byte{}
	for _, name := range demoPrograms[:2] {
		b, err := os.ReadFile(filepath.Join(demoRoot, name))
		require.NoError(t, err)
		contents[name] = b
		v.write("/opt/"+filepath.Base(name), b)
	}
	v.program("swapped", contents[demoPrograms[0]])
	symbols := map[string]string{} // what each of the two is when nobody touches it
	for _, r := range v.files("/opt/indexer", "/opt/telemetryd") {
		symbols[r["cdhash"]] += r["provider"] + r["class"] + r["symbols"] + ";"
	}
	require.Len(t, symbols, 2)

	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; !stop.Load(); i++ {
			temporary := filepath.Join(v.dir, "opt/.new")
			if os.WriteFile(temporary, contents[demoPrograms[i%2]], 0o755) != nil || os.Rename(temporary, filepath.Join(v.dir, "opt/swapped")) != nil {
				return
			}
		}
	}()
	for range 30 {
		got := map[string]string{}
		for _, r := range v.byPlist()[badAgents+"swapped.plist"] {
			if r["error"] == "" {
				got[r["cdhash"]] += r["provider"] + r["class"] + r["symbols"] + ";"
			}
		}
		for hash, s := range got {
			require.Equal(t, symbols[hash], s, hash)
		}
	}
	stop.Store(true)
	<-done
}
