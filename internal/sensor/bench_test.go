package sensor

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/flow"
)

// BenchmarkCapture says what each step of judging the capture file $CAPTURE costs, in CPU time a packet: reading it, decoding headers, putting
// packets to flows, and judging these. Each step includes the ones before it.
func BenchmarkCapture(b *testing.B) {
	file := os.Getenv("CAPTURE")
	if file == "" {
		b.Skip("CAPTURE names no capture file")
	}
	var header flow.Header
	read := func(b *testing.B, each func(*capture.Packet)) {
		source, err := capture.OpenFile(file)
		require.NoError(b, err)
		defer source.Close()
		var p capture.Packet
		for source.Next(&p) == nil {
			each(&p)
		}
	}
	packets := 0
	read(b, func(*capture.Packet) { packets++ })
	for _, step := range []struct {
		name string
		do   func(b *testing.B)
	}{
		{"read", func(b *testing.B) { read(b, func(*capture.Packet) {}) }},
		{"decode", func(b *testing.B) {
			read(b, func(p *capture.Packet) { _ = flow.Decode(p.LinkType, p.Data, &header) })
		}},
		{"flows", func(b *testing.B) {
			table := flow.New(flow.Config{Memory: offlineMemory, Recycle: true})
			read(b, table.Add)
			table.Close()
		}},
		{"judge", func(b *testing.B) {
			_, err := Count(b.Context(), file, config.Default())
			require.NoError(b, err)
		}},
	} {
		b.Run(step.name, func(b *testing.B) {
			start := cpuTime(b)
			for range b.N {
				step.do(b)
			}
			b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N*packets), "ns/packet")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpuTime is what this process has used, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return usage.Utime.Nano() + usage.Stime.Nano()
}
