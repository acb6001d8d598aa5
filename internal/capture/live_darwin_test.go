package capture

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestLivePKTAP: what a child process sends is captured with its pid and name, and our interface is gone afterwards.
func TestLivePKTAP(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	src, err := OpenLive(LiveOptions{})
	require.NoError(t, err)
	require.Equal(t, ModePKTAP, src.Stats().Mode, src.Stats().Degraded)
	// 192.0.2.1 is nobody's (RFC 5737); the packet leaves by the default route.
	client := exec.Command("/usr/bin/nc", "-u", "-w", "2", "192.0.2.1", "9")
	client.Stdin = strings.NewReader("hello from cipherlens")
	require.NoError(t, client.Start())
	defer func() { _ = client.Wait() }()

	deadline := time.Now().Add(10 * time.Second)
	for found := false; !found; {
		require.True(t, time.Now().Before(deadline), "not captured: %+v", src.Stats())
		var p Packet
		err := src.Next(&p)
		if errors.Is(err, ErrTimeout) {
			continue
		}
		require.NoError(t, err)
		if found = bytes.Contains(p.Data, []byte("hello from cipherlens")); found {
			require.Equal(t, Out, p.Direction)
			require.NotNil(t, p.Process)
			require.EqualValues(t, client.Process.Pid, p.Process.PID)
			require.Equal(t, "nc", p.Process.Name)
			require.NotEmpty(t, p.Process.UUID)
		}
	}
	require.NoError(t, src.Close())
	all, err := darwinKernel{}.interfaces()
	require.NoError(t, err)
	for _, i := range all {
		tag := ifdescreq(i.name, "")
		tag[16] = 128
		s, err := darwinKernel{}.socket()
		require.NoError(t, err)
		_ = darwinKernel{}.ioctl(s, siocGIFDESC, tag)
		require.NoError(t, unix.Close(s))
		require.NotEqual(t, tapTag, text(tag[20:], 128), i.name)
	}
}
