package launchd

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJobsInsideApplications(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	info := func(bundle, id, more string) {
		tr.write(bundle+"/Contents/Info.plist", xmlPlist("<key>CFBundleIdentifier</key><string>"+id+"</string><key>CFBundleExecutable</key><string>main</string>"+more))
		tr.write(bundle+"/Contents/MacOS/main", machO)
	}
	const app = "/Applications/Vendor/Suite.app"
	tr.job(app+"/Contents/Library/LaunchDaemons/d.plist", label("d")+"<key>BundleProgram</key><string>Contents/MacOS/main</string>")
	tr.job(app+"/Contents/Library/LaunchAgents/a.plist", label("a")+"<key>BundleProgram</key><string>../../../../opt/x</string>")
	tr.write("/opt/x", machO)
	tr.write(app+"/Contents/MacOS/main", machO)
	info(app+"/Contents/Library/LoginItems/Helper.app", "login", "<key>LSEnvironment</key><dict><key>DYLD_INSERT_LIBRARIES</key><string>/l</string></dict>")
	info(app+"/Contents/Library/LoginItems/Helper.app/Contents/XPCServices/In.xpc", "inner", "")
	info(app+"/Contents/XPCServices/S.xpc", "xpc", `<key>XPCService</key><dict><key>EnvironmentVariables</key><dict><key>DYLD_INSERT_LIBRARIES</key>
		<string>/x:/y</string></dict></dict>`)
	info(app+"/Contents/PlugIns/E.appex", "ext", "")
	info(app+"/Contents/Library/SystemExtensions/N.systemextension", "sysext", "")
	tr.write(app+"/Contents/Frameworks/Sparkle.framework/Versions/B/XPCServices/I.xpc/Contents/Info.plist", xmlPlist("<key>CFBundleIdentifier</key><integer>1</integer>"))
	tr.link("Versions/B/XPCServices", app+"/Contents/Frameworks/Sparkle.framework/XPCServices")
	tr.link("../Applications", "/Applications/Vendor/Loop")
	jobs := tr.jobs()

	type row struct {
		label, domain, executable string
		insert                    []string
	}
	main := "/Contents/MacOS/main"
	want := map[string]row{
		app + "/Contents/Library/LaunchDaemons/d.plist": {"d", DomainApp, app + main, nil},
		app + "/Contents/Library/LaunchAgents/a.plist":  {"a", DomainApp, "/opt/x", nil},
		app + "/Contents/Library/LoginItems/Helper.app/Contents/Info.plist": {"login", DomainLoginItem, app + "/Contents/Library/LoginItems/Helper.app" + main,
			[]string{"/l"}},
		app + "/Contents/Library/LoginItems/Helper.app/Contents/XPCServices/In.xpc/Contents/Info.plist": {"inner", DomainXPC,
			app + "/Contents/Library/LoginItems/Helper.app/Contents/XPCServices/In.xpc" + main, nil},
		app + "/Contents/XPCServices/S.xpc/Contents/Info.plist":                              {"xpc", DomainXPC, app + "/Contents/XPCServices/S.xpc" + main, []string{"/x", "/y"}},
		app + "/Contents/PlugIns/E.appex/Contents/Info.plist":                                {"ext", DomainExtension, app + "/Contents/PlugIns/E.appex" + main, nil},
		app + "/Contents/Library/SystemExtensions/N.systemextension/Contents/Info.plist":     {"sysext", DomainSystemExtension, app + "/Contents/Library/SystemExtensions/N.systemextension" + main, nil},
		app + "/Contents/Frameworks/Sparkle.framework/XPCServices/I.xpc/Contents/Info.plist": {"", DomainXPC, "", nil},
	}
	require.Len(t, jobs, len(want))
	for name, w := range want {
		j := jobs[name]
		require.Equal(t, w, row{j.Label, j.Domain, j.Executable, j.InsertLibraries}, name)
		require.Equal(t, w.executable == "", j.Err != nil, "%s: %v", name, j.Err)
	}
	require.ErrorContains(t, jobs[app+"/Contents/Frameworks/Sparkle.framework/XPCServices/I.xpc/Contents/Info.plist"].Err,
		"CFBundleIdentifier: not a string")
}

// helperImage is a 64-bit Mach-O with one section, laid out after Apple's mach-o/loader.h.
func helperImage(t *testing.T, plist string) string {
	var b bytes.Buffer
	name := func(s string) (n [16]byte) { copy(n[:], s); return n }
	const header, command, section = 32, 72, 80
	at := uint32(header + command + section)
	for _, v := range []any{
		uint32(0xfeedfacf), uint32(0x0100000c), uint32(0), uint32(2), uint32(1), uint32(command + section), uint32(0), uint32(0),
		uint32(0x19), uint32(command + section), name("__TEXT"), uint64(1 << 32), uint64(0x4000), uint64(0), uint64(int(at) + len(plist)),
		uint32(5), uint32(5), uint32(1), uint32(0),
		name("__launchd_plist"), name("__TEXT"), uint64(1<<32 + int(at)), uint64(len(plist)), at, uint32(0), uint32(0), uint32(0), uint32(0), uint32(0),
		uint32(0), uint32(0),
	} {
		require.NoError(t, binary.Write(&b, binary.LittleEndian, v))
	}
	return b.String() + plist
}

func TestPrivilegedHelpers(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	const dir = "/Library/PrivilegedHelperTools/"
	tr.write(dir+"alone", helperImage(t, xmlPlist(label("alone")+"<key>MachServices</key><dict><key>alone</key><true/></dict>")))
	tr.write(dir+"installed", helperImage(t, xmlPlist(label("installed"))))
	tr.write(dir+"broken", helperImage(t, "<plist><dict>"))
	tr.write(dir+"plain", machO+"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	tr.write(dir+"readme.txt", "not a program")
	tr.job("/Library/LaunchDaemons/installed.plist", label("installed")+"<key>Program</key><string>"+dir+"installed</string>")
	jobs := tr.jobs()
	require.Len(t, jobs, 3)
	require.Equal(t, Job{Label: "alone", PlistPath: dir + "alone", Domain: DomainHelper, Program: dir + "alone", Executable: dir + "alone", Enabled: true}, jobs[dir+"alone"])
	require.Equal(t, dir+"installed", jobs["/Library/LaunchDaemons/installed.plist"].Executable)
	require.EqualError(t, jobs[dir+"broken"].Err, "launchd: "+dir+"broken: plist: xml: offset 13: unexpected end")
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/opt/agent", machO)
	program := "<key>Program</key><string>/opt/agent</string>"
	for _, name := range []string{"off", "on", "as-is", "agent", "half"} {
		body := label(name) + program
		if name == "on" {
			body += "<key>Disabled</key><true/>"
		}
		dir := "/Library/LaunchDaemons/"
		if name == "agent" || name == "half" {
			dir = "/Library/LaunchAgents/"
		}
		tr.job(dir+name+".plist", body)
	}
	user := func(name, uid string) {
		tr.job("/Users/"+name+"/Library/LaunchAgents/own.plist", label("own")+program)
		tr.write(dslocal+"/"+name+".plist", xmlPlist("<key>name</key><array><string>"+name+"</string></array><key>uid</key><array><string>"+uid+
			"</string></array><key>home</key><array><string>/Users/"+name+"</string></array>"))
	}
	user("ada", "501")
	user("bob", "502")
	tr.write(overrideFolder+"/disabled.plist", xmlPlist("<key>off</key><true/><key>on</key><false/><key>agent</key><true/>"))
	tr.write(overrideFolder+"/disabled.501.plist", xmlPlist("<key>own</key><true/><key>agent</key><true/><key>half</key><true/><key>off</key><false/>"))
	tr.write(overrideFolder+"/disabled.502.plist", xmlPlist("<key>agent</key><true/>"))
	tr.write(overrideFolder+"/loginitems.501.plist", "not read")
	jobs := tr.jobs()
	for name, want := range map[string]bool{
		"/Library/LaunchDaemons/off.plist": false, "/Library/LaunchDaemons/on.plist": true, "/Library/LaunchDaemons/as-is.plist": true,
		"/Library/LaunchAgents/agent.plist": false, "/Library/LaunchAgents/half.plist": true,
		"/Users/ada/Library/LaunchAgents/own.plist": false, "/Users/bob/Library/LaunchAgents/own.plist": true,
	} {
		require.Equal(t, want, jobs[name].Enabled, name)
	}
	require.NoError(t, os.WriteFile(tr.path(overrideFolder+"/disabled.plist"), []byte(xmlPlist("<key>off</key><string>x</string>")), 0o600))
	_, errs := Jobs(t.Context(), tr.root())
	require.Len(t, errs, 1)
	require.EqualError(t, errs[0], "launchd: "+overrideFolder+`/disabled.plist: "off": not a boolean`)
}
