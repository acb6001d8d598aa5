// Command merge writes many captures into one Ethernet pcap file, one after the other and as often as is asked, so that two programs can be
// timed on the same packets. Each copy of each file gets networks of its own (10.x/16 in place of the upper half of IPv4
// addresses, a group of IPv6 addresses), so that flows of different copies do not collide. Packets of other link types, and
// frames other than plain IP over Ethernet, are left out. Checksums are not mended: neither side looks at them.
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/cipherlens/cipherlens/internal/capture"
)

func main() {
	out := flag.String("o", "", "pcap file to write")
	copies := flag.Int("copies", 1, "how often each capture is written")
	flag.Parse()
	if err := run(*out, *copies, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(out string, copies int, files []string) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	m := &merger{w: bufio.NewWriterSize(f, 1<<20)}
	header := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	header = append(header, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	header = binary.LittleEndian.AppendUint32(header, 256<<10)
	header = binary.LittleEndian.AppendUint32(header, capture.LinkEthernet)
	if _, err := m.w.Write(header); err != nil {
		return err
	}
	for range copies {
		for _, file := range files {
			if err := m.add(file); err != nil {
				fmt.Fprintln(os.Stderr, "left out from there on:", err)
			}
			m.network++
		}
	}
	fmt.Println(m.packets, "packets")
	return errors.Join(m.w.Flush(), f.Close())
}

type merger struct {
	w       *bufio.Writer
	network uint32 // of the copy
	packets int
	clock   int64 // nanoseconds: copies follow each other
}

func (m *merger) add(file string) error {
	source, err := capture.OpenFile(file)
	if err != nil {
		return err
	}
	defer source.Close()
	var p capture.Packet
	first, last := int64(0), m.clock
	for {
		if err := source.Next(&p); err != nil {
			m.clock = last
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if p.LinkType != capture.LinkEthernet || !m.rewrite(p.Data) {
			continue
		}
		if first == 0 {
			first = p.Time
		}
		at := m.clock + min(max(p.Time-first, 0), 1e12)
		last = max(last, at)
		record := binary.LittleEndian.AppendUint32(nil, uint32(at/1e9)+1_700_000_000)
		record = binary.LittleEndian.AppendUint32(record, uint32(at%1e9/1000))
		record = binary.LittleEndian.AppendUint32(record, uint32(len(p.Data)))
		record = binary.LittleEndian.AppendUint32(record, uint32(p.Length))
		if _, err := m.w.Write(append(record, p.Data...)); err != nil {
			return err
		}
		m.packets++
	}
}

// rewrite puts an Ethernet frame's addresses into the copy's networks; false when it is not plain IP.
func (m *merger) rewrite(b []byte) bool {
	switch {
	case len(b) >= 34 && b[12] == 8 && b[13] == 0:
		for _, at := range []int{26, 30} {
			binary.BigEndian.PutUint16(b[at:], uint16(10<<8|m.network&0xff))
			b[at+2] ^= byte(m.network >> 8)
		}
		return true
	case len(b) >= 54 && b[12] == 0x86 && b[13] == 0xdd:
		for _, at := range []int{22, 38} {
			binary.BigEndian.PutUint32(b[at+4:], binary.BigEndian.Uint32(b[at+4:])^m.network)
		}
		return true
	}
	return false
}
