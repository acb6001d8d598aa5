package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
)

// clockJumps has the clock of a capture jump by a day, there and perhaps back, once each conversation has said enough, and looks for the same findings in it: silence of a day ends
// a flow, and what comes after it was joined late. The clock of the host itself is not this
// program's to set: what the sensor does when that jumps is tested beside it, with a clock of the test's own.
func clockJumps(w *world, random *rand.Rand) (verifier, error) {
	straight, crooked := filepath.Join(w.dir, "straight.pcap"), filepath.Join(w.dir, "crooked.pcap")
	conversations := random.Uint64()
	if err := record(straight, conversations, nil); err != nil {
		return nil, err
	}
	jumps := map[int]time.Duration{}
	for range 1 + random.IntN(3) {
		jumps[16+random.IntN(24)] = []time.Duration{24 * time.Hour, -24 * time.Hour}[random.IntN(2)]
	}
	if err := record(crooked, conversations, jumps); err != nil {
		return nil, err
	}
	want, err := w.found(straight)
	if err != nil {
		return nil, err
	}
	got, err := w.found(crooked)
	if err != nil {
		return nil, err
	}
	if len(want) == 0 {
		return nil, fmt.Errorf("nothing was found in %s", straight)
	}
	for to := range want {
		if !got[to] {
			return nil, fmt.Errorf("with jumps %v: %s is no longer found", jumps, to)
		}
	}
	return nil, nil
}

// record writes four conversations of random bytes, side by side; jumps say by how much the clock is set before a packet.
func record(name string, seed uint64, jumps map[int]time.Duration) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeRaw); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 7))
	at := time.Unix(1_700_000_000, 0)
	const conversations, packets = 4, 10
	var seq [conversations]uint32
	for i := range conversations * packets {
		at = at.Add(jumps[i] + 50*time.Millisecond)
		c := i % conversations
		payload := make([]byte, 200)
		for j := range payload {
			payload[j] = byte(random.Uint32())
		}
		tcp := &layers.TCP{SrcPort: layers.TCPPort(50000 + c), DstPort: 8443, Seq: seq[c], ACK: true, Window: 1024}
		if i < conversations {
			tcp.SYN, tcp.ACK, payload = true, false, nil
			seq[c]++
		}
		seq[c] += uint32(len(payload))
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{192, 0, 2, 10}, DstIP: []byte{203, 0, 113, byte(c + 1)}}
		_ = tcp.SetNetworkLayerForChecksum(ip)
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, tcp, gopacket.Payload(payload)); err != nil {
			return err
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()); err != nil {
			return err
		}
	}
	return f.Close()
}

// found gives where the random flows of a capture go.
func (w *world) found(capture string) (map[string]bool, error) {
	out, err := exec.Command(w.extension, "flows", "--json", capture).Output()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for lines := json.NewDecoder(bytes.NewReader(out)); ; {
		var f struct {
			Verdict string `json:"verdict"`
			Address string `json:"remote_address"`
		}
		if err := lines.Decode(&f); err == io.EOF {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		if f.Verdict == "random" {
			found[f.Address] = true
		}
	}
}
