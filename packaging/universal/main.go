// Command universal joins Mach-O executables of several architectures into one universal file: universal OUT IN...
package main

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: universal OUT IN...")
		os.Exit(2)
	}
	if err := join(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "universal:", err)
		os.Exit(1)
	}
}

// align is 2^14, the page size of arm64, as lipo aligns slices.
const align = 14

// join writes the fat header (mach-o/fat.h: big-endian magic and count, then cputype, cpusubtype, offset, size, align of each slice) and the slices.
func join(out string, in []string) error {
	header := binary.BigEndian.AppendUint32(nil, macho.MagicFat)
	header = binary.BigEndian.AppendUint32(header, uint32(len(in)))
	var body bytes.Buffer
	const page = 1 << align
	offset := page
	for _, name := range in {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := macho.NewFile(bytes.NewReader(data))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, v := range []uint32{uint32(f.Cpu), f.SubCpu, uint32(offset), uint32(len(data)), align} {
			header = binary.BigEndian.AppendUint32(header, v)
		}
		body.Write(data)
		body.Write(make([]byte, -len(data)&(page-1)))
		offset += (len(data) + page - 1) &^ (page - 1)
	}
	return os.WriteFile(out, append(append(header, make([]byte, page-len(header))...), body.Bytes()...), 0o755)
}
