package flow

import (
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/tcpassembly"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/conformance"
)

// assembled is one direction of one connection as gopacket's tcpassembly puts it together, up to the first byte it skips.
type assembled struct {
	data    []byte
	started bool
	over    bool
}

func (a *assembled) Reassembled(parts []tcpassembly.Reassembly) {
	for _, p := range parts {
		a.started = a.started || p.Start
		a.over = a.over || p.Skip != 0
		if !a.over && len(a.data) < MaxSample {
			a.data = append(a.data, p.Bytes...)
		}
	}
}

func (a *assembled) ReassemblyComplete() {}

type assemblies map[string][]*assembled

func (as assemblies) New(network, transport gopacket.Flow) tcpassembly.Stream {
	a := &assembled{}
	k := network.Src().String() + " " + transport.Src().String() + " " + network.Dst().String() + " " + transport.Dst().String()
	as[k] = append(as[k], a)
	return a
}

// TestCorpusAssembly compares the first bytes of each TCP connection of the labelled captures with what tcpassembly makes of
// the same packets: where both saw the start, and the ports were used once.
func TestCorpusAssembly(t *testing.T) {
	t.Parallel()
	dir := corpus(t)
	compared, differ := 0, 0
	err := filepath.WalkDir(dir, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(filepath.Ext(file), "cap") {
			return err
		}
		want := assemblies{}
		assembler := tcpassembly.NewAssembler(tcpassembly.NewStreamPool(want))
		last, got := map[*Flow][2]string{}, map[string][]string{}
		large := map[string]bool{} // judged for good before the short direction was full
		table := New(Config{Judge: func(f *Flow, c *conformance.Conversation) conformance.Judgement {
			if f.StartSeen && f.Transport == TCP {
				last[f] = [2]string{string(c.Client.Data), string(c.Server.Data)}
			}
			return conformance.Judgement{}
		}})
		source, err := capture.OpenFile(file)
		if err != nil {
			return nil
		}
		defer source.Close()
		var p capture.Packet
		for source.Next(&p) == nil {
			table.Add(&p)
			if p.LinkType != linkEthernet || p.Length != len(p.Data) {
				continue
			}
			q := gopacket.NewPacket(p.Data, layers.LayerTypeEthernet, gopacket.Default)
			if tcp, ok := q.TransportLayer().(*layers.TCP); ok && q.ErrorLayer() == nil {
				assembler.Assemble(q.NetworkLayer().NetworkFlow(), tcp)
			}
		}
		assembler.FlushAll()
		table.Close()
		for f, data := range last {
			for dir, d := range data {
				k := portName(f, dir == ToServer)
				got[k] = append(got[k], d)
				large[k] = f.Bytes[0]+f.Bytes[1] >= enough*MaxSample
			}
		}
		for k, data := range got {
			if len(data) != 1 || len(want[k]) != 1 || !want[k][0].started {
				continue
			}
			n := min(len(data[0]), len(want[k][0].data))
			compared++
			if data[0][:n] != string(want[k][0].data[:n]) {
				differ++
				t.Logf("%s: %s: %d bytes differ", file, k, n)
			}
			if !want[k][0].over && !large[k] && len(data[0]) < min(len(want[k][0].data), MaxSample) {
				t.Logf("%s: %s: %d bytes, tcpassembly has %d", file, k, len(data[0]), len(want[k][0].data))
				differ++
			}
		}
		return nil
	})
	require.NoError(t, err)
	t.Logf("%d directions compared, %d differ", compared, differ)
	require.NotZero(t, compared)
	require.Zero(t, differ)
}

// portName is a direction as tcpassembly names it.
func portName(f *Flow, fromClient bool) string {
	a, b := f.Client(), f.Server()
	if !fromClient {
		a, b = b, a
	}
	return a.Addr().String() + " " + strconv.Itoa(int(a.Port())) + " " + b.Addr().String() + " " + strconv.Itoa(int(b.Port()))
}
