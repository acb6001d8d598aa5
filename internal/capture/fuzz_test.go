package capture

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// addSeeds gives a fuzz target the fixtures that match.
func addSeeds(f *testing.F, pattern string) {
	names, err := filepath.Glob(pattern)
	require.NoError(f, err)
	require.NotEmpty(f, names)
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
}

// drain reads everything and checks what every packet promises.
func drain(t *testing.T, data []byte) {
	src, err := newFile("fuzz", bytes.NewReader(data), io.NopCloser(nil))
	if err != nil {
		require.Nil(t, src)
		return
	}
	for n := 0; ; n++ {
		require.LessOrEqual(t, n, len(data)/12, "more packets than there is room for")
		var p Packet
		if err := src.Next(&p); err != nil {
			return
		}
		check(t, &p)
	}
}

func check(t *testing.T, p *Packet) {
	require.LessOrEqual(t, len(p.Data), maxPacket)
	require.GreaterOrEqual(t, p.Length, len(p.Data))
	require.False(t, isPKTAP(p.LinkType))
	if p.Process != nil {
		require.GreaterOrEqual(t, p.Process.PID, int32(-1))
		require.LessOrEqual(t, len(p.Process.Name), 3*maxName)
	}
}

func FuzzPcap(f *testing.F) {
	addSeeds(f, "testdata/*.pcap")
	f.Fuzz(drain)
}

func FuzzPcapng(f *testing.F) {
	addSeeds(f, "testdata/*.pcapng")
	f.Fuzz(drain)
}

func FuzzPKTAP(f *testing.F) {
	u := newUnwrapper()
	src, err := os.ReadFile("testdata/pktap149.pcap")
	require.NoError(f, err)
	for at := 24; at < len(src); {
		n := int(bigEndian(false).u32(src[at+8:]))
		f.Add(src[at+16 : at+16+n])
		at += 16 + n
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := Packet{LinkType: linkPKTAP, Data: data, Length: len(data)}
		if u.unwrap(&p) {
			check(t, &p)
		}
	})
}
