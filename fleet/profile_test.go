package fleet

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"howett.net/plist"
)

// TestProfileGrantsFullDiskAccess reads the configuration profile as an MDM server does, and as Python's plistlib and plutil do where they are here.
func TestProfileGrantsFullDiskAccess(t *testing.T) {
	t.Parallel()
	const name = "gitops/lib/cipherlens-pppc.mobileconfig"
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	type grant struct {
		Identifier, IdentifierType, CodeRequirement, Authorization, Comment string
		StaticCode                                                          bool
	}
	var profile struct {
		PayloadType, PayloadIdentifier, PayloadUUID, PayloadScope, PayloadDisplayName string
		PayloadVersion                                                                int
		PayloadContent                                                                []struct {
			PayloadType, PayloadIdentifier, PayloadUUID, PayloadDisplayName string
			PayloadVersion                                                  int
			Services                                                        map[string][]grant
		}
	}
	format, err := plist.Unmarshal(data, &profile)
	require.NoError(t, err)
	require.Equal(t, plist.XMLFormat, format)
	require.Equal(t, "Configuration", profile.PayloadType)
	require.Equal(t, "System", profile.PayloadScope, "TCC policies are refused in user scope")
	require.Equal(t, 1, profile.PayloadVersion)
	require.Len(t, profile.PayloadContent, 1)
	payload := profile.PayloadContent[0]
	require.Equal(t, "com.apple.TCC.configuration-profile-policy", payload.PayloadType)
	require.NotEqual(t, profile.PayloadUUID, payload.PayloadUUID)
	require.Len(t, payload.Services, 1)
	require.Len(t, payload.Services["SystemPolicyAllFiles"], 1)
	g := payload.Services["SystemPolicyAllFiles"][0]
	require.Equal(t, "Allow", g.Authorization)
	require.Equal(t, "bundleID", g.IdentifierType)
	require.Equal(t, "io.osquery.agent", g.Identifier)
	require.Contains(t, g.CodeRequirement, `identifier "io.osquery.agent" and anchor apple generic`)
	require.Contains(t, g.CodeRequirement, `certificate leaf[subject.OU] = "3522FA9PXF"`)
	for _, tool := range [][]string{
		{"python3", "-c", "import plistlib, sys; plistlib.load(open(sys.argv[1], 'rb'))", name},
		{"plutil", "-lint", name},
	} {
		if _, err := exec.LookPath(tool[0]); err == nil {
			out, err := exec.CommandContext(t.Context(), tool[0], tool[1:]...).CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
	}
}
