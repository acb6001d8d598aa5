package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cipherlens/cipherlens/testdata/emulation/wire"
)

// A campaign is everything that was measured.
type campaign struct {
	options
	began     time.Time
	recording string
	flows     []result
	benign    []benignResult
	skipped   []string // benign programs that did not run, and why
	sensors   []string
	losses    []string // what the embedded sensor says that it did not see
	macRows   []macRow
	macNote   string
}

// A result is what became of one client.
type result struct {
	wire.Flow
	Log     wire.Log
	Verdict string
	Reasons string
	Found   map[string]finding // by sensor
	Low     bool               // the embedded sensor has it, of a severity that only the hunt pack shows
	Hunted  bool               // an0402-hunt/payload lists it: random bytes within a known protocol
	Needed  int                // bytes after which it is an alert if it ends there; 0: never
	Open    int                // the same while it goes on
}

// late is the time from the flow's first byte to the line in the log.
func (r *result) late(sensor string) (time.Duration, bool) {
	f, ok := r.Found[sensor]
	return f.Seen.Sub(r.Log.First), ok
}

// rightProcess says whether the finding names the client's process and executable.
func (r *result) rightProcess(sensor string) bool {
	c := r.Found[sensor].Columns
	return c["pid"] == fmt.Sprint(r.Log.PID) && c["path"] == r.Log.Path
}

const embedded, withAllowlist = "embedded", "allowlist"

// hunted names the rows of an0402-hunt/payload.
const hunted = "hunt"

// measure runs clients and programs under the sensors.
func measure(ctx context.Context, o options, servers []string) (*campaign, error) {
	c := &campaign{options: o, began: time.Now(), recording: filepath.Join(o.work, "link.pcapng")}
	if err := c.executables(); err != nil {
		return nil, err
	}
	recorded := make(chan error, 1)
	started := make(chan struct{})
	recording, stop := context.WithCancel(ctx)
	defer stop()
	go func() { recorded <- record(recording, c.recording, started) }()
	select {
	case <-started:
	case err := <-recorded:
		return nil, err
	}
	plan := o.plan()
	spread := time.Duration(float64(len(plan)) / o.rate * float64(time.Second))
	length := (3*time.Second + max(spread, o.benignTime()) + o.rest()).Round(time.Second)
	sensors, err := c.startSensors(ctx, length)
	if err != nil {
		return nil, err
	}
	fmt.Printf("emulate: %d clients and the benign programs under %d sensors, %s\n", len(plan), len(sensors), length)
	for _, s := range sensors {
		if err := s.captures(ctx); err != nil {
			return nil, err
		}
	}
	var programs sync.WaitGroup
	programs.Go(func() { c.benign, c.skipped = runBenign(ctx, o, servers) })
	c.flows = c.clients(ctx, plan)
	programs.Wait()
	rows := map[string][]map[string]string{}
	for _, s := range sensors {
		if s.Name == "osqueryd" {
			time.Sleep(2 * o.interval)
			_ = s.cmd.Process.Signal(os.Interrupt)
		}
		seen, err := s.wait()
		if err != nil && s.Name != "osqueryd" {
			return nil, err
		}
		rows[s.Name] = seen
	}
	if rows[hunted], err = sensors[0].snapshot("hunt_payload"); err != nil {
		return nil, err
	}
	coverage, err := sensors[0].snapshot("an0402_coverage")
	if err != nil {
		return nil, err
	}
	for _, row := range coverage {
		if (row["name"] == "capture" || row["name"] == "attribution") && row["state"] != "ok" {
			c.losses = append(c.losses, row["name"]+": "+row["detail"])
		}
	}
	stop()
	if err := <-recorded; err != nil {
		return nil, err
	}
	return c, c.collect(sensors, rows)
}

// plan is the campaign's flows; the quick one has two shapes.
func (o options) plan() []wire.Flow {
	plan := wire.Plan(o.runs)
	if o.quick {
		plan = slices.DeleteFunc(plan, func(f wire.Flow) bool { return !slices.Contains([]string{"interactive", "check-in"}, f.Shape.Name) })
	}
	rand.New(rand.NewPCG(o.seed, 0)).Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	return plan
}

func (c *campaign) startSensors(ctx context.Context, length time.Duration) ([]*sensor, error) {
	none, approving, err := c.settings()
	if err != nil {
		return nil, err
	}
	plain, err := startSensor(ctx, c.options, embedded, none, length)
	if err != nil {
		return nil, err
	}
	approved, err := startSensor(ctx, c.options, withAllowlist, approving, length)
	if err != nil {
		return nil, err
	}
	all := []*sensor{plain, approved}
	if c.osqueryd != "" {
		real, err := startOsqueryd(ctx, c.options)
		if err != nil {
			return nil, err
		}
		all = append(all, real)
	}
	for _, s := range all {
		c.sensors = append(c.sensors, s.Name)
	}
	return all, nil
}

// clients starts each flow's client under the name of its format, at the campaign's rate, and gives what each said.
func (c *campaign) clients(ctx context.Context, plan []wire.Flow) []result {
	all := make([]result, len(plan))
	tick := time.NewTicker(time.Duration(float64(time.Second) / c.rate))
	defer tick.Stop()
	var wait sync.WaitGroup
	for i, f := range plan {
		all[i] = result{Flow: f, Found: map[string]finding{}}
		wait.Go(func() {
			if err := c.client(ctx, f, &all[i].Log); err != nil {
				all[i].Log.Error = err.Error()
			}
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	wait.Wait()
	return all
}

func (c *campaign) client(ctx context.Context, f wire.Flow, said *wire.Log) error {
	cmd := exec.CommandContext(ctx, c.executable(f.Format.Name), "-flow", f.Name(), "-server", f.Server.String(), "-seed", fmt.Sprint(c.seed))
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, errOut.String())
	}
	return json.Unmarshal(out.Bytes(), said)
}

// executables copies the client under the name of each format. All are written before the first is started: a file that is open for writing elsewhere
// cannot be executed.
func (c *campaign) executables() error {
	if err := os.MkdirAll(filepath.Join(c.work, "implants"), 0o755); err != nil {
		return err
	}
	for _, f := range wire.Formats() {
		from := map[bool]string{true: "peer", false: "peer-plain"}[f.Dressed]
		data, err := os.ReadFile(filepath.Join(c.bin, from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.executable(f.Name), data, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (c *campaign) executable(name string) string { return filepath.Join(c.work, "implants", name) }

// collect puts the sensors' words to the flows.
func (c *campaign) collect(sensors []*sensor, rows map[string][]map[string]string) error {
	heard, err := talks(c.recording)
	if err != nil {
		return err
	}
	verdicts := map[string]map[string]string{}
	for _, row := range rows[embedded] {
		verdicts[row["remote_address"]+":"+row["remote_port"]] = row
	}
	listed := map[string]bool{}
	for _, row := range rows[hunted] {
		listed[row["remote_address"]+":"+row["remote_port"]] = true
	}
	for i := range c.flows {
		r := &c.flows[i]
		key := r.Server.String()
		r.Hunted = listed[key]
		r.Verdict, r.Reasons = verdicts[key]["verdict"], verdicts[key]["reasons"]+" "+verdicts[key]["violations"]
		if verdicts[key]["path"] == "" {
			r.Reasons += " owner not known"
		}
		for _, s := range sensors {
			if f, ok := s.findings[key]; ok {
				r.Found[s.Name] = f
			}
			if _, ok := s.low[key]; ok && s.Name == embedded {
				r.Low = true
			}
		}
		for _, local := range r.Log.Local {
			if t := heard[local+" "+key]; t != nil && r.Needed == 0 {
				r.Needed, r.Open = t.needed()
			}
		}
		if c.misses != "" && r.Format.Class != wire.Blind && len(r.Found) == 0 {
			if err := keepMiss(c.recording, c.misses, r.Name(), r.Server); err != nil {
				return err
			}
		}
	}
	for i := range c.benign {
		c.benign[i].collect(sensors, rows)
	}
	return nil
}

func (r *result) mustBeFound() bool {
	return r.Log.Error == "" && (r.Format.Class == wire.Random || r.Format.Class == wire.Mimic)
}

// verdict says in one line how it went, and fails where that is less than what is asked for.
func (c *campaign) verdict() error {
	found, must := 0, 0
	for i := range c.flows {
		if c.flows[i].mustBeFound() {
			must++
			if _, ok := c.flows[i].Found[embedded]; ok {
				found++
			}
		}
	}
	wrong := 0
	for _, b := range c.benign {
		wrong += b.Findings[withAllowlist]
	}
	fmt.Printf("emulate: %d of %d flows that should be found were; %d findings on benign programs with the allowlist; %s\n", found, must, wrong, c.out)
	if c.least > 0 && (wrong > 0 || float64(found) < c.least*float64(must)) {
		return fmt.Errorf("at least %.0f %% and no finding on benign programs were asked for", 100*c.least)
	}
	return nil
}

// address is one of the other host's.
func address(third, fourth int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, byte(third), byte(fourth)})
}
