package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hostileTree is a copy of the demo's tree with everything in it that a user, or an implant, could put there.
func hostileTree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	require.NoError(t, os.CopyFS(root, os.DirFS(demo+"/root")))
	agents := filepath.Join(root, "Users/ana/Library/LaunchAgents")
	at := func(name string) string { return filepath.Join(agents, name) }
	require.NoError(t, syscall.Mkfifo(at("fifo.plist"), 0o600))
	require.NoError(t, os.Mkdir(at("folder.plist"), 0o700))
	require.NoError(t, os.Symlink("loop.plist", at("loop.plist")))
	require.NoError(t, os.Symlink("nothing", at("dangling.plist")))
	require.NoError(t, os.Symlink("/../../../../../../../../../../etc/passwd", at("outside.plist")))
	require.NoError(t, os.WriteFile(at("empty.plist"), nil, 0o600))
	require.NoError(t, os.WriteFile(at("truncated.plist"), []byte(`<?xml version="1.0"?><plist><dict><key>Label</key><string>tr`), 0o600))
	require.NoError(t, os.WriteFile(at("types.plist"), []byte(`<plist><dict><key>Label</key><string>types</string><key>Program</key><integer>7</integer></dict></plist>`), 0o600))

	program := func(label, path string, write func(path string)) {
		text := `<plist><dict><key>Label</key><string>` + label + `</string><key>Program</key><string>` + path + `</string></dict></plist>`
		require.NoError(t, os.WriteFile(at(label+".plist"), []byte(text), 0o600))
		write(filepath.Join(root, path))
	}
	whole, err := os.ReadFile(demo + "/root/usr/local/libexec/telemetryd")
	require.NoError(t, err)
	program("cut-macho", "/usr/local/bin/cut-macho", func(p string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, whole[:len(whole)/3], 0o755))
	})
	program("cut-elf", "/usr/local/bin/cut-elf", func(p string) {
		require.NoError(t, os.WriteFile(p, append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 20)...), 0o755))
	})
	program("fifo-program", "/usr/local/bin/fifo", func(p string) { require.NoError(t, syscall.Mkfifo(p, 0o700)) })
	program("gone", "/usr/local/bin/gone", func(string) {})
	return root
}

func TestHostileTree(t *testing.T) {
	t.Parallel()
	root := hostileTree(t)
	cmd := exec.CommandContext(t.Context(), "cipherlens.ext", "query", "--root", root, "--config", demo+"/config.yaml", "--json",
		"SELECT label, plist_path, path, provider, error FROM launchd_crypto_linkage")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	require.NoError(t, err)
	var rows []map[string]string
	require.NoError(t, json.Unmarshal(out, &rows))

	const agents = "/Users/ana/Library/LaunchAgents/"
	errors := map[string]string{}
	whole := map[string]bool{}
	for _, r := range rows {
		require.NotContains(t, r["error"], root, "paths are the analysed host's")
		if r["error"] == "" {
			whole[r["label"]] = true
		} else {
			errors[r["plist_path"]] += r["error"]
		}
	}
	for _, label := range []string{"com.apple.metadata.mdsync", "com.northwind.telemetryd", "com.example.indexer", "com.example.backup", "com.example.messenger"} {
		require.True(t, whole[label], "%s is still there", label)
	}
	for name, want := range map[string]string{
		"fifo.plist": "FIFO", "folder.plist": "folder", "loop.plist": "too many levels", "dangling.plist": "no such file", "outside.plist": "no such file",
		"empty.plist": "empty", "truncated.plist": "", "types.plist": "Program: ", "cut-macho.plist": "cut-macho", "cut-elf.plist": "cut-elf",
		"fifo-program.plist": "FIFO", "gone.plist": "no such file",
	} {
		require.Contains(t, errors, agents+name)
		require.Contains(t, errors[agents+name], want, name)
	}
}
