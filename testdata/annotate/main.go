// Command annotate writes a capture as Apple's tcpdump would have: with process information blocks that carry name and LC_UUID (never a
// path), and the direction of each packet. Which process a flow belongs to is told by its local address and port.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/cipherlens/cipherlens/internal/capture"
	"github.com/cipherlens/cipherlens/internal/flow"
	"github.com/cipherlens/cipherlens/internal/macho"
)

func main() {
	root := flag.String("root", "", "macOS tree that holds the executables")
	owners := flag.String("owners", "", "file of lines: protocol, local address and port, process name")
	in := flag.String("in", "", "capture to read")
	out := flag.String("out", "", "pcapng file to write")
	flag.Parse()
	if err := run(*root, *owners, *in, *out); err != nil {
		log.Fatal(err)
	}
}

// local is one end of a flow on the Mac.
type local struct {
	transport uint8
	at        netip.AddrPort
}

func run(root, ownersFile, in, out string) error {
	uuids, err := readUUIDs(root)
	if err != nil {
		return err
	}
	owners, err := readOwners(ownersFile, uuids)
	if err != nil {
		return err
	}
	source, err := capture.OpenFile(in)
	if err != nil {
		return err
	}
	defer source.Close()
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	if err := annotate(source, owners, w); err != nil {
		return err
	}
	return errors.Join(w.Flush(), f.Close())
}

// readUUIDs gives the LC_UUID of the first slice of each executable below root, by file name.
func readUUIDs(root string) (map[string]string, error) {
	uuids := map[string]string{}
	return uuids, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if found, err := macho.UUIDs(f, info.Size()); err == nil && len(found) > 0 {
			uuids[d.Name()] = found[0]
		}
		return nil
	})
}

func readOwners(name string, uuids map[string]string) (map[local]*capture.Process, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	owners := map[local]*capture.Process{}
	processes := map[string]*capture.Process{}
	for line := range strings.Lines(string(data)) {
		var proto, at, process string
		if _, err := fmt.Sscan(line, &proto, &at, &process); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, line, err)
		}
		address, err := netip.ParseAddrPort(at)
		if err != nil {
			return nil, err
		}
		if processes[process] == nil {
			processes[process] = &capture.Process{PID: int32(400 + 37*len(processes)), Name: process, UUID: uuids[process]}
		}
		owners[local{map[string]uint8{"tcp": 6, "udp": 17}[proto], address}] = processes[process]
	}
	return owners, nil
}

func annotate(source capture.Source, owners map[local]*capture.Process, out io.Writer) error {
	w, err := capture.NewAppleWriter(out, capture.AppleSection{Hardware: "arm64", OS: "Darwin Kernel Version 23.2.0", Program: "tcpdump (libpcap version 1.10.1)"})
	if err != nil {
		return err
	}
	en0, err := w.AddInterface("en0", capture.LinkEthernet)
	if err != nil {
		return err
	}
	for {
		var p capture.Packet
		if err := source.Next(&p); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var h flow.Header
		if err := flow.Decode(p.LinkType, p.Data, &h); err != nil {
			continue
		}
		p.Interface, p.Direction = en0, capture.Out
		if p.Process = owners[local{h.Transport, h.Source()}]; p.Process == nil {
			p.Process, p.Direction = owners[local{h.Transport, h.Destination()}], capture.In
		}
		if err := w.Write(capture.ApplePacket{Packet: p, Flags: 0x8}); err != nil {
			return err
		}
	}
}
