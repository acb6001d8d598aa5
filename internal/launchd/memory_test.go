package launchd

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestScannerNoticesEveryChange compares a Scanner that remembers with one that does not, after each thing that can happen to a job.
func TestScannerNoticesEveryChange(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	const list, agent = "/Library/LaunchDaemons/a.plist", "/Users/ada/Library/LaunchAgents/b.plist"
	tr.write("/usr/local/bin/tool", machO)
	tr.write("/bin/sh", machO)
	tr.link("/usr/local/bin/tool", "/opt/tool")
	tr.write("/opt/run.sh", "#!/bin/sh\nexec /opt/late\n")
	tr.job(list, label("a")+"<key>Program</key><string>/opt/tool</string>")
	tr.job(agent, label("b")+programArguments("/bin/sh", "/opt/run.sh"))
	root := tr.root()
	scanner := NewScanner(root)
	before, errs := scanner.Jobs(t.Context())
	require.Empty(t, errs)
	for _, change := range []struct {
		name string
		do   func()
	}{
		{"nothing", func() {}},
		{"another property list", func() { tr.job(list, label("renamed")+"<key>Program</key><string>/opt/tool</string>") }},
		{"a link elsewhere", func() {
			tr.write("/usr/local/bin/other", machO)
			require.NoError(t, os.Remove(tr.path("/opt/tool")))
			tr.link("/usr/local/bin/other", "/opt/tool")
		}},
		{"an executable becomes a script", func() { tr.write("/usr/local/bin/other", "#!/bin/sh\nopenssl enc -aes-256-cbc\n") }},
		{"what a script names appears", func() { tr.write("/opt/late", machO) }},
		{"a script's text", func() { tr.write("/opt/run.sh", "#!/bin/sh\nopenssl enc -rc4\n") }},
		{"an executable goes", func() { require.NoError(t, os.Remove(tr.path("/usr/local/bin/other"))) }},
		{"launchctl disable", func() { tr.write(overrideFolder+"/disabled.plist", xmlPlist("<key>renamed</key><true/>")) }},
		{"a job goes", func() { require.NoError(t, os.Remove(tr.path(list))) }},
	} {
		change.do()
		got, gotErrs := scanner.Jobs(t.Context())
		want, wantErrs := Jobs(t.Context(), root)
		require.Equal(t, texts(wantErrs), texts(gotErrs), change.name)
		require.Equal(t, want, got, change.name)
		if change.name != "nothing" {
			require.NotEqual(t, before, got, "%s changes something", change.name)
		}
		before = got
	}
}

func texts(errs []error) (all []string) {
	for _, err := range errs {
		all = append(all, err.Error())
	}
	return all
}

func TestScannerReadsNothingTwice(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/usr/local/bin/tool", machO)
	tr.job("/Library/LaunchDaemons/a.plist", label("a")+"<key>Program</key><string>/usr/local/bin/tool</string>")
	scanner := NewScanner(tr.root())
	_, _ = scanner.Jobs(t.Context())
	require.Len(t, scanner.known, 1)
	for from, m := range scanner.known {
		m.job.Label = "remembered"
		scanner.known[from] = m
	}
	jobs, _ := scanner.Jobs(t.Context())
	require.Equal(t, "remembered", jobs[0].Label)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = scanner.Jobs(ctx)
	require.Len(t, scanner.known, 1, "a scan that was cut short forgets nothing")
}

func TestScannerRemembersNoMoreThanItMay(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	long := strings.Repeat("x", 300_000)
	for i := range 100 {
		tr.job(fmt.Sprintf("/Users/eve/Library/LaunchAgents/%d.plist", i), label("a")+"<!--"+long+"-->")
	}
	scanner := NewScanner(tr.root())
	jobs, errs := scanner.Jobs(t.Context())
	require.Empty(t, errs)
	require.Len(t, jobs, 100)
	require.True(t, len(scanner.known) == maxRemembered/601_000, "%d", len(scanner.known))
	again, _ := scanner.Jobs(t.Context())
	require.Len(t, again, 100)
}
