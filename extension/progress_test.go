package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/sensor"
)

// TestClip: a progress line that is wider than the terminal would leave its first lines behind.
func TestClip(t *testing.T) {
	t.Parallel()
	require.Equal(t, "0123456", clip("0123456", 0), "no width is known")
	require.Equal(t, "0123456", clip("0123456", 8))
	require.Equal(t, "012345~", clip("01234567", 8))
	require.Equal(t, "ééé~", clip("ééééééééé", 5), "characters, not bytes")
}

func TestProgressLines(t *testing.T) {
	t.Parallel()
	require.Equal(t, "2 of 8 files, 4 files/s, 2s left", filesLine(2, 8, 500*time.Millisecond))
	require.Equal(t, "a.pcap: 3000 packets, 7 flows, 1500 packets/s", captureLine(sensor.Progress{File: "a.pcap", Packets: 3000, Flows: 7}, 2*time.Second))
	require.Equal(t, "?[2J: 0 packets, 0 flows, 0 packets/s", captureLine(sensor.Progress{File: "\x1b[2J"}, 0))
}
