package launchd

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJobsOfEveryPlace(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("/usr/local/bin/tool", machO)
	tr.link("../usr/local/bin/tool", "/opt/tool")
	tests := []struct {
		plist, domain, user string
	}{
		{"/System/Library/LaunchDaemons/a.plist", DomainSystem, ""},
		{"/System/Library/LaunchAgents/a.plist", DomainAgent, ""},
		{"/System/Library/LaunchAngels/a.plist", DomainAngel, ""},
		{"/System/Cryptexes/App/System/Library/LaunchDaemons/a.plist", DomainSystem, ""},
		{"/Library/Apple/System/Library/LaunchDaemons/a.plist", DomainSystem, ""},
		{"/Library/LaunchDaemons/a.plist", DomainSystem, ""},
		{"/Library/LaunchDaemons/.hidden.plist", DomainSystem, ""},
		{"/Library/LaunchAgents/A.PLIST", DomainAgent, ""},
		{"/Users/ada/Library/LaunchAgents/a.plist", DomainUser, "ada"},
		{"/var/root/Library/LaunchAgents/a.plist", DomainUser, "root"},
		{"/private/homes/eve/Library/LaunchAgents/a.plist", DomainUser, "eve"},
	}
	for _, tt := range tests {
		tr.job(tt.plist, label("l"+tt.plist)+"<key>Program</key><string>/opt/tool</string>")
	}
	tr.write("/Library/LaunchDaemons/._a.plist", "\x00\x05\x16\x07")
	tr.write("/Library/LaunchDaemons/readme.txt", "no job")
	tr.write("/Users/.localized", "")
	tr.write("/Users/bob/Library/LaunchAgents", "a file where the folder should be")
	tr.write(dslocal+"/_service.plist", xmlPlist(`<key>name</key><array><string>_service</string></array><key>home</key><array><string>/</string></array>`))
	tr.write(dslocal+"/eve.plist", xmlPlist(`<key>name</key><array><string>eve</string></array><key>uid</key><array><string>502</string></array>
		<key>home</key><array><string>/private/homes/eve</string></array>`))
	jobs := tr.jobs()
	require.Len(t, jobs, len(tests))
	for _, tt := range tests {
		j := jobs[tt.plist]
		require.NoError(t, j.Err)
		require.Equal(t, Job{Label: "l" + tt.plist, PlistPath: tt.plist, Domain: tt.domain, Username: tt.user, Program: "/opt/tool",
			Executable: "/usr/local/bin/tool", Enabled: true}, j)
	}
}
