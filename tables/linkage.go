package tables

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/osquery/osquery-go/plugin/table"

	"github.com/cipherlens/cipherlens/internal/image"
)

// Images says what crypto an executable reaches and who signed it. inserted are libraries that dyld is told to load into it.
type Images interface {
	Analyze(ctx context.Context, path string, inserted []string) (*image.Report, error)
}

// linkageColumns are the columns that all three linkage tables share.
func linkageColumns() []table.ColumnDefinition {
	return []table.ColumnDefinition{
		text("provider", "Whose crypto: security_framework, commoncrypto, cryptokit, corecrypto, openssl, libsodium, go, ...; empty when none was found"),
		text("class", "symmetric, hybrid, kdf, hash, tls or random; only symmetric is evidence for AN0402"),
		text("evidence", "strong: an import that encrypts; weak: a constant, a string, a marker of a linked-in library"),
		text("linkage", "direct, weak, lazy, reexport, bundled, static, dlopen, or script for words in a job's script"),
		text("library", "Library that the symbols are bound to, as the image names it"),
		text("symbols", "Symbols or markers found, sorted, comma-separated"),
		text("image_path", "The image that holds the reference: the executable, or what it bundles"),
		text("via", "Images between the executable and image_path, comma-separated"),
		text("arch", "Architectures in which it was found, comma-separated"),
		text("uuid", "LC_UUID of each slice of the executable (Linux: GNU build id), comma-separated"),
		text("runtime", "Language runtime that the executable brings: go, node, electron, ...; empty for native code"),
		text("signature", "apple, app_store, developer_id, development, adhoc, unsigned or invalid; empty for formats without signatures"),
		text("signing_id", "Identifier in the code signature"),
		text("team_id", "Team, where a certificate proves it"),
		text("claimed_team_id", "Team that the signature claims; anyone can write it"),
		text("cdhash", "Code directory hash, 40 hex digits"),
		integer("hardened_runtime", "1 when the hardened runtime is on"),
		text("identity", "The executable in an allowlist's short form, as far as it is proven: signing:ID (Apple's), signing:TEAM:ID, cdhash:HEX, else path:PATH"),
		text("signature_checked", "How far the signature was checked: kernel, pages, blob"),
		text("error", "What could not be read, and where"),
	}
}

// reportRows gives a row for each piece of evidence, or one with an empty provider; start makes the row that they begin from.
func reportRows(report *image.Report, start func() Row, errs ...error) []Row {
	errs = append(errs, report.Errs...)
	if len(report.Evidence) == 0 {
		r := start()
		setEvidence(r, &image.Evidence{Arch: report.Arch})
		setReport(r, report, errs)
		return []Row{r}
	}
	rows := make([]Row, len(report.Evidence))
	for i := range report.Evidence {
		rows[i] = start()
		setEvidence(rows[i], &report.Evidence[i])
		setReport(rows[i], report, errs)
	}
	return rows
}

func setEvidence(r Row, e *image.Evidence) {
	r.Text("provider", e.Provider)
	r.Text("class", e.Class)
	r.Text("evidence", e.Strength)
	r.Text("linkage", e.Linkage)
	r.Text("library", e.Library)
	r.List("symbols", e.Symbols)
	r.Text("image_path", e.ImagePath)
	r.List("via", e.Via)
	r.List("arch", e.Arch)
}

func setReport(r Row, report *image.Report, errs []error) {
	s := &report.Signature
	r.List("uuid", report.UUIDs)
	r.Text("runtime", report.Runtime)
	r.Text("signature", s.Kind)
	r.Text("signing_id", s.SigningID)
	r.Text("team_id", s.TeamID)
	r.Text("claimed_team_id", s.ClaimedTeamID)
	r.Text("cdhash", s.CDHash)
	if s.Kind != "" && s.Kind != image.Unsigned {
		r.Bool("hardened_runtime", s.HardenedRuntime)
	}
	r.Text("identity", identity(report.Path, s))
	r.Text("signature_checked", s.Checked)
	if s.Reason != "" {
		errs = append(errs, fmt.Errorf("%s: signature: %s", report.Path, s.Reason))
	}
	r.Errors(errs...)
}

// identity names an executable in the short form that allowlist.Short reads, by the best that is proven of it; empty without a path that a
// rule could name.
func identity(path string, s *image.Signature) string {
	proven := s.Proven() && !strings.Contains(s.SigningID, ":")
	switch {
	case proven && s.Kind == image.SignedApple && s.SigningID != "":
		return "signing:" + s.SigningID
	case proven && s.TeamID != "" && s.SigningID != "":
		return "signing:" + s.TeamID + ":" + s.SigningID
	case s.Proven() && s.CDHash != "":
		return "cdhash:" + s.CDHash
	case filepath.IsAbs(path) && filepath.Clean(path) == path:
		return "path:" + path
	}
	return ""
}

// target is one executable with what is inserted into it.
type target struct {
	path     string
	inserted []string
}

func (t target) key() string { return t.path + "\x00" + strings.Join(t.inserted, "\x00") }

// analysis is what came of one target.
type analysis struct {
	report *image.Report
	err    error
}

// analyse looks at targets, each once, on a few processors at a time, and gives what it found by target key. Targets that were not reached
// before ctx ended carry its error.
func analyse(ctx context.Context, images Images, targets []target) map[string]analysis {
	found := make(map[string]analysis, len(targets))
	var todo []target
	for _, t := range targets {
		if _, seen := found[t.key()]; !seen {
			found[t.key()] = analysis{report: &image.Report{Path: t.path}}
			todo = append(todo, t)
		}
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	next := make(chan target)
	for range min(runtime.GOMAXPROCS(0), len(todo)) {
		wait.Go(func() {
			for t := range next {
				report, err := analyseOne(ctx, images, t)
				if report == nil {
					report = &image.Report{Path: t.path}
				}
				mu.Lock()
				found[t.key()] = analysis{report, err}
				mu.Unlock()
			}
		})
	}
	for _, t := range todo {
		next <- t
	}
	close(next)
	wait.Wait()
	return found
}

// analyseOne keeps a panic over one hostile file from taking the other files' rows with it.
func analyseOne(ctx context.Context, images Images, t target) (report *image.Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			report, err = nil, fmt.Errorf("image: %s: panic: %v", t.path, p)
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("image: %s: %w", t.path, err)
	}
	return images.Analyze(ctx, t.path, t.inserted)
}

// Trusting leaves out evidence from libraries that the site trusts: trusted gives their paths, or names without a folder, as the setting
// trusted_crypto_libs has them.
func Trusting(images Images, trusted func() []string) Images { return trusting{images, trusted} }

type trusting struct {
	Images
	trusted func() []string
}

// Analyze gives a report without the trusted evidence; the report of the Images behind stays as it is.
func (t trusting) Analyze(ctx context.Context, path string, inserted []string) (*image.Report, error) {
	report, err := t.Images.Analyze(ctx, path, inserted)
	libraries := t.trusted()
	if report == nil || len(libraries) == 0 {
		return report, err
	}
	kept := *report
	kept.Evidence = slices.DeleteFunc(slices.Clone(report.Evidence), func(e image.Evidence) bool {
		return slices.Contains(libraries, e.Library) || slices.Contains(libraries, filepath.Base(e.Library))
	})
	return &kept, err
}
