package sensor

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/process"
)

// Images says who signed an executable.
type Images interface {
	Analyze(ctx context.Context, path string, inserted []string) (*image.Report, error)
}

// identify says who talks, as far as that is proven. What could not be read proves nothing. kernel is what the kernel said of the process, whose word
// counts more than the file's; nil where it said nothing.
func identify(ctx context.Context, images Images, path string, kernel *process.CodeIdentity) (allowlist.Identity, error) {
	who := allowlist.Identity{Path: path}
	if path == "" {
		return who, nil
	}
	report, err := images.Analyze(ctx, path, nil)
	if err != nil {
		return who, err
	}
	s, err := Running(report.Signature, kernel, len(report.Arch))
	if !s.Proven() {
		if kernel != nil && kernel.Flags&(codeValid|codeDebugged) == codeValid {
			who.CDHash = kernel.CDHash // of what runs; its file is another by now
		}
		return who, err
	}
	who.CDHash = s.CDHash
	switch s.Kind {
	case image.SignedApple:
		who.SigningID, who.Apple = s.SigningID, true
	case image.SignedAppStore, image.SignedDeveloperID, image.SignedDevelopment:
		who.SigningID, who.TeamID = s.SigningID, s.TeamID
	}
	return who, err
}

// ruleBook keeps the allowlist in force and reads it again when its sources change. It is safe for concurrent use.
type ruleBook struct {
	settings *config.Store

	mu       sync.Mutex
	sources  string // what the rules were read from
	rules    *allowlist.Set
	problems []error
	counted  map[flowKey]struct{} // flows that a rule was counted for
}

// flowKey tells one flow from another.
type flowKey struct {
	file, community string
	opened          int64
}

// maxCounted bounds how many flows are remembered as counted; beyond, all are forgotten and some may count twice.
const maxCounted = 20_000

// count counts a flow for its rule, once however often it is asked about.
func (b *ruleBook) count(r *allowlist.Rule, f *Flow, now time.Time) {
	key := f.key()
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.counted[key]; known {
		return
	}
	if b.counted == nil || len(b.counted) >= maxCounted {
		b.counted = map[flowKey]struct{}{}
	}
	b.counted[key] = struct{}{}
	r.Count(now)
}

// current gives the rules in force.
func (b *ruleBook) current() (*allowlist.Set, []error) {
	sources := b.fingerprint()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rules == nil || sources != b.sources {
		b.rules, b.problems = allowlist.Load(b.settings, b.rules)
		b.sources, b.counted = sources, nil
	}
	return b.rules, b.problems
}

// fingerprint changes when a rule file or the short rules in the settings do.
func (b *ruleBook) fingerprint() string {
	files, err := b.settings.RuleFiles()
	list := append(slices.Clone(b.settings.Current().AllowedCryptoProcesses), fmt.Sprint(err))
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			info = noFile{}
		}
		list = append(list, fmt.Sprint(file, info.Size(), info.ModTime().UnixNano(), info.Mode()))
	}
	return strings.Join(list, "\x00")
}

// noFile stands for a file that went away between two looks.
type noFile struct{ fs.FileInfo }

func (noFile) Size() int64        { return -1 }
func (noFile) ModTime() time.Time { return time.Time{} }
func (noFile) Mode() fs.FileMode  { return 0 }

// runs is what is asked for its identity.
type runs struct {
	path string
	code *process.CodeIdentity
}

type identified struct {
	id  allowlist.Identity
	err error
}

// approve fills in the rules that cover alerts. Flows whose verdict raises none are nobody's business.
func (s *Sensor) approve(ctx context.Context, flows []Flow) {
	rules, _ := s.rules.current()
	now := time.Now()
	who := map[runs]identified{}
	for i := range flows {
		f := &flows[i]
		if !f.Judgement.Verdict.Alert() {
			continue
		}
		what := runs{f.Owner.Path, f.Owner.code}
		it, known := who[what]
		if !known {
			it.id, it.err = identify(ctx, s.o.Images, what.path, what.code)
			who[what] = it
		}
		id := it.id
		f.Err = it.err
		switch f.Owner.CDHash {
		case "":
			f.Owner.CDHash = id.CDHash
		case id.CDHash:
		default: // the executable that talked then is not the one that lies there now
			id = allowlist.Identity{Path: f.Owner.Path, CDHash: f.Owner.CDHash}
		}
		rule := rules.Match(id, allowlist.Destination{
			Address: f.Remote.Addr(), Port: f.Remote.Port(), Host: f.Judgement.SNI,
			Verdict: string(f.Judgement.Verdict), AppProtocol: f.Judgement.AppProtocol,
		}, now)
		if rule != nil {
			f.AllowlistRule = rule.Name
			s.rules.count(rule, f, now)
		}
	}
}
