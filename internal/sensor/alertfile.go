package sensor

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
	"unicode/utf8"

	"github.com/cipherlens/cipherlens/internal/clock"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/process"
	"github.com/cipherlens/cipherlens/internal/randomness"
	"github.com/cipherlens/cipherlens/internal/state"
)

// The file of alerts: one JSON object a line, the first says when it was written, each other is one alert.
const (
	alertsKind    = "cipherlens-alerts"
	alertsVersion = 2 // 1 had no contacts
	maxAlertsFile = 8 << 20
	maxAlertLine  = 32 << 10
	maxText       = 4096 // bytes of one text: PATH_MAX of Linux; macOS has 1,024
	maxWords      = 64   // in one list
)

// OpenAlerts opens the file of alerts at path for Options.Alerts.
func OpenAlerts(path string) (*state.File, error) {
	return state.Open(path, alertsKind, alertsVersion, maxAlertsFile)
}

// written is the file's first line.
type written struct {
	Wall  int64  `json:"wall"`  // nanoseconds since 1970
	Awake int64  `json:"awake"` // nanoseconds
	Boot  string `json:"boot"`
}

// alertRecord is one alert. No payload byte is in it, and a server's name only as record_sni allows.
type alertRecord struct {
	Age    int64 `json:"age"`    // nanoseconds from its last flow to when this was written
	Since  int64 `json:"since"`  // nanoseconds since 1970
	Opened int64 `json:"opened"` // nanoseconds since 1970, of the flow that stands for it

	Contacts *contactsRecord `json:"contacts,omitempty"`

	Protocol    uint8          `json:"protocol"`
	Local       netip.AddrPort `json:"local"`
	Remote      netip.AddrPort `json:"remote"`
	Inbound     bool           `json:"inbound,omitempty"`
	LastSeen    int64          `json:"last_seen"` // unix seconds
	Packets     [2]uint64      `json:"packets"`   // in, out
	Bytes       [2]uint64      `json:"bytes"`
	CommunityID string         `json:"community_id"`

	PID         int  `json:"pid"`
	Path        text `json:"path"`
	Name        text `json:"name"`
	UUID        text `json:"uuid,omitempty"`
	Label       text `json:"label,omitempty"`
	CDHash      text `json:"cdhash,omitempty"`
	Attribution text `json:"attribution,omitempty"`

	Responsible *responsibleRecord `json:"responsible,omitempty"`

	Verdict     conformance.Verdict `json:"verdict"`
	Confidence  float64             `json:"confidence"`
	Reasons     []string            `json:"reasons,omitempty"`
	Violations  []string            `json:"violations,omitempty"`
	AppProtocol text                `json:"app_protocol,omitempty"`
	TLSVersion  text                `json:"tls_version,omitempty"`
	SNI         text                `json:"sni,omitempty"`
	ALPN        text                `json:"alpn,omitempty"`
	JA4         text                `json:"ja4,omitempty"`
	HeaderBytes int                 `json:"header_bytes,omitempty"`
	Sample      randomness.Stats    `json:"sample"`
}

// responsibleRecord is who answers for the process.
type responsibleRecord struct {
	PID  int  `json:"pid"`
	Path text `json:"path"`
}

// text is a string that may hold any bytes, as paths do: where JSON's strings cannot, it is an array of one base64 string.
type text string

// MarshalJSON implements json.Marshaler.
func (s text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(s)) {
		return json.Marshal(string(s))
	}
	return json.Marshal([]string{base64.StdEncoding.EncodeToString([]byte(s))})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *text) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '[' {
		return json.Unmarshal(data, (*string)(s))
	}
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	if len(list) != 1 {
		return errors.New("not one text")
	}
	raw, err := base64.StdEncoding.DecodeString(list[0])
	*s = text(raw)
	return err
}

// write gives the file's body for these alerts, the last seen first, and how many had no room.
func (l *live) write(ctx context.Context, all []kept, now clock.Reading) (body []byte, left int) {
	flows := make([]Flow, len(all))
	for i := range all {
		flows[i] = all[i].first
	}
	nameless := l.settings.Current().RecordSNI == config.SNINone
	if nameless {
		l.approve(ctx, flows)
	}
	var out bytes.Buffer
	encode := json.NewEncoder(&out)
	_ = encode.Encode(written{now.Wall.UnixNano(), int64(now.Awake), now.Boot}) // cannot fail: plain numbers and text
	for i := range all {
		if nameless && flows[i].Judgement.SNI != "" {
			if flows[i].AllowlistRule != "" {
				continue // without the name, no rule would cover it any more: it would come back as a finding
			}
			all[i].first.Judgement.SNI = ""
		}
		before := out.Len()
		if err := encode.Encode(recordOf(&all[i], now.Awake)); err != nil || out.Len() > maxAlertsFile || out.Len()-before > maxAlertLine {
			out.Truncate(before)
			left++
		}
	}
	return out.Bytes(), left
}

func recordOf(v *kept, now time.Duration) alertRecord {
	f, o, j := &v.first, &v.first.Owner, &v.first.Judgement
	var responsible *responsibleRecord
	if r := o.Responsible; r != nil {
		responsible = &responsibleRecord{r.PID, text(r.Path)}
	}
	return alertRecord{
		Age: int64(max(0, now-v.last)), Since: v.since, Opened: f.opened, Contacts: v.calls.record(now),
		Protocol: f.Protocol, Local: f.Local, Remote: f.Remote, Inbound: f.Direction == Inbound, LastSeen: f.LastSeen,
		Packets: [2]uint64{f.PacketsIn, f.PacketsOut}, Bytes: [2]uint64{f.BytesIn, f.BytesOut}, CommunityID: f.CommunityID,
		PID: o.PID, Path: text(o.Path), Name: text(o.Name), UUID: text(o.UUID), Label: text(o.Label), CDHash: text(o.CDHash), Attribution: text(o.Attribution),
		Responsible: responsible,
		Verdict:     j.Verdict, Confidence: j.Confidence, Reasons: j.Reasons, Violations: j.Violations, AppProtocol: text(j.AppProtocol),
		TLSVersion: text(j.TLSVersion), SNI: text(j.SNI), ALPN: text(j.ALPN), JA4: text(j.JA4), HeaderBytes: j.HeaderBytes, Sample: j.Sample,
	}
}

// restored is one alert of the file and how old it is.
type restored struct {
	flow  Flow
	since int64
	age   time.Duration
	calls *contactsRecord // nil where the file is of version 1; its age is by now
}

// readAlerts reads the file's body. What one run has written the next one takes whole: a line that is not an alert is an error.
func readAlerts(body []byte, now clock.Reading) ([]restored, error) {
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	var w written
	if err := strict(first, &w); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	passed := clock.Age(clock.Reading{Wall: time.Unix(0, w.Wall), Awake: time.Duration(w.Awake), Boot: w.Boot}, now)
	var all []restored
	for n := 2; len(rest) > 0; n++ {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		var r alertRecord
		err := strict(line, &r)
		if err == nil {
			err = r.check()
		}
		if err == nil && len(all) == maxAlerts {
			err = fmt.Errorf("more than %d alerts", maxAlerts)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if r.Contacts != nil {
			r.Contacts.Age = int64(saturate(time.Duration(r.Contacts.Age), passed))
		}
		all = append(all, restored{r.flow(), r.Since, saturate(time.Duration(r.Age), passed), r.Contacts})
	}
	return all, nil
}

func saturate(a, b time.Duration) time.Duration {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func strict(line []byte, to any) error {
	if len(line) > maxAlertLine {
		return fmt.Errorf("%d bytes", len(line))
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if d.More() {
		return errors.New("more than one value")
	}
	return nil
}

// check says what no alert of ours can be.
func (r *alertRecord) check() error {
	switch {
	case !r.Verdict.Alert():
		return fmt.Errorf("verdict %q is no alert", r.Verdict)
	case r.Protocol != 6 && r.Protocol != 17:
		return fmt.Errorf("protocol %d", r.Protocol)
	case !r.Local.IsValid() || !r.Remote.IsValid():
		return errors.New("no address")
	case r.Age < 0 || r.Since < 0 || r.Opened < 0 || r.LastSeen < 0 || r.HeaderBytes < 0 || r.Sample.N < 0:
		return errors.New("a negative number")
	case r.PID < -1 || r.PID > math.MaxInt32:
		return fmt.Errorf("pid %d", r.PID)
	case r.Responsible != nil && (r.Responsible.PID < 1 || r.Responsible.PID > math.MaxInt32 || len(r.Responsible.Path) > maxText):
		return fmt.Errorf("responsible process %d", r.Responsible.PID)
	case len(r.Reasons) > maxWords || len(r.Violations) > maxWords:
		return errors.New("a long list")
	case len(r.CommunityID) > maxText:
		return errors.New("a long text")
	case r.Contacts != nil:
		if err := r.Contacts.check(); err != nil {
			return err
		}
	}
	for _, s := range [...]text{r.Path, r.Name, r.UUID, r.Label, r.CDHash, r.Attribution, r.AppProtocol, r.TLSVersion, r.SNI, r.ALPN, r.JA4} {
		if len(s) > maxText {
			return errors.New("a long text")
		}
	}
	return nil
}

func (r *alertRecord) flow() Flow {
	f := Flow{
		Protocol: r.Protocol, Local: r.Local, Remote: r.Remote, Direction: Outbound,
		FirstSeen: r.Opened / int64(time.Second), LastSeen: r.LastSeen, PacketsIn: r.Packets[0], PacketsOut: r.Packets[1],
		BytesIn: r.Bytes[0], BytesOut: r.Bytes[1], CommunityID: r.CommunityID, opened: r.Opened,
		Owner: Owner{PID: r.PID, Path: string(r.Path), Name: string(r.Name), UUID: string(r.UUID), Label: string(r.Label), CDHash: string(r.CDHash),
			Attribution: string(r.Attribution)},
		Judgement: conformance.Judgement{Verdict: r.Verdict, Confidence: r.Confidence, Reasons: r.Reasons, Violations: r.Violations,
			AppProtocol: string(r.AppProtocol), TLSVersion: string(r.TLSVersion), SNI: string(r.SNI), ALPN: string(r.ALPN), JA4: string(r.JA4),
			HeaderBytes: r.HeaderBytes, Sample: r.Sample, Final: true, Stable: true},
	}
	if r.Inbound {
		f.Direction = Inbound
	}
	if r.Responsible != nil {
		f.Owner.Responsible = &process.Responsible{PID: r.Responsible.PID, UID: -1, Path: string(r.Responsible.Path)}
	}
	return f
}

// contacts gives an alert's contacts by the clock that shows now. Of one without, its last flow is all that is known.
func (r *restored) contacts(now time.Duration) contacts {
	if r.calls == nil {
		var one contacts
		one.add(now-r.age, false)
		return one
	}
	return r.calls.contacts(now - time.Duration(r.calls.Age))
}

// restore takes the alerts of the file, before anything else is seen.
func (l *live) restore() {
	if l.file == nil {
		return
	}
	now := l.now()
	body, _, err := l.file.Load()
	if err == nil && body != nil {
		var all []restored
		if all, err = readAlerts(body, now); err != nil {
			err = l.file.SetAside(err)
		}
		for i := len(all) - 1; i >= 0; i-- { // the longest silent first
			r := &all[i]
			if r.age > keepAlerts {
				continue
			}
			l.kept.add(r.flow, now.Awake-r.age)
			k := alertKeyOf(&r.flow)
			if v := l.kept.by[k.id()]; v != nil {
				v.since = min(v.since, r.since)
				v.calls = r.contacts(now.Awake)
				v.flows = math.MaxInt32 // nothing takes back what an earlier run has shown
				l.restored++
			}
		}
	}
	if err != nil {
		l.unreadable = err
		l.log.Warn("alerts of the run before are lost", "error", err)
	}
}
