package sensor

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/process"
)

func TestTheKernelsWordComesFirst(t *testing.T) {
	t.Parallel()
	file := image.Signature{Kind: image.SignedDeveloperID, TeamID: "ABCDE12345", CDHash: "aa", Checked: "pages"}
	for name, c := range map[string]struct {
		file                image.Signature
		kernel              *process.CodeIdentity
		archs               int
		kind, team, checked string
		err                 string
	}{
		"no such kernel":            {file, nil, 1, image.SignedDeveloperID, "ABCDE12345", "pages", ""},
		"it agrees":                 {file, &process.CodeIdentity{Flags: 1, CDHash: "aa"}, 1, image.SignedDeveloperID, "ABCDE12345", "kernel", ""},
		"a debugger may change it":  {file, &process.CodeIdentity{Flags: 0x10000001, CDHash: "aa"}, 1, image.SignedDeveloperID, "ABCDE12345", "pages", ""},
		"no longer valid":           {file, &process.CodeIdentity{Flags: 0x2, CDHash: "aa"}, 1, image.SignatureInvalid, "", "pages", "changed (flags 0x2)"},
		"the file was replaced":     {file, &process.CodeIdentity{Flags: 1, CDHash: "bb"}, 1, image.SignatureInvalid, "", "pages", "its cdhash is bb"},
		"perhaps the other slice":   {file, &process.CodeIdentity{Flags: 1, CDHash: "bb"}, 2, image.SignedDeveloperID, "ABCDE12345", "pages", ""},
		"signed after it started":   {file, &process.CodeIdentity{Flags: 0}, 1, image.SignatureInvalid, "", "pages", "unsigned"},
		"unsigned":                  {image.Signature{Kind: image.Unsigned}, &process.CodeIdentity{}, 1, image.Unsigned, "", "", ""},
		"the file's pages disagree": {image.Signature{Kind: image.SignatureInvalid, CDHash: "aa"}, &process.CodeIdentity{Flags: 1, CDHash: "aa"}, 1, image.SignatureInvalid, "", "", ""},
	} {
		got, err := Running(c.file, c.kernel, c.archs)
		require.Equal(t, []string{c.kind, c.team, c.checked}, []string{got.Kind, got.TeamID, got.Checked}, name)
		if c.err == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.err, name)
		}
	}
}
