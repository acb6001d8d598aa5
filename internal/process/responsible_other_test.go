//go:build !darwin

package process

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestResponsibleElsewhere: where the system keeps no such thing nobody is named.
func TestResponsibleElsewhere(t *testing.T) {
	t.Parallel()
	p, err := Get(os.Getpid())
	require.NoError(t, err)
	require.Nil(t, p.Responsible)
	require.ErrorIs(t, Responsibility().Err, errors.ErrUnsupported)
}
