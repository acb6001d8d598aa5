package process

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/macho"
)

// What the kernel says of this very test program is what its file says. Go signs programs for arm64 only.
func TestIdentityAgreesWithFile(t *testing.T) {
	t.Parallel()
	path, err := os.Executable()
	require.NoError(t, err)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := macho.Read(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	if f.Slices[0].Signature == nil {
		t.Skip("the test program is not signed")
	}
	want := f.Slices[0].Signature.BestDirectory()
	id, err := Identity(os.Getpid())
	require.NoError(t, err)
	require.Equal(t, want.CDHash(), id.CDHash)
	require.Equal(t, want.Identifier, id.Identity)
	require.Equal(t, want.TeamID, id.TeamID)
	require.NotZero(t, id.Flags&0x1, "CS_VALID")
	require.NotZero(t, id.Flags&0x2, "CS_ADHOC")
}

func TestIdentityGone(t *testing.T) {
	t.Parallel()
	_, err := Identity(99_999_999)
	require.True(t, errors.Is(err, ErrNotFound), "%v", err)
}
