package wire

import (
	"math/rand/v2"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFormats: what one end of each format sends, the other receives; DNS answers carry no message back.
func TestFormats(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range Formats() {
		require.False(t, seen[f.Name], f.Name)
		seen[f.Name] = true
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			network := "tcp"
			l, err := net.Listen(network, "127.0.0.1:0")
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() {
				c, err := l.Accept()
				if err != nil {
					served <- err
					return
				}
				link, err := f.Open(NewEnd(c, true, 1, f.Name))
				if err == nil {
					for range 3 {
						var m []byte
						if m, err = link.Receive(); err == nil {
							err = link.Send(m)
						}
					}
				}
				served <- err
			}()
			c, err := net.Dial(network, l.Addr().String())
			require.NoError(t, err)
			link, err := f.Open(NewEnd(c, false, 1, f.Name))
			require.NoError(t, err)
			dice := rand.New(rand.NewPCG(1, 2))
			for i := range 3 {
				message := facts(dice, 400*(i+1), i)
				require.NoError(t, link.Send(message))
				got, err := link.Receive()
				require.NoError(t, err)
				if !f.UDP {
					require.Equal(t, message, got)
				}
			}
			require.NoError(t, <-served)
		})
	}
}
