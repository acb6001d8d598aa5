// Package reportpage looks at the report's page as a browser shows it.
package reportpage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/conformance"
	"github.com/cipherlens/cipherlens/internal/report"
	"github.com/cipherlens/cipherlens/internal/sensor"
)

// browser gives a tab of headless Chromium; the test is skipped where there is none.
func browser(tb testing.TB) context.Context {
	tb.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		tb.Skip("no Chromium here")
	}
	// Without a profile named, chromedp makes one and removes what it can of it: helpers of Chromium write there for a moment after it has ended, which
	// tb.TempDir would take for a failure.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	tb.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	tb.Cleanup(cancel)
	tb.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // an end in order, unless there was none
	return ctx
}

// demo is the page of the bundled tree and capture, made by the program itself.
func demo(tb testing.TB) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "page.html")
	run := exec.Command("../../build/cipherlens.ext", "report", "--root", "../demo/root", "--capture", "../demo/capture.pcapng", "--config", "../demo/config.yaml", "-o", out)
	if _, err := os.Stat(run.Path); err != nil {
		tb.Skip("build/cipherlens.ext is not built")
	}
	text, err := run.CombinedOutput()
	require.NoError(tb, err, "%s", text)
	return out
}

// complaints are what a browser has to say against a page: script errors, refused loads, and requests for anything but the page itself.
func complaints(ctx context.Context, url string) func() []string {
	var mu sync.Mutex
	var said []string
	add := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, fmt.Sprintf(format, args...))
	}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			add("exception: %s", e.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			add("console: %v", e.Type)
		case *log.EventEntryAdded:
			add("log: %s", e.Entry.Text)
		case *network.EventRequestWillBeSent:
			if e.Request.URL != url {
				add("request: %s", e.Request.URL)
			}
		}
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

func TestLayout(t *testing.T) {
	file := demo(t)
	ctx := browser(t)
	said := complaints(ctx, "file://"+file)
	require.NoError(t, chromedp.Run(ctx, network.Enable(), log.Enable(), runtime.Enable()))
	for _, width := range []int64{320, 800, 1400} {
		for _, scheme := range []string{"light", "dark"} {
			var inner, needed float64
			var background string
			require.NoError(t, chromedp.Run(ctx,
				emulation.SetDeviceMetricsOverride(width, 900, 1, false),
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
				chromedp.Navigate("file://"+file),
				chromedp.Evaluate("window.innerWidth", &inner),
				chromedp.Evaluate("document.documentElement.scrollWidth", &needed),
				chromedp.Evaluate("getComputedStyle(document.body).backgroundColor", &background),
			))
			require.LessOrEqual(t, needed, inner, "at width %d the page scrolls sideways", width)
			require.Equal(t, map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme], background)
		}
	}
	require.Empty(t, said())
}

// TestKeyboardAndScreenReader: Tab reaches the skip link first and every folded part; each picture and table says what it is.
func TestKeyboardAndScreenReader(t *testing.T) {
	file := demo(t)
	ctx := browser(t)
	var first, opened string
	var tabs, focusable int
	require.NoError(t, chromedp.Run(ctx, chromedp.Navigate("file://"+file),
		chromedp.KeyEvent(kb.Tab), chromedp.Evaluate("document.activeElement.textContent", &first),
		chromedp.Evaluate("document.querySelectorAll('a,summary,[tabindex=\"0\"]').length", &focusable)))
	require.Equal(t, "Skip to the findings", first)
	reached := map[string]bool{}
	for tabs = 1; tabs < focusable; tabs++ {
		var tag string
		require.NoError(t, chromedp.Run(ctx, chromedp.KeyEvent(kb.Tab), chromedp.Evaluate("document.activeElement.tagName", &tag)))
		reached[tag] = true
		if tag == "SUMMARY" && opened == "" {
			require.NoError(t, chromedp.Run(ctx, chromedp.KeyEvent(kb.Enter), chromedp.Evaluate("String(document.activeElement.parentElement.open)", &opened)))
		}
	}
	require.Equal(t, "true", opened, "Enter opens what is folded")
	require.True(t, reached["A"] && reached["DIV"], "links and wide tables: %v", reached)

	// The protocol's own types lag behind the browser's words, so only what is asked for is read.
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value string }
		}
	}
	require.NoError(t, chromedp.Run(ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		var raw jsontext.Value
		if err := cdp.Execute(ctx, accessibility.CommandGetFullAXTree, nil, &raw); err != nil {
			return err
		}
		return json.Unmarshal(raw, &tree)
	})))
	roles := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		roles[n.Role.Value]++
		switch n.Role.Value {
		case "image", "graphics-document", "SvgRoot", "heading", "link", "table", "article":
			require.NotEmpty(t, n.Name.Value, "a %s without a name", n.Role.Value)
		}
	}
	require.GreaterOrEqual(t, roles["heading"], 7, "%v", roles)
	require.GreaterOrEqual(t, roles["table"], 3, "%v", roles)
	require.Equal(t, 2, roles["article"])
}

// TestPrints: every finding is on paper, and nothing is cut off.
func TestPrints(t *testing.T) {
	file := demo(t)
	ctx := browser(t)
	var pdf []byte
	require.NoError(t, chromedp.Run(ctx, chromedp.Navigate("file://"+file), chromedp.ActionFunc(func(ctx context.Context) (err error) {
		pdf, _, err = page.PrintToPDF().WithPrintBackground(true).Do(ctx)
		return err
	})))
	tool, err := exec.LookPath("pdftotext")
	if err != nil {
		require.Greater(t, len(pdf), 10_000)
		t.Skip("no pdftotext to read the paper with")
	}
	name := filepath.Join(t.TempDir(), "page.pdf")
	require.NoError(t, os.WriteFile(name, pdf, 0o600))
	text, err := exec.Command(tool, "-layout", name, "-").Output()
	require.NoError(t, err)
	for _, want := range []string{"com.apple.metadata.mdsync", "com.northwind.telemetryd", "CCCryptorCreate", "All 8 flows", "What was seen, and what not"} {
		require.Contains(t, string(text), want)
	}
}

// BenchmarkOpen opens the page of 100,000 flows.
func BenchmarkOpen(b *testing.B) {
	var d report.Data
	verdicts := []conformance.Verdict{conformance.TLS, conformance.Random, conformance.KnownProtocol, conformance.Structured, conformance.QUIC}
	for i := range 100_000 {
		remote := netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})
		d.Flows = append(d.Flows, sensor.Flow{Protocol: 6, Direction: sensor.Outbound, FirstSeen: int64(i), LastSeen: int64(i + 40), Remote: netip.AddrPortFrom(remote, 443),
			Owner: sensor.Owner{Label: fmt.Sprint("com.example.", i%200)}, Judgement: conformance.Judgement{Verdict: verdicts[i%len(verdicts)]}})
		if i%5 == 1 {
			d.Findings = append(d.Findings, report.Finding{"severity": "high", "launchd_label": fmt.Sprint("com.example.", i%200), "remote_address": remote.String(), "remote_port": "443", "protocol": "6", "verdict": "random"})
		}
	}
	d.Title, d.Shapes, d.Threshold = "100,000 flows", &report.Shapes{}, conformance.DefaultThreshold
	name := filepath.Join(b.TempDir(), "page.html")
	f, err := os.Create(name)
	require.NoError(b, err)
	require.NoError(b, report.Write(f, d))
	info, err := f.Stat()
	require.NoError(b, err)
	require.NoError(b, f.Close())
	ctx := browser(b)
	require.NoError(b, chromedp.Run(ctx))
	for b.Loop() {
		require.NoError(b, chromedp.Run(ctx, chromedp.Navigate("file://"+name)))
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB")
}
