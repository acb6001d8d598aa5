package sensor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/conformance/judge"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/randomness"
)

// offlineMemory is the least memory for the flows of a capture file: there is no host to spare, and flows judged early for lack of
// room are judged worse.
const offlineMemory = 256 << 20

const httpsPort = 443

// Progress is how far the reading of captures has come.
type Progress struct {
	File    string
	Packets uint64
	Flows   int
}

// Judge judges every flow of one capture file, in order of their first packet. Owners are what the capture says, and where owners is given,
// the executables of that index. When the file breaks off, the flows up to there are judged and the error names file and offset.
func Judge(ctx context.Context, file string, settings config.Config, owners *Index) ([]Flow, error) {
	r := reader{file: file, settings: settings, owners: owners}
	err := r.read(ctx, nil)
	return r.flows, err
}

// Count is Judge, but keeps only how often each verdict was given: a long capture takes no more memory than a short one.
func Count(ctx context.Context, file string, settings config.Config) (map[conformance.Verdict]int, error) {
	counts := map[conformance.Verdict]int{}
	err := judgeFile(ctx, file, settings, judgeHooks{verdicts: true, done: func(f *flow.Flow) { counts[f.Judgement.Verdict]++ }})
	return counts, err
}

// Inspector looks at the flows of captures while these are judged.
type Inspector interface {
	// Judged is called with each judgement of a flow and what it stands on; c must not be kept.
	Judged(f *flow.Flow, c *conformance.Conversation, j *conformance.Judgement)
	// Removed is called when no more judgements of f will come, with what the tables show of it; neither must be kept.
	Removed(f *flow.Flow, out *Flow)
}

// reader turns one capture file into judged flows.
type reader struct {
	file     string
	settings config.Config
	owners   *Index    // nil without a root
	inspect  Inspector // may be nil
	flows    []Flow
}

func (r *reader) read(ctx context.Context, progress func(Progress)) error {
	err := judgeFile(ctx, r.file, r.settings, judgeHooks{progress: progress, inspect: r.inspect, done: func(f *flow.Flow) {
		r.flows = append(r.flows, r.convert(f))
		if r.inspect != nil {
			r.inspect.Removed(f, &r.flows[len(r.flows)-1])
		}
	}})
	slices.SortStableFunc(r.flows, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.opened, b.opened), strings.Compare(a.CommunityID, b.CommunityID))
	})
	countContacts(r.flows)
	return err
}

// judgeHooks are told what becomes of a file's flows; only done must be there.
type judgeHooks struct {
	progress func(Progress)
	inspect  Inspector
	done     func(*flow.Flow) // a flow leaves the table; it must not be kept
	verdicts bool             // all that is wanted of the flows
}

// judgeFile judges the flows of a file.
func judgeFile(ctx context.Context, file string, settings config.Config, hooks judgeHooks) error {
	source, err := capture.OpenFile(file)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	var panicked error
	decide := judging(settings, newHandshakes(), func(err error) { panicked = err })
	if hooks.inspect != nil {
		decide = inspected(decide, hooks.inspect)
	}
	if hooks.verdicts {
		full := decide
		decide = func(f *flow.Flow, c *conformance.Conversation) conformance.Judgement {
			c.VerdictOnly = true
			return full(f, c)
		}
	}
	table := flow.New(flow.Config{
		Judge:   decide,
		Removed: hooks.done,
		Recycle: true,
		Memory:  max(offlineMemory, int(settings.MemoryBudget)),
		Least:   randomness.MaxSample, // nobody waits, and an answer from less would be asked for again
	})
	err = replay(ctx, source, table, func(packets uint64) {
		if hooks.progress != nil {
			hooks.progress(Progress{file, packets, int(table.Stats().Opened)})
		}
	})
	table.Close()
	if err == nil && panicked != nil {
		err = fmt.Errorf("%s: %w", file, panicked)
	}
	return err
}

// inspected lets an inspector look on.
func inspected(decide judgeFunc, inspect Inspector) judgeFunc {
	return func(f *flow.Flow, c *conformance.Conversation) conformance.Judgement {
		j := decide(f, c)
		inspect.Judged(f, c, &j)
		return j
	}
}

// replay puts all packets of a source into a table.
func replay(ctx context.Context, source capture.Source, table *flow.Table, progress func(packets uint64)) error {
	const every = 1 << 14
	var p capture.Packet
	for n := uint64(1); ; n++ {
		if err := source.Next(&p); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		table.Add(&p)
		if n%every == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress(n)
		}
	}
}

// judgeFunc judges a flow.
type judgeFunc = func(*flow.Flow, *conformance.Conversation) conformance.Judgement

// judging is the judge of a flow table under some settings. A panic over one hostile flow leaves that undetermined, and is reported.
func judging(settings config.Config, seen *handshakes, report func(error)) judgeFunc {
	options := conformance.Options{Threshold: settings.PayloadEntropyThreshold}
	resolvers := newResolvers(settings.DoHResolvers)
	least := uint64(settings.TrafficVolumeThreshold)
	return func(f *flow.Flow, c *conformance.Conversation) (j conformance.Judgement) {
		defer func() {
			if p := recover(); p != nil {
				report(fmt.Errorf("flow %v %v: panic: %v\n%s", f.Client(), f.Server(), p, debug.Stack()))
				j = conformance.Judgement{Verdict: conformance.Undetermined, Reasons: []string{"judge_failed"}, Final: true}
			}
		}()
		server := f.Server()
		c.Proofs = seen.proofs.of(server)
		j = judge.Judge(c, options)
		seen.check(f, c, &j)
		if j.Verdict == conformance.Random && f.Bytes[0]+f.Bytes[1] < least {
			j.Verdict, j.Final, j.Stable = conformance.Undetermined, false, false
			j.Reasons = append(j.Reasons, "below_traffic_volume_threshold")
		}
		if server.Port() == httpsPort && resolvers.expected(&j, server.Addr()) {
			j.AppProtocol = "doh"
		}
		return j
	}
}

// resolvers are the DNS over HTTPS servers of the settings.
type resolvers struct {
	networks []netip.Prefix
	hosts    []string
}

func newResolvers(list []string) *resolvers {
	r := &resolvers{}
	for _, s := range list {
		if p, ok := config.Network(s); ok {
			r.networks = append(r.networks, p)
		} else {
			r.hosts = append(r.hosts, strings.ToLower(s))
		}
	}
	return r
}

// expected says whether a conformant flow to addr is DNS over HTTPS that the site expects.
func (r *resolvers) expected(j *conformance.Judgement, addr netip.Addr) bool {
	if j.Verdict != conformance.TLS && j.Verdict != conformance.QUIC {
		return false
	}
	return j.SNI != "" && slices.Contains(r.hosts, strings.ToLower(j.SNI)) ||
		slices.ContainsFunc(r.networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// convert makes what the tables show of a flow of a capture.
func (r *reader) convert(f *flow.Flow) Flow {
	out := fromTable(f)
	out.File = r.file
	out.Owner = captured(f.Process, r.owners)
	return out
}

// fromTable copies a flow; its owner is left to the caller.
func fromTable(f *flow.Flow) Flow {
	out := unnamed(f)
	out.CommunityID = f.CommunityID()
	return out
}

// unnamed is fromTable without the Community ID, which costs more than all the rest.
func unnamed(f *flow.Flow) Flow {
	local, remote, outbound := f.Client(), f.Server(), true
	to, from := flow.ToServer, flow.ToClient
	if f.Local == flow.LocalServer {
		local, remote, outbound = remote, local, false
		to, from = from, to
	}
	out := Flow{
		Protocol: f.Transport, Local: local, Remote: remote, Direction: Outbound,
		FirstSeen: f.FirstSeen / int64(time.Second), LastSeen: f.LastSeen / int64(time.Second),
		PacketsOut: f.Packets[to], PacketsIn: f.Packets[from], BytesOut: f.Bytes[to], BytesIn: f.Bytes[from],
		opened: f.FirstSeen, Judgement: f.Judgement, Owner: Owner{PID: -1},
	}
	if !outbound {
		out.Direction = Inbound
	}
	return out
}

// captured is the owner as a capture states it: never more than pid, name and UUID, which the index may know.
func captured(p *capture.Process, owners *Index) Owner {
	if p == nil {
		return Owner{PID: -1}
	}
	o := Owner{PID: int(p.PID), Name: p.Name, UUID: p.UUID, Path: p.Path}
	switch {
	case p.Path != "":
		o.Attribution = ByPath
	case p.PID >= 0:
		o.Attribution = ByPID
	}
	if owners == nil {
		return o
	}
	if path := owners.path(p.UUID); path != "" && o.Path == "" {
		o.Path, o.Attribution = path, ByUUID
	}
	o.Label = owners.label(o.Path)
	return o
}
