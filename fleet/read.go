package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/cipherlens/cipherlens/internal/config"
)

// secretVariable is the one variable that these files leave to "fleetctl gitops".
const secretVariable = "$CIPHERLENS_ENROLL_SECRET"

// maxFile bounds a file that is read, in bytes.
const maxFile = 1 << 20

// Fleet is one fleet's file with everything that it refers to.
type Fleet struct {
	Name     string
	Options  AgentOptions
	Policies []Policy
	Reports  []Report
	Labels   []Label
	Profiles []string // paths of configuration profiles
}

// Read reads one fleet's file and what it refers to as strictly as "fleetctl gitops" and Fleet's server together, and more strictly where those would
// take something that cannot be meant: a key nobody knows, a "$" where a variable would be expanded, a name that is not ASCII, one name twice, a
// query that is scheduled twice, settings in custom_cipherlens that the extension would refuse. All errors come together, each with its file.
func Read(dir fs.FS, name string) (*Fleet, error) {
	r := reader{dir: dir}
	var file File
	r.decode(name, &file)
	out := &Fleet{Name: file.Name}
	r.check(name, file.Name != "", "name: missing")
	if file.AgentOptions != nil {
		r.decode(r.resolve(name, file.AgentOptions.Path), &out.Options)
		r.agentOptions(file.AgentOptions.Path, out.Options)
	}
	out.Policies = readList[Policy](&r, name, file.Policies)
	out.Reports = readList[Report](&r, name, file.Reports)
	out.Labels = readList[Label](&r, name, file.Labels)
	if file.Controls != nil {
		for _, p := range file.Controls.AppleSettings.ConfigurationProfiles {
			profile := r.resolve(name, p.Path)
			if _, err := fs.Stat(dir, profile); err != nil {
				r.errs = append(r.errs, err)
			}
			out.Profiles = append(out.Profiles, profile)
		}
	}
	r.labels(name, out.Labels)
	r.policies(name, out.Policies, out.Labels)
	r.reports(name, out)
	return out, errors.Join(r.errs...)
}

// GeneratedFiles gives the content of every file below dir that go generate wrote.
func GeneratedFiles(dir fs.FS) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := fs.WalkDir(dir, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".yml" && path.Ext(name) != ".json" {
			return err
		}
		data, err := fs.ReadFile(dir, name)
		if err == nil && (path.Ext(name) == ".json" || strings.HasPrefix(string(data), header)) {
			files[name] = data
		}
		return err
	})
	return files, err
}

// reader collects what is wrong.
type reader struct {
	dir  fs.FS
	errs []error
}

func (r *reader) check(file string, ok bool, format string, args ...any) {
	if !ok {
		r.errs = append(r.errs, fmt.Errorf("fleet: %s: "+format, append([]any{file}, args...)...))
	}
}

// resolve gives the path below dir of what file from refers to.
func (r *reader) resolve(from, to string) string {
	r.check(from, to != "" && !strings.ContainsAny(to, "*?[{"), "path: %q is not one file", to)
	return path.Join(path.Dir(from), to)
}

// decode reads one file into v; a key that v does not know is an error.
func (r *reader) decode(name string, v any) {
	data, err := fs.ReadFile(r.dir, name)
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("fleet: %s: more than %d bytes", name, maxFile)
	}
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	for n, line := range strings.Split(string(data), "\n") {
		r.check(name, !strings.Contains(strings.ReplaceAll(line, secretVariable, ""), "$"), "%d: a \"$\", which Fleet expands", n+1)
	}
	if err := yaml.UnmarshalWithOptions(data, v, yaml.Strict()); err != nil {
		r.errs = append(r.errs, fmt.Errorf("fleet: %s:%s", name, config.Reason(err)))
	}
}

// readList reads the lists that file refers to; a reference within them is an unknown key, since Fleet refuses nested paths.
func readList[T any](r *reader, file string, from []Path) []T {
	var all []T
	for _, p := range from {
		names := []string{}
		switch {
		case p.Path != "" && p.Paths != "":
			r.check(file, false, "both path and paths")
		case p.Paths != "":
			r.check(file, strings.ContainsAny(p.Paths, "*?[{"), "paths: %q is no pattern", p.Paths)
			matches, err := fs.Glob(r.dir, path.Join(path.Dir(file), p.Paths))
			r.check(file, err == nil && len(matches) > 0, "paths: %q matches nothing", p.Paths)
			names = matches
		default:
			names = append(names, r.resolve(file, p.Path))
		}
		for _, name := range names {
			var list []T
			r.decode(name, &list)
			all = append(all, list...)
		}
	}
	return all
}

func (r *reader) names(file, kind string, names []string) {
	seen := map[string]bool{}
	for _, n := range names {
		r.check(file, strings.TrimSpace(n) != "", "%s: a name is missing", kind)
		r.check(file, ascii(n), "%s: %q: the name is not ASCII", kind, n)
		r.check(file, !seen[n], "%s: %q: the name comes twice", kind, n)
		seen[n] = true
	}
}

func (r *reader) labels(file string, labels []Label) {
	var names []string
	for _, l := range labels {
		names = append(names, l.Name)
		switch l.LabelMembershipType {
		case "dynamic":
			r.check(file, l.Query != "" && len(l.Hosts) == 0, "labels: %q: a dynamic label has a query and no hosts", l.Name)
		case "manual":
			r.check(file, l.Query == "", "labels: %q: a manual label has no query", l.Name)
		default:
			r.check(file, false, "labels: %q: label_membership_type: %q is neither dynamic nor manual", l.Name, l.LabelMembershipType)
		}
		r.check(file, !slices.Contains(builtinLabels, l.Name), "labels: %q: the name is Fleet's own", l.Name)
	}
	r.names(file, "labels", names)
}

// builtinLabels are Fleet's (server/fleet/labels.go).
var builtinLabels = []string{"All Hosts", "macOS", "Ubuntu Linux", "CentOS Linux", "MS Windows", "Red Hat Linux", "All Linux", "chrome",
	"macOS 14+ (Sonoma+)", "iOS", "iPadOS", "Fedora Linux", "Android"}

func (r *reader) policies(file string, policies []Policy, labels []Label) {
	var names []string
	for _, p := range policies {
		names = append(names, p.Name)
		r.check(file, p.Query != "", "policies: %q: query: missing", p.Name)
		r.platform(file, p.Name, p.Platform)
		kinds := 0
		for _, list := range [][]string{p.LabelsIncludeAny, p.LabelsIncludeAll, p.LabelsExcludeAny} {
			if len(list) > 0 {
				kinds++
			}
			r.known(file, p.Name, list, labels)
		}
		r.check(file, kinds <= 1, "policies: %q: more than one of labels_include_any, labels_include_all and labels_exclude_any", p.Name)
	}
	r.names(file, "policies", names)
}

func (r *reader) known(file, name string, used []string, labels []Label) {
	for _, l := range used {
		r.check(file, slices.Contains(builtinLabels, l) || slices.ContainsFunc(labels, func(have Label) bool { return have.Name == l }), "%q: no label %q", name, l)
	}
}

func (r *reader) reports(file string, f *Fleet) {
	var names []string
	for _, q := range f.Reports {
		names = append(names, q.Name)
		r.check(file, strings.TrimSpace(q.Query) != "", "reports: %q: query: missing", q.Name)
		r.check(file, q.Interval >= 0 && q.Interval <= 604800, "reports: %q: interval: %d is not from 0 to 604800 seconds", q.Name, q.Interval)
		r.check(file, q.Interval > 0 || !q.AutomationsEnabled, "reports: %q: automations_enabled without an interval", q.Name)
		r.check(file, slices.Contains([]string{"", "snapshot", "differential", "differential_ignore_removals"}, q.Logging), "reports: %q: logging: %q is unknown", q.Name, q.Logging)
		r.check(file, q.MinOsqueryVersion == "" || versionForm.MatchString(q.MinOsqueryVersion), "reports: %q: min_osquery_version: %q", q.Name, q.MinOsqueryVersion)
		r.platform(file, q.Name, q.Platform)
		r.known(file, q.Name, q.LabelsIncludeAny, f.Labels)
		for pack, p := range f.Options.Config.Packs {
			for query := range p.Queries {
				r.check(file, q.Interval == 0 || q.Name != pack+"_"+query, "%q: scheduled twice, as a report and in agent_options.config.packs", q.Name)
			}
		}
	}
	r.names(file, "reports", names)
}

var versionForm = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

func (r *reader) platform(file, name, list string) {
	for _, p := range strings.Split(list, ",") {
		r.check(file, list == "" || slices.Contains([]string{"darwin", "linux", "windows", "chrome"}, p), "%q: platform: %q is none of darwin, linux, windows, chrome", name, p)
	}
}

func (r *reader) agentOptions(file string, o AgentOptions) {
	configs := map[string]AgentConfig{"config": o.Config}
	if o.Overrides != nil {
		for platform, c := range o.Overrides.Platforms {
			configs["overrides.platforms."+platform] = c
		}
	}
	for where, c := range configs {
		for key, value := range c.Options {
			switch key {
			case "extensions_autoload", "host_identifier", "database_path", "extensions_require":
				r.check(file, false, "%s.options.%s: not to be set here", where, key)
			case settingsOption:
				text, ok := value.(string)
				r.check(file, ok, "%s.options.%s: not a string", where, key)
				if _, err := config.Parse(config.Default(), settingsOption, []byte(text)); ok && err != nil {
					r.errs = append(r.errs, fmt.Errorf("fleet: %s: %w", file, err))
				}
			default:
				r.check(file, knownOptions[key] || strings.HasPrefix(key, "custom_"), "%s.options.%s: unknown to Fleet", where, key)
			}
		}
		for name, pack := range c.Packs {
			for query, q := range pack.Queries {
				r.check(file, q.Query != "" && q.Interval >= 1 && q.Interval <= 604800, "%s.packs.%s.%s: without query or interval", where, name, query)
			}
		}
	}
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) < 0
}
