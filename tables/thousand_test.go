package tables

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/macho"
	"github.com/cipherlens/cipherlens/internal/rootfs"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

const demoRoot = "../testdata/demo/root"

// demoPrograms are real Mach-O files, made with clang and lld (testdata/demo/build-images.sh).
var demoPrograms = []string{"usr/local/libexec/indexer", "usr/local/libexec/telemetryd", "Library/Application Support/Metadata/mdsync",
	"Applications/Backup.app/Contents/MacOS/Backup", "Applications/Messenger.app/Contents/MacOS/Messenger"}

// thinProgram gives the arm64 slice of a demo program up to its signature.
func thinProgram(tb testing.TB, name string) (code []byte, slice *macho.Slice) {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(demoRoot, name))
	require.NoError(tb, err)
	file, err := macho.Read(bytes.NewReader(b), int64(len(b)))
	require.NoError(tb, err)
	for _, s := range file.Slices {
		if s.Arch == "arm64" {
			return bytes.Clone(b[s.Offset : s.Offset+s.Signature.Offset]), s
		}
	}
	require.Fail(tb, "no arm64 slice", name)
	return nil, nil
}

const (
	segment64     = 0x19
	codeSignature = 0x1d
	codePage      = 4096
)

// writeProgram writes a demo program whose __LINKEDIT is grown with real bytes to about size bytes, signed ad hoc anew.
func writeProgram(tb testing.TB, at, from string, size int64, bulk []byte) {
	tb.Helper()
	code, slice := thinProgram(tb, from)
	limit := max(size&^15, int64(len(code)+15)&^15)
	hashes := (limit + codePage - 1) / codePage
	const fixed = 88
	directory := fixed + len(slice.Signature.BestDirectory().Identifier) + 1 + int(hashes)*sha256.Size
	resize(code, limit, 20+int64(directory))

	require.NoError(tb, os.MkdirAll(filepath.Dir(at), 0o755))
	f, err := os.OpenFile(at, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o755)
	require.NoError(tb, err)
	defer func() { require.NoError(tb, f.Close()) }()
	_, err = f.Write(code)
	require.NoError(tb, err)
	for left, start := limit-int64(len(code)), size%int64(len(bulk)); left > 0; start = 0 {
		n := min(left, int64(len(bulk))-start)
		_, err = f.Write(bulk[start : start+n])
		require.NoError(tb, err)
		left -= n
	}
	_, err = f.Write(adhoc(tb, f, limit, slice.Signature.BestDirectory().Identifier, directory))
	require.NoError(tb, err)
}

// resize sets where the signature is, and how long __LINKEDIT, in the load commands.
func resize(code []byte, limit, signature int64) {
	at := 32
	for range binary.LittleEndian.Uint32(code[16:]) {
		switch command := code[at:]; binary.LittleEndian.Uint32(command) {
		case segment64:
			if bytes.HasPrefix(command[8:], []byte("__LINKEDIT\x00")) {
				length := uint64(limit+signature) - binary.LittleEndian.Uint64(command[40:])
				binary.LittleEndian.PutUint64(command[32:], (length+0x3fff)&^0x3fff)
				binary.LittleEndian.PutUint64(command[48:], length)
			}
		case codeSignature:
			binary.LittleEndian.PutUint32(command[8:], uint32(limit))
			binary.LittleEndian.PutUint32(command[12:], uint32(signature))
		}
		at += int(binary.LittleEndian.Uint32(code[at+4:]))
	}
}

// adhoc makes the signature of the first limit bytes, laid out as xnu's osfmk/kern/cs_blobs.h says: a SuperBlob with one
// CodeDirectory of version 0x20400.
func adhoc(tb testing.TB, r io.ReaderAt, limit int64, identifier string, size int) []byte {
	tb.Helper()
	const fixed = 88
	pages := int((limit + codePage - 1) / codePage)
	b := make([]byte, 0, 20+size)
	be := binary.BigEndian
	for _, v := range []uint32{0xfade0cc0, uint32(20 + size), 1, 0, 20, 0xfade0c02, uint32(size), 0x20400, 0x2,
		uint32(fixed + len(identifier) + 1), fixed, 0, uint32(pages), uint32(limit)} {
		b = be.AppendUint32(b, v)
	}
	b = append(b, sha256.Size, 2, 0, 12) // hash size, SHA-256, platform, page size as a power of two
	b = append(b, make([]byte, 20+fixed-len(b))...)
	b = append(append(b, identifier...), 0)
	page := make([]byte, codePage)
	for i := range pages {
		n := min(int64(codePage), limit-int64(i)*codePage)
		_, err := r.ReadAt(page[:n], int64(i)*codePage)
		require.NoError(tb, err)
		sum := sha256.Sum256(page[:n])
		b = append(b, sum[:]...)
	}
	return b
}

// host is a made macOS volume with jobs.
func host(tb testing.TB, jobs, programs int, smallest, largest float64) string {
	tb.Helper()
	root := tb.TempDir()
	self, err := os.Executable()
	require.NoError(tb, err)
	bulk, err := os.ReadFile(self) // real machine code, constants and strings
	require.NoError(tb, err)
	paths := make([]string, programs)
	for i := range paths {
		size := smallest * math.Pow(largest/smallest, float64(i)/float64(programs-1))
		paths[i] = fmt.Sprintf("/Applications/Vendor/Program %d.app/Contents/MacOS/program", i)
		writeProgram(tb, filepath.Join(root, paths[i]), demoPrograms[i%len(demoPrograms)], int64(size), bulk)
	}
	folders := []string{"/Library/LaunchDaemons", "/Library/LaunchAgents", "/System/Library/LaunchDaemons", "/Users/ana/Library/LaunchAgents"}
	for i := range jobs {
		name := filepath.Join(root, folders[i%len(folders)], fmt.Sprintf("com.example.job%d.plist", i))
		require.NoError(tb, os.MkdirAll(filepath.Dir(name), 0o755))
		text := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict><key>Label</key><string>com.example.job%d</string><key>ProgramArguments</key><array><string>%s</string><string>--serve</string></array>
<key>RunAtLoad</key><true/><key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict></dict></plist>`, i, paths[i%programs])
		require.NoError(tb, os.WriteFile(name, []byte(text), 0o644))
	}
	return root
}

// jobsTable is launchd_crypto_linkage of the host at dir, as the extension wires it, with nothing remembered.
func jobsTable(tb testing.TB, dir string) Definition {
	tb.Helper()
	root, err := rootfs.Open(dir)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = root.Close() })
	settings := config.NewStore(filepath.Join(tb.TempDir(), "config.yaml"))
	images := image.NewAnalyzer(root)
	s := sensor.New(sensor.Options{Root: root, Settings: settings, Images: images, Log: slog.New(slog.DiscardHandler)})
	return LaunchdCryptoLinkage(s, Trusting(images, func() []string { return settings.Current().TrustedCryptoLibs }))
}

func everyRow(tb testing.TB, d Definition) []Row {
	tb.Helper()
	rows, err := d.Rows(context.Background(), Query{})
	require.NoError(tb, err)
	return rows
}

func TestThousandJobs(t *testing.T) {
	t.Parallel()
	d := jobsTable(t, host(t, 1000, 60, 50<<10, 1<<20))
	first := everyRow(t, d)
	paths := map[string]string{}
	for _, r := range first {
		require.Empty(t, r["error"])
		require.Equal(t, "adhoc", r["signature"], r["path"])
		require.Equal(t, "pages", r["signature_checked"], "every page of the grown program was hashed")
		paths[r["label"]] = r["path"]
	}
	require.Len(t, paths, 1000)
	for i := range 1000 {
		require.Equal(t, fmt.Sprintf("/Applications/Vendor/Program %d.app/Contents/MacOS/program", i%60), paths["com.example.job"+strconv.Itoa(i)])
	}
	require.Equal(t, first, everyRow(t, d), "what is remembered says the same")
}

// processorTime is what this process has used, on all processors and in the kernel.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkThousandJobs asks for all jobs of a host with 1,000 jobs of 60 executables of 50 KiB to 150 MB, 1.1 GB together, from a
// warm page cache: with nothing remembered (first), and again (next). What is to be reached is 2 s and 50 ms.
func BenchmarkThousandJobs(b *testing.B) {
	root := host(b, 1000, 60, 50<<10, 150e6)
	measured := func(b *testing.B, table func() Definition) {
		var used time.Duration
		for b.Loop() {
			b.StopTimer()
			d := table()
			b.StartTimer()
			before := processorTime(b)
			require.GreaterOrEqual(b, len(everyRow(b, d)), 1000)
			used += processorTime(b) - before
		}
		b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms/op")
	}
	b.Run("first", func(b *testing.B) { measured(b, func() Definition { return jobsTable(b, root) }) })
	b.Run("next", func(b *testing.B) {
		d := jobsTable(b, root)
		everyRow(b, d)
		measured(b, func() Definition { return d })
	})
}
