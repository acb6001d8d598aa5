package launchd

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
)

func readFixture(t testing.TB, name string) []byte {
	data, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	return data
}

// TestParseBackground compares with the records that Python archived (testdata/btm.py).
func TestParseBackground(t *testing.T) {
	t.Parallel()
	var want []struct {
		User, Identifier, Container, URL, Base string
		Type, Disposition                      int64
	}
	require.NoError(t, json.Unmarshal(readFixture(t, "btm.golden.json"), &want))
	items, err := parseBackground(readFixture(t, "BackgroundItems.btm"))
	require.NoError(t, err)
	require.Len(t, items, len(want))
	for i, w := range want {
		require.Equal(t, item{user: w.User, identifier: w.Identifier, container: w.Container, url: w.URL, base: w.Base,
			kind: w.Type, state: w.Disposition}, items[i])
	}
}

func TestBackgroundItemsBecomeJobs(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/private/var"+backgroundFolder[len("/var"):]+"/BackgroundItems-v13.btm", string(readFixture(t, "BackgroundItems.btm")))
	tr.write("/private/var"+backgroundFolder[len("/var"):]+"/BackgroundItems-v4.btm", "an old one that nobody reads")
	tr.link("private/var", "/var")
	tr.write(dslocal+"/ada.plist", xmlPlist(`<key>name</key><array><string>ada</string></array><key>uid</key><array><string>501</string></array>
		<key>home</key><array><string>/Users/ada</string></array><key>generateduid</key><array><string>1CAA5D2B-A526-49E2-9A6F-58CACBDF0AFB</string></array>`))
	const apps = "/Users/ada/My Apps/"
	program := "<key>Program</key><string>/opt/agent</string>"
	tr.write("/opt/agent", machO)
	for _, app := range []string{"Tray.app", "Tray.app/Contents/Library/LoginItems/Login.app", "Main.app"} {
		tr.write(apps+app+"/Contents/Info.plist", xmlPlist("<key>CFBundleIdentifier</key><string>"+app+"</string><key>CFBundleExecutable</key><string>main</string>"))
		tr.write(apps+app+"/Contents/MacOS/main", machO)
	}
	tr.job(apps+"Tray.app/Contents/Library/LaunchAgents/tray.plist", label("tray")+"<key>BundleProgram</key><string>Contents/MacOS/main</string>")
	tr.job("/Users/ada/Library/LaunchAgents/off.plist", label("off")+program)
	tr.job("/opt/daemons/opt.plist", label("opt")+program)
	tr.job("/Library/LaunchDaemons/known.plist", label("known")+program)

	jobs := tr.jobs()
	require.Len(t, jobs, 6)
	for plistPath, want := range map[string]Job{
		apps + "Tray.app/Contents/Library/LaunchAgents/tray.plist": {Label: "tray", Domain: DomainApp, Username: "ada",
			Program: apps + "Tray.app/Contents/MacOS/main", Executable: apps + "Tray.app/Contents/MacOS/main", Enabled: true},
		apps + "Tray.app/Contents/Library/LoginItems/Login.app/Contents/Info.plist": {Label: "Tray.app/Contents/Library/LoginItems/Login.app",
			Domain: DomainLoginItem, Username: "ada", Program: apps + "Tray.app/Contents/Library/LoginItems/Login.app/Contents/MacOS/main",
			Executable: apps + "Tray.app/Contents/Library/LoginItems/Login.app/Contents/MacOS/main", Enabled: true},
		apps + "Main.app/Contents/Info.plist": {Label: "Main.app", Domain: DomainLoginItem, Username: "ada",
			Program: apps + "Main.app/Contents/MacOS/main", Executable: apps + "Main.app/Contents/MacOS/main", Enabled: true},
		"/Users/ada/Library/LaunchAgents/off.plist": {Label: "off", Domain: DomainUser, Username: "ada", Program: "/opt/agent", Executable: "/opt/agent"},
		"/opt/daemons/opt.plist":                    {Label: "opt", Domain: DomainSystem, Program: "/opt/agent", Executable: "/opt/agent", Enabled: true},
		"/Library/LaunchDaemons/known.plist":        {Label: "known", Domain: DomainSystem, Program: "/opt/agent", Executable: "/opt/agent", Enabled: true},
	} {
		want.PlistPath = plistPath
		require.Equal(t, want, jobs[plistPath])
	}
}

// TestArchiveLoops: an archive whose users all have one list of items that is its own element ends.
func TestArchiveLoops(t *testing.T) {
	t.Parallel()
	refs := make([]any, 5_000)
	for i := range refs {
		refs[i] = plist.UID(2)
	}
	a, err := newArchive(map[string]any{
		"$top": map[string]any{"store": plist.UID(1)},
		"$objects": []any{"$null", map[string]any{"itemsByUserIdentifier": plist.UID(2)},
			map[string]any{"NS.keys": refs, "NS.objects": refs, "url": plist.UID(2), "NS.base": plist.UID(2), "NS.relative": plist.UID(2)}},
	})
	require.NoError(t, err)
	items, err := a.items()
	require.ErrorIs(t, err, errBudget)
	require.Len(t, items, maxItems)
}

func FuzzBTM(f *testing.F) {
	f.Add(readFixture(f, "BackgroundItems.btm"))
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		items, _ := parseBackground(data)
		folders := containers(items)
		for _, i := range items {
			if at := i.path(folders); at != "" {
				require.True(t, at[0] == '/', at)
			}
		}
		require.Less(t, time.Since(start), 5*time.Second)
	})
}
