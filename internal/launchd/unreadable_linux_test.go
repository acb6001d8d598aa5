package launchd

import (
	"context"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asNobody runs f without root's right to read everything, on one thread.
func asNobody(t *testing.T, f func()) {
	if os.Geteuid() != 0 {
		f()
		return
	}
	const nobody = 65534
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, err := unix.SetfsuidRetUid(nobody)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Setfsuid(0)) }()
	f()
}

func TestUnreadableFilesAndFolders(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	good := label("good") + "<key>Program</key><string>/opt/agent</string>"
	tr.write("/opt/agent", machO)
	tr.write("/opt/secret", machO)
	tr.job("/Library/LaunchDaemons/a.plist", good)
	tr.job("/Library/LaunchDaemons/b.plist", good)
	tr.job("/Library/LaunchDaemons/c.plist", label("c")+"<key>Program</key><string>/opt/secret</string>")
	tr.job("/Users/ada/Library/LaunchAgents/a.plist", good)
	for _, name := range []string{"/Library/LaunchDaemons/a.plist", "/opt/secret", "/Users/ada/Library/LaunchAgents"} {
		require.NoError(t, os.Chmod(tr.path(name), 0))
	}
	root := tr.root()
	var jobs []Job
	var errs []error
	asNobody(t, func() { jobs, errs = Jobs(context.Background(), root) })
	require.NoError(t, os.Chmod(tr.path("/Users/ada/Library/LaunchAgents"), 0o700)) //nolint:gosec // so that it can be removed
	require.Len(t, errs, 1)
	require.EqualError(t, errs[0], "launchd: open /Users/ada/Library/LaunchAgents: permission denied")
	require.Len(t, jobs, 3)
	require.EqualError(t, jobs[0].Err, "launchd: /Library/LaunchDaemons/a.plist: permission denied")
	require.NoError(t, jobs[1].Err)
	require.EqualError(t, jobs[2].Err, "launchd: /Library/LaunchDaemons/c.plist: Program: /opt/secret: permission denied")
	require.Equal(t, "c", jobs[2].Label)
}
