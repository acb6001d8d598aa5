package image

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Magic numbers of Go's pclntab (src/internal/abi/symtab.go). Before Go 1.16 the names were in no table of their own.
const (
	pclntab116 = 0xfffffffa
	pclntab118 = 0xfffffff0
	pclntab120 = 0xfffffff1
)

const (
	maxGoNames  = 64 << 20 // bytes of function names; a program of 60,000 functions has 4 MiB
	maxFuncName = 4096
)

// goNames lists the names of the functions in a pclntab that keep says to. They are there in stripped programs too, those of
// inlined functions included.
func goNames(tab *io.SectionReader, keep func(name []byte) bool) ([]string, error) {
	start, end, err := goNameTable(tab)
	if err != nil {
		return nil, fmt.Errorf("pclntab: %w", err)
	}
	var names []string
	r := bufio.NewReaderSize(io.NewSectionReader(tab, start, end-start), maxFuncName)
	for {
		name, err := r.ReadSlice(0)
		switch {
		case errors.Is(err, io.EOF):
			return names, nil
		case errors.Is(err, bufio.ErrBufferFull):
			continue // an instantiated generic's name may be longer; it is none of ours
		case err != nil:
			return names, fmt.Errorf("pclntab: function names: %w", err)
		}
		if name = bytes.TrimSuffix(name, []byte{0}); keep(name) {
			names = append(names, string(name))
		}
	}
}

// goNameTable gives where the names are in the pclntab. The header is {magic u32, 0, 0, minimum instruction u8, pointer size
// u8}, then of pointer size: functions, files, text start (since Go 1.18), offset of names, offset of the next table.
func goNameTable(tab *io.SectionReader) (start, end int64, err error) {
	head := make([]byte, 8+5*8)
	if n, err := tab.ReadAt(head, 0); n < len(head) {
		return 0, 0, fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[0] == 0xff {
		order = binary.BigEndian
	}
	at := 3
	switch magic := order.Uint32(head); magic {
	case pclntab118, pclntab120:
	case pclntab116:
		at = 2
	default:
		return 0, 0, fmt.Errorf("magic %#x is not that of Go 1.16 or later", magic)
	}
	size := int(head[7])
	if size != 4 && size != 8 {
		return 0, 0, fmt.Errorf("pointers of %d bytes", size)
	}
	field := func(i int) int64 {
		if size == 4 {
			return int64(order.Uint32(head[8+4*i:]))
		}
		return int64(order.Uint64(head[8+8*i:]))
	}
	start, end = field(at), field(at+1)
	if start < 0 || end < start || end > tab.Size() || end-start > maxGoNames {
		return 0, 0, fmt.Errorf("function names from %d to %d of %d bytes", start, end, tab.Size())
	}
	return start, end, nil
}

// goPackage gives the package of a function's name: golang.org/x/crypto/chacha20.(*Cipher).Seal is of …/chacha20.
func goPackage(name string) string {
	slash := strings.LastIndexByte(name, '/') + 1
	if dot := strings.IndexByte(name[slash:], '.'); dot >= 0 {
		return name[:slash+dot]
	}
	return name
}

// goTLS is what all that has crypto/tls linked in has.
const goTLS = "crypto/tls.(*Conn).Handshake"

// goOfInterest says whether a name is in the catalogue, or of a package of golang.org/x/crypto that is.
func goOfInterest(name []byte) bool {
	return bytes.HasPrefix(name, []byte("crypto/")) && loadCatalogue().inside[string(name)] != nil ||
		bytes.HasPrefix(name, []byte("golang.org/x/crypto/")) ||
		bytes.HasPrefix(name, []byte("vendor/golang.org/x/crypto/")) && loadCatalogue().inside[string(name)] != nil
}

// goMarkers judges the functions of a program. crypto/tls does not link crypto/cipher.NewGCM and the like, so these are the
// program's own encryption: strong where no TLS is there at all, weak where it may belong to some other protocol of a program
// that has TLS. What crypto/tls links itself is weak.
func goMarkers(names []string) []marker {
	c := loadCatalogue()
	packages := map[string]*entry{}
	for _, e := range c.inside {
		if e.provider == "go" && strings.HasPrefix(e.symbol, "golang.org/x/crypto/") {
			packages[goPackage(e.symbol)] = e
		}
	}
	tls := false
	for _, n := range names {
		tls = tls || n == goTLS
	}
	var out []marker
	kept := map[*entry]int{}
	for _, n := range names {
		e := c.inside[n]
		if e == nil {
			e = packages[goPackage(n)]
		}
		if e == nil || kept[e] >= maxFound {
			continue
		}
		kept[e]++
		m := marker{entry: e, strength: e.strength, linkage: linkStatic, found: n}
		if tls && e.class == ClassSymmetric {
			m.strength = weak
		}
		out = append(out, m)
	}
	return out
}
