package macho

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// llvmView is what llvm-objdump and llvm-nm say of one slice.
type llvmView struct {
	uuid, installName, minos, sdk string
	libraries, rpaths             []string        // libraries as "LC_LOAD_WEAK_DYLIB name current compat"
	undefined, binds, weak, lazy  map[string]bool // as "symbol from library", libraries shortened as LLVM does
	optional                      map[string]bool // symbols with weak_import
}

// readGolden parses testdata/golden/<name>.txt by architecture; that of a thin file is "".
func readGolden(t *testing.T, name string) map[string]*llvmView {
	t.Helper()
	f, err := os.Open("testdata/golden/" + name + ".txt")
	require.NoError(t, err)
	defer f.Close()
	views := map[string]*llvmView{}
	var v *llvmView
	section, fields := "", map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if s, ok := strings.CutPrefix(line, "== "); ok {
			section, v = s, view(views, "")
			continue
		}
		if m := regexp.MustCompile(`^images/.*?(?: \((?:for )?architecture (\S+)\))?:$`).FindStringSubmatch(line); m != nil {
			v = view(views, m[1])
			continue
		}
		v.line(section, line, fields)
	}
	require.NoError(t, lines.Err())
	return views
}

func view(views map[string]*llvmView, arch string) *llvmView {
	if views[arch] == nil {
		views[arch] = &llvmView{
			undefined: map[string]bool{}, binds: map[string]bool{}, weak: map[string]bool{}, lazy: map[string]bool{}, optional: map[string]bool{},
		}
	}
	return views[arch]
}

var (
	nmLine      = regexp.MustCompile(`^ +\(undefined\) (weak )?external (?:automatically hidden )?(\S+)(?: \(from (\S+)\)| \((dynamically looked up)\))?$`)
	bindLine    = regexp.MustCompile(`^\S+ +\S+ +0x\S+ \S+ +\S+ (\S+) +(\S+)( \(weak_import\))?$`)
	weakLine    = regexp.MustCompile(`^\S+ +\S+ +0x\S+ \S+ +\S+ +(\S+)$`)
	lazyLine    = regexp.MustCompile(`^\S+ +\S+ +0x\S+ (\S+) +(\S+)$`)
	ordinalLine = regexp.MustCompile(`^  lib_ordinal = \S+ \((\S+)\)$`)
	nameLine    = regexp.MustCompile(`^  name_offset = \d+ \((\S+)\)$`)
)

func (v *llvmView) line(section, line string, fields map[string]string) {
	switch section {
	case "headers":
		v.header(line, fields)
	case "undefined":
		if m := nmLine.FindStringSubmatch(line); m != nil {
			v.undefined[m[2]+" from "+m[3]+m[4]] = true
		}
	case "bind":
		if m := bindLine.FindStringSubmatch(line); m != nil {
			v.binds[m[2]+" from "+m[1]] = true
			v.optional[m[2]] = m[3] != ""
		}
	case "weak-bind":
		if m := weakLine.FindStringSubmatch(line); m != nil {
			v.weak[m[1]] = true
		}
	case "lazy-bind":
		if m := lazyLine.FindStringSubmatch(line); m != nil {
			v.lazy[m[2]+" from "+m[1]] = true
		}
	case "chained":
		if m := ordinalLine.FindStringSubmatch(line); m != nil {
			fields["library"] = m[1]
		}
		fields["weak"] += strings.TrimPrefix(line, "  weak_import = ")
		if m := nameLine.FindStringSubmatch(line); m != nil {
			v.binds[m[1]+" from "+fields["library"]] = true
			v.optional[m[1]] = strings.HasSuffix(strings.TrimSuffix(fields["weak"], line), "1")
			fields["weak"] = ""
		}
	}
}

// header takes one line of a load command, of which fields keeps those before.
func (v *llvmView) header(line string, fields map[string]string) {
	key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
	value = strings.TrimSpace(value)
	if key == "cmd" {
		clear(fields)
	}
	fields[key] = regexp.MustCompile(` \(offset \d+\)$`).ReplaceAllString(value, "")
	command := fields["cmd"]
	switch {
	case command == "LC_UUID" && key == "uuid":
		v.uuid = value
	case command == "LC_RPATH" && key == "path":
		v.rpaths = append(v.rpaths, fields["path"])
	case strings.HasPrefix(command, "LC_BUILD_VERSION") && key == "minos", strings.HasPrefix(command, "LC_VERSION_MIN") && key == "version":
		v.minos = value
	case key == "sdk" && value != "n/a":
		v.sdk = value
	case command == "LC_ID_DYLIB" && key == "name":
		v.installName = fields["name"]
	case command != "LC_ID_DYLIB" && strings.HasSuffix(command, "_DYLIB") && key == "compatibility":
		current := strings.TrimPrefix(fields["current"], "version ")
		v.libraries = append(v.libraries, fmt.Sprintf("%s %s %s %s", command, fields["name"], current, strings.TrimPrefix(value, "version ")))
	}
}

var kindCommands = map[LibraryKind]string{
	Direct: "LC_LOAD_DYLIB", Weak: "LC_LOAD_WEAK_DYLIB", Reexport: "LC_REEXPORT_DYLIB", Lazy: "LC_LAZY_LOAD_DYLIB", Upward: "LC_LOAD_UPWARD_DYLIB",
}

// shortName shortens an install name as LLVM's tools do.
func shortName(install string) string {
	base := path.Base(install)
	if strings.HasPrefix(base, "lib") {
		base, _, _ = strings.Cut(base, ".")
	}
	return base
}

// libraryOf names an import's library in LLVM's words.
func libraryOf(i Import) string {
	switch i.Ordinal {
	case OrdinalSelf:
		return "this-image"
	case OrdinalExecutable:
		return "main-executable"
	case OrdinalFlat:
		return "flat-namespace"
	case OrdinalWeak:
		return "weak"
	}
	return shortName(i.Library)
}

func TestReadAgreesWithLLVM(t *testing.T) {
	t.Parallel()
	for name, b := range fixtures(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			views := readGolden(t, name)
			f := readBytes(t, b)
			require.Empty(t, f.Errs)
			for _, s := range f.Slices {
				require.Empty(t, s.Errs)
				v := views[""]
				if f.Universal {
					v = views[s.Arch]
				}
				require.NotNil(t, v, s.Arch)
				compareHeaders(t, v, s)
				compareImports(t, v, s)
			}
		})
	}
}

func compareHeaders(t *testing.T, v *llvmView, s *Slice) {
	var libraries []string
	for _, l := range s.Libraries {
		libraries = append(libraries, fmt.Sprintf("%s %s %s %s", kindCommands[l.Kind], l.Name, dotted(l.CurrentVersion), dotted(l.CompatVersion)))
	}
	require.Equal(t, v.libraries, libraries)
	require.Equal(t, v.rpaths, s.RPaths)
	require.Equal(t, v.uuid, s.UUID)
	require.Equal(t, v.installName, s.InstallName)
	require.Equal(t, v.minos, s.MinOS)
	require.Equal(t, v.sdk, s.SDK)
	require.Equal(t, "macos", s.Platform)
}

func dotted(v uint32) string { return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&0xff, v&0xff) }

func compareImports(t *testing.T, v *llvmView, s *Slice) {
	want := map[string]bool{}
	maps.Copy(want, v.binds)
	maps.Copy(want, v.lazy)
	bound := map[string]bool{}
	for k := range want {
		symbol, _, _ := strings.Cut(k, " from ")
		bound[symbol] = true
	}
	for symbol := range v.weak {
		if !bound[symbol] {
			want[symbol+" from weak"], bound[symbol] = true, true
		}
	}
	for k := range v.undefined {
		symbol, library, _ := strings.Cut(k, " from ")
		if !bound[symbol] {
			if library == "" || library == "dynamically looked up" {
				library = "flat-namespace"
			}
			want[symbol+" from "+library] = true
		}
	}
	got := map[string]bool{}
	for _, i := range s.Imports {
		key := i.Name + " from " + libraryOf(i)
		got[key] = true
		require.Equal(t, v.lazy[key] && !v.binds[key], i.Lazy, key)
		if optional, ok := v.optional[i.Name]; ok {
			require.Equal(t, optional, i.Weak, key)
		}
	}
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	require.True(t, slices.IsSortedFunc(s.Imports, func(a, b Import) int { return strings.Compare(a.Name, b.Name) }))
}
