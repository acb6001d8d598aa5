package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// What looking through one file may cost. All sections but code of the largest real programs are some 120 MiB, and take a
// third of a second.
const (
	maxScan     = 512 << 20 // bytes
	maxScanTime = 5 * time.Second
	scanChunk   = 1 << 20
	scanOverlap = 512 // bytes that two chunks share, so that what lies across their border is seen
	maxFound    = 16  // different texts of one marker that are kept
)

// budget is what is left of that for one file, over all its slices.
type budget struct {
	scan   int64     // bytes to look through
	until  time.Time // when looking through ends
	signed int64     // bytes to hash for signatures
}

func newBudget() *budget {
	return &budget{scan: maxScan, until: time.Now().Add(maxScanTime), signed: maxSigned}
}

// scan looks through the contents of one unit.
type scan struct {
	contents
	budget  *budget
	markers map[*entry][]string // what was found
	seen    map[string]bool     // anchors of which nothing more is wanted
	names   map[string]*entry   // names of the catalogue among the strings
	stems   map[string]bool     // crypto libraries named among the strings
	runtime string
}

// look finds what is linked into u, and what it runs on.
func (f *facts) look(ctx context.Context, u *unit, c contents, b *budget) {
	s := &scan{
		contents: c, budget: b,
		markers: map[*entry][]string{}, seen: map[string]bool{}, names: map[string]*entry{}, stems: map[string]bool{},
	}
	s.runtime = runtimeOf(u, c.sections)
	var errs []error
	if c.encrypted != "" {
		errs = append(errs, errors.New(c.encrypted))
	}
	errs = append(errs, s.packed())
	for _, r := range c.texts {
		errs = append(errs, s.region(ctx, r, u.loads))
	}
	for _, r := range c.symbols {
		errs = append(errs, s.region(ctx, r, false))
	}
	if c.names.size > 0 {
		names, err := goNames(io.NewSectionReader(c.r, c.names.offset, c.names.size), goOfInterest)
		u.markers = append(u.markers, goMarkers(names)...)
		s.runtime = "go"
		errs = append(errs, err)
	}
	s.appended()
	u.markers = append(u.markers, s.results()...)
	if f.runtime == "" {
		f.runtime = s.runtime
	}
	for _, err := range distinct(slices.DeleteFunc(errs, func(err error) bool { return err == nil })) {
		f.errs = append(f.errs, fmt.Errorf("slice %s: %w", u.arch, err))
	}
}

var errScanBudget = fmt.Errorf("looked through for no more than %d bytes or %v: crypto linked into the rest is not seen", maxScan, maxScanTime)

// region looks through one part of the file, a chunk at a time. With names, its strings are compared with the catalogue.
func (s *scan) region(ctx context.Context, r region, names bool) error {
	buffer := make([]byte, min(scanChunk, r.size))
	for at := int64(0); at < r.size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(buffer)), r.size-at)
		if s.budget.scan -= n; s.budget.scan < 0 || time.Now().After(s.budget.until) {
			return errScanBudget
		}
		got, err := s.r.ReadAt(buffer[:n], r.offset+at)
		s.chunk(buffer[:got])
		if names {
			s.strings(buffer[:got])
		}
		if int64(got) < n {
			return fmt.Errorf("contents at offset %d: %w", r.offset+at+int64(got), err)
		}
		if at += n; at < r.size && n > scanOverlap {
			at -= scanOverlap
		}
	}
	return nil
}

// chunk looks for all anchors.
func (s *scan) chunk(b []byte) {
	for _, a := range anchors {
		for at := 0; !s.seen[a.text]; {
			i := bytes.Index(b[at:], a.bytes)
			if i < 0 {
				break
			}
			at += i
			if a.found(s, b, at) {
				s.seen[a.text] = true
			}
			at += len(a.bytes)
		}
	}
}

// mark keeps what was found of a row of the catalogue. It says when there is enough.
func (s *scan) mark(row, text string) bool {
	e := loadCatalogue().inside[row]
	if e == nil {
		return false
	}
	if found := s.markers[e]; len(found) < maxFound && !slices.Contains(found, text) {
		s.markers[e] = append(found, text)
	}
	return true
}

const (
	minName = 5
	maxName = 200
)

// strings looks up the texts between NULs in the catalogue: names for dlsym and libraries for dlopen.
func (s *scan) strings(b []byte) {
	c := loadCatalogue()
	for len(b) > 0 {
		end := bytes.IndexByte(b, 0)
		if end < 0 {
			return // cut off by the chunk's end: whole in the next one
		}
		text := b[:end]
		b = b[end+1:]
		if len(text) < minName || len(text) > maxName {
			continue
		}
		if entries := c.imports[string(text)]; len(entries) > 0 {
			s.names[string(text)] = entries[0]
			continue
		}
		if bytes.HasSuffix(text, []byte(".dylib")) || bytes.Contains(text, []byte(".so")) {
			base := string(text[bytes.LastIndexByte(text, '/')+1:])
			for _, stem := range c.stems {
				s.stems[stem] = s.stems[stem] || hasStem(base, stem)
			}
		}
	}
}

// results gives what was found as markers. Names for dlsym count for Apple's APIs, which every process has at hand, and for
// others where their library is named too: a program that has OpenSSL linked in is full of its names.
func (s *scan) results() []marker {
	var out []marker
	for e, texts := range s.markers {
		if e.provider == "libsodium" && !s.seen[sodiumBox] || e.provider == "mbedtls" && (!s.seen[aesTable] || s.explained()) {
			continue
		}
		for _, text := range texts {
			out = append(out, marker{entry: e, strength: weak, linkage: linkStatic, found: text})
		}
	}
	for name, e := range s.names {
		if e.class != ClassSymmetric || e.strength != strong || e.provider == "libc" {
			continue
		}
		if AppleProvider(e.provider) || slices.ContainsFunc(e.libraries, func(l string) bool { return s.stems[strings.TrimSuffix(l, ".*")] }) {
			out = append(out, marker{entry: e, strength: weak, linkage: linkDlopen, found: name})
		}
	}
	return out
}

// explained says whether another library that has AES tables is linked in: the word mbedtls then means nothing.
func (s *scan) explained() bool {
	for e := range s.markers {
		switch e.provider {
		case "openssl", "boringssl", "aws_lc", "rust_ring", "rustcrypto":
			return true
		}
	}
	return false
}

// packedEntropy is the entropy of machine code, bits a byte, from which it is packed or encrypted. That of real programs for
// arm64 and x86_64 was measured as 5.2 to 6.7; compressed or encrypted bytes have 7.99.
const packedEntropy = 7.5

// packed samples the middle of the code.
func (s *scan) packed() error {
	n := min(s.code.size, 64<<10)
	if n < 4096 {
		return nil
	}
	b := make([]byte, n)
	if got, err := s.r.ReadAt(b, s.code.offset+(s.code.size-n)/2); got < len(b) {
		return fmt.Errorf("code at offset %d: %w", s.code.offset, err)
	}
	if h := entropy(b); h >= packedEntropy {
		return fmt.Errorf("code is packed or encrypted (entropy %.2f bits a byte): what it does cannot be seen", h)
	}
	return nil
}

// entropy is Shannon's of the bytes' frequencies, in bits a byte.
func entropy(b []byte) float64 {
	var count [256]int
	for _, c := range b {
		count[c]++
	}
	h := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(b))
			h -= p * math.Log2(p)
		}
	}
	return h
}
