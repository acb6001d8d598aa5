package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A benignResult is what the sensors made of one program.
type benignResult struct {
	program
	Address  string
	Error    string         // of the client
	Verdicts map[string]int // flows to the program's server, by verdict and protocol
	Alerts   int            // flows whose verdict is an alert
	Findings map[string]int // lines of the detection, by sensor
	Hunted   int            // rows of an0402-hunt/payload
}

// hostOf is a program's server address.
func hostOf(i int) string { return address(200, 1+i).String() }

// lacking says what a program needs and is not here.
func (p program) lacking() string {
	for _, need := range p.Needs {
		_, err := exec.LookPath(need)
		if strings.HasPrefix(need, "/dev/") {
			_, err = os.Stat(need)
		}
		if err != nil {
			return need
		}
	}
	return ""
}

// debianPackages are what install makes sure of.
var debianPackages = strings.Fields(`curl openssl openssh-client openssh-server git openvpn strongswan-charon strongswan-swanctl postgresql mariadb-server mariadb-client syncthing chrony
	knot-dnsutils bind9-dnsutils swaks libnet-ssleay-perl dovecot-imapd chromium nginx ffmpeg iputils-ping iproute2`)

func install(ctx context.Context) error {
	if err := exec.CommandContext(ctx, "apt-get", "update", "-qq").Run(); err != nil {
		return fmt.Errorf("apt-get update: %w", err)
	}
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"install", "-y", "-qq", "--no-install-recommends"}, debianPackages...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get install: %w: %s", err, out)
	}
	return nil
}

// script makes a program's script a command; it is killed with all that it started when ctx ends.
func script(ctx context.Context, o options, i int, side, text string) (*exec.Cmd, *bytes.Buffer, error) {
	p := programs()[i]
	dir := filepath.Join(o.work, "benign", p.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "S="+hostOf(i), "D="+dir, "B="+filepath.Join(o.bin, "benign"), "P="+filepath.Join(o.bin, "benign-plain"), "SIDE="+side, "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	return cmd, &out, nil
}

// startServers starts every program's server on the other host, and gives the names of those that are up.
func startServers(ctx context.Context, o options) []string {
	var up []string
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i, p := range programs() {
		if p.lacking() != "" || (o.quick && p.Slow) {
			continue
		}
		wait.Go(func() {
			if err := startServer(ctx, o, i, p); err != nil {
				fmt.Fprintf(os.Stderr, "server of %s: %v\n", p.Name, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			up = append(up, p.Name)
		})
	}
	wait.Wait()
	return up
}

func startServer(ctx context.Context, o options, i int, p program) error {
	cmd, out, err := script(ctx, o, i, "far", p.Server)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	at := net.JoinHostPort(hostOf(i), fmt.Sprint(p.Port))
	for range 300 {
		select {
		case err := <-ended:
			return fmt.Errorf("ended: %w: %s", err, out)
		case <-time.After(100 * time.Millisecond):
		}
		if p.Port == 0 {
			return nil
		}
		if c, err := net.DialTimeout("tcp", at, time.Second); err == nil {
			return c.Close()
		}
	}
	return errors.New("does not listen after 30 s")
}

// benignTime is how long the programs' clients take, about.
func (o options) benignTime() time.Duration {
	if o.quick {
		return 12 * time.Second
	}
	return 45 * time.Second
}

// runBenign runs the clients, a few at a time, and says which programs were left out.
func runBenign(ctx context.Context, o options, up []string) (all []benignResult, skipped []string) {
	ctx, cancel := context.WithTimeout(ctx, o.benignTime())
	defer cancel()
	var wait sync.WaitGroup
	places := make(chan struct{}, 6)
	results := make([]*benignResult, len(programs()))
	for i, p := range programs() {
		if need := p.lacking(); need != "" {
			skipped = append(skipped, p.Name+": "+need+" is missing")
			continue
		}
		if o.quick && p.Slow {
			skipped = append(skipped, p.Name+": not in the quick campaign")
			continue
		}
		if !slices.Contains(up, p.Name) {
			skipped = append(skipped, p.Name+": its server did not start")
			continue
		}
		wait.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			results[i] = runClient(ctx, o, i, p)
		})
	}
	wait.Wait()
	for _, r := range results {
		if r != nil {
			all = append(all, *r)
		}
	}
	return all, skipped
}

func runClient(ctx context.Context, o options, i int, p program) *benignResult {
	r := &benignResult{program: p, Address: hostOf(i), Verdicts: map[string]int{}, Findings: map[string]int{}}
	cmd, out, err := script(ctx, o, i, "near", p.Client)
	if err == nil {
		err = cmd.Run()
	}
	if err != nil {
		r.Error = fmt.Sprintf("%v: %s", err, lastLine(out))
		fmt.Fprintf(os.Stderr, "client of %s: %v: %s\n", p.Name, err, out)
	}
	return r
}

func lastLine(out *bytes.Buffer) string {
	if out == nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	return lines[len(lines)-1]
}

// collect counts what the sensors say of the program's flows.
func (r *benignResult) collect(sensors []*sensor, rows map[string][]map[string]string) {
	for _, row := range rows[embedded] {
		if a := row["remote_address"]; a != r.Address && a != r.Also {
			continue
		}
		kind := row["verdict"]
		if row["app_protocol"] != "" {
			kind += " (" + row["app_protocol"] + ")"
		}
		r.Verdicts[kind]++
		if row["verdict"] == "random" || row["verdict"] == "tls_mimic" {
			r.Alerts++
		}
	}
	for _, row := range rows[hunted] {
		if a := row["remote_address"]; a == r.Address || a == r.Also {
			r.Hunted++
		}
	}
	for _, s := range sensors {
		for _, f := range s.findings {
			if a := f.Columns["remote_address"]; a == r.Address || a == r.Also {
				r.Findings[s.Name]++
			}
		}
	}
}

// settings writes the sensors' settings: none, and those with the shipped rules and two more that approve what is random by nature (the shipped ones go by
// Apple's team ids, which Linux programs do not have); and gives the files' names.
func (c *campaign) settings() (none, approved string, err error) {
	dir := filepath.Join(c.work, "config", "allowlist.d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	var rules strings.Builder
	rules.WriteString("rules:\n")
	for i, p := range programs() {
		if p.ByNature != "" {
			fmt.Fprintf(&rules, "  - name: %s\n    path: %s\n    verdicts: [random]\n    networks: [%s]\n    ports: [%d]\n    approved_by: campaign\n    reason: %q\n",
				p.Name, filepath.Join(c.bin, "benign-plain"), hostOf(i), p.Port, p.ByNature)
		}
	}
	shipped, err := filepath.Glob(filepath.Join(c.allowlist, "*.yaml"))
	if err != nil {
		return "", "", err
	}
	for _, file := range shipped {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o600)
		}
		if err != nil {
			return "", "", err
		}
	}
	none, approved = filepath.Join(c.work, "none.yaml"), filepath.Join(c.work, "config", "config.yaml")
	defaults := []byte("record_sni: alerts\n")
	return none, approved, errors.Join(os.WriteFile(none, defaults, 0o600), os.WriteFile(approved, defaults, 0o600),
		os.WriteFile(filepath.Join(dir, "campaign.yaml"), []byte(rules.String()), 0o600))
}
