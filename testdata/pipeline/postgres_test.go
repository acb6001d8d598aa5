package pipeline

import (
	"bytes"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// database is a PostgreSQL of the test's own: its folder, a Unix socket, no TCP, run by a user without privileges.
type database struct {
	socket string
	as     *syscall.SysProcAttr
}

// startPostgres starts PostgreSQL, or skips the rest of the test where there is none.
func startPostgres(t *testing.T) *database {
	bin := serverFolder()
	if bin == "" {
		t.Skip("no PostgreSQL server (Debian: apt-get install postgresql); the way through Kafka was tested")
	}
	dir, err := os.MkdirTemp("", "pg") // t.TempDir is too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	db := &database{socket: dir, as: unprivileged(t, dir)}
	data := filepath.Join(dir, "data")
	out, err := db.command(filepath.Join(bin, "initdb"), "-D", data, "-U", "cipherlens", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput()
	require.NoError(t, err, "%s", out)
	server := db.command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt) // fast shutdown
		_ = server.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool { return db.psql("-c", "SELECT 1").Run() == nil }, 30*time.Second, 100*time.Millisecond)
	return db
}

// serverFolder is where the newest PostgreSQL server's programs are.
func serverFolder() string {
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(real)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// unprivileged gives the folder to nobody and says how to run as nobody, where the test is root: PostgreSQL refuses to be.
func unprivileged(t *testing.T, dir string) *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, int(uid), int(gid)))
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func (db *database) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.SysProcAttr = db.socket, db.as
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + db.socket}
	return cmd
}

func (db *database) psql(args ...string) *exec.Cmd {
	return db.command("psql", append([]string{"-h", db.socket, "-U", "cipherlens", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-qAt"}, args...)...)
}

// run runs the statements of one file.
func (db *database) run(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	cmd := db.psql("-f", "-")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// load copies lines into the table, by the command that schema.sql names.
func (db *database) load(t *testing.T, lines [][]byte) {
	cmd := db.psql("-c", `\copy cipherlens.lines(line) FROM STDIN WITH (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')`)
	cmd.Stdin = bytes.NewReader(append(bytes.Join(lines, []byte("\n")), '\n'))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// query gives rows as psql prints them, columns parted by "|".
func (db *database) query(t *testing.T, sql string) []string {
	out, err := db.psql("-c", sql).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
