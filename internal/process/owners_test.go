//go:build linux || darwin

package process

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clientEnv makes the test binary a client instead: "network address milliseconds".
const clientEnv = "CIPHERLENS_TEST_CLIENT"

func TestMain(m *testing.M) {
	if task := os.Getenv(clientEnv); task != "" {
		if err := client(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// client talks to an address, and ends after that time. What it sends is its pid.
func client(task string) error {
	var network, address string
	var milliseconds int
	if _, err := fmt.Sscan(task, &network, &address, &milliseconds); err != nil {
		return err
	}
	message := []byte(strconv.Itoa(os.Getpid()))
	defer time.Sleep(time.Duration(milliseconds) * time.Millisecond)
	if network != "udp-unconnected" {
		c, err := net.Dial(network, address)
		if err != nil {
			return err
		}
		_, err = c.Write(message)
		return err
	}
	c, err := net.ListenPacket("udp", ":0") // one socket for both families
	if err != nil {
		return err
	}
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return err
	}
	_, err = c.WriteTo(message, to)
	return err
}

func startClient(t testing.TB, network, address string, milliseconds int) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", clientEnv, network, address, milliseconds))
	require.NoError(t, c.Start())
	return c
}

// thisProgram is the path of the test binary as the kernel names it.
func thisProgram(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	path, err = filepath.EvalSymlinks(path)
	require.NoError(t, err)
	return path
}

func newOwners(t testing.TB) *Owners {
	t.Helper()
	o, err := NewOwners()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.Close()) })
	return o
}

// ask looks an owner up as the sensor does: again after some milliseconds when there was no time for it.
func ask(o *Owners, protocol uint8, local, remote netip.AddrPort) (Process, bool) {
	for range 10 {
		limited := o.Stats().Limited
		p, ok := o.Owner(protocol, local, remote)
		if ok || o.Stats().Limited == limited {
			return p, ok
		}
		time.Sleep(2 * time.Millisecond)
	}
	return Process{}, false
}

func TestOwnersTCP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ network, listen string }{
		{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp", "[::ffff:127.0.0.1]:0"},
	} {
		t.Run(tt.network, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", tt.listen)
			if err != nil {
				t.Skip(err)
			}
			defer l.Close()
			c := startClient(t, tt.network, l.Addr().String(), 2000)
			defer func() {
				_ = c.Process.Kill()
				_ = c.Wait()
			}()
			conn, err := l.Accept()
			require.NoError(t, err)
			defer conn.Close()
			local, remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), l.Addr().(*net.TCPAddr).AddrPort()
			o := newOwners(t)
			p, ok := ask(o, protocolTCP, local, remote)
			require.True(t, ok)
			require.Equal(t, c.Process.Pid, p.PID)
			require.Equal(t, thisProgram(t), p.Path)

			// The other end of the same connection is ours.
			p, ok = ask(o, protocolTCP, remote, local)
			require.True(t, ok)
			require.Equal(t, os.Getpid(), p.PID)
		})
	}
}

func TestOwnersUDP(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ network, listen string }{
		{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}, {"udp-unconnected", "127.0.0.1:0"}, {"udp-unconnected", "[::1]:0"},
	} {
		t.Run(tt.network+tt.listen, func(t *testing.T) {
			t.Parallel()
			l, err := net.ListenPacket("udp", tt.listen)
			if err != nil {
				t.Skip(err)
			}
			defer l.Close()
			c := startClient(t, tt.network, l.LocalAddr().String(), 2000)
			defer func() {
				_ = c.Process.Kill()
				_ = c.Wait()
			}()
			b := make([]byte, 100)
			require.NoError(t, l.SetReadDeadline(time.Now().Add(10*time.Second)))
			n, from, err := l.ReadFrom(b)
			require.NoError(t, err)
			require.Equal(t, strconv.Itoa(c.Process.Pid), string(b[:n]))
			p, ok := ask(newOwners(t), protocolUDP, from.(*net.UDPAddr).AddrPort(), l.LocalAddr().(*net.UDPAddr).AddrPort())
			require.True(t, ok)
			require.Equal(t, c.Process.Pid, p.PID)
		})
	}
}
