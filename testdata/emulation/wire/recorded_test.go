package wire

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "record the handshakes anew")

// TestRecorded: each recording begins with a ClientHello and is one of its version; with -update it is made by crypto/tls.
func TestRecorded(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]uint16{"tls10": tls.VersionTLS10, "tls12": tls.VersionTLS12, "tls13": tls.VersionTLS13} {
		if *update {
			script, err := handshake(version, "www.example.com")
			require.NoError(t, err)
			data, err := json.MarshalIndent(script, "", "\t")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile("recorded/"+name+".json", data, 0o644))
			continue // it is compiled in the next time
		}
		script, err := recorded(name)
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(script), 3, name)
		require.Equal(t, []byte{22, 3, 1}, script[0][:3], name)
		require.Equal(t, byte(1), script[0][5], "%s: no ClientHello", name)
		require.Equal(t, byte(2), script[1][5], "%s: no ServerHello", name)
	}
}

// handshake records a genuine one, turn by turn, the client's first.
func handshake(version uint16, host string) ([][]byte, error) {
	a, b := net.Pipe()
	tape := &tape{}
	cert, err := Certificate(host)
	if err != nil {
		return nil, err
	}
	suites := []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}
	server := tls.Server(taped{b, tape, 1}, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: version, MaxVersion: version, CipherSuites: suites})
	client := tls.Client(taped{a, tape, 0}, &tls.Config{ServerName: host, InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, CipherSuites: suites})
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- server.HandshakeContext(ctx) }()
	err = client.HandshakeContext(ctx)
	return tape.turns, errors.Join(err, <-done)
}

// tape keeps what both sides wrote, by turns.
type tape struct {
	sync.Mutex
	turns [][]byte
}

type taped struct {
	net.Conn
	tape *tape
	side int
}

func (t taped) Write(b []byte) (int, error) {
	t.tape.Lock()
	for len(t.tape.turns)%2 != (t.side+1)%2 {
		t.tape.turns = append(t.tape.turns, nil)
	}
	last := len(t.tape.turns) - 1
	t.tape.turns[last] = append(t.tape.turns[last], b...)
	t.tape.Unlock()
	return t.Conn.Write(b)
}
