package macho

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"slices"
)

// Magic numbers and slots of code signatures, xnu osfmk/kern/cs_blobs.h. All of it is big-endian.
const (
	magicSuperBlob     = 0xfade0cc0
	magicCodeDirectory = 0xfade0c02
	magicRequirements  = 0xfade0c01
	magicEntitlements  = 0xfade7171
	magicDER           = 0xfade7172
	magicCMS           = 0xfade0b01

	slotCodeDirectory  = 0
	slotRequirements   = 2
	slotEntitlements   = 5
	slotDER            = 7
	slotAlternate      = 0x1000 // to 0x1004
	slotAlternateLimit = 0x1005
	slotCMS            = 0x10000
)

// maxBlobs is how many blobs a signature may hold; real ones have up to 12.
const maxBlobs = 64

// maxSpecial is how many special slots of a CodeDirectory are read; 11 are defined.
const maxSpecial = 32

var bigEndian = binary.BigEndian

// readSignature reads the SuperBlob. Out.Signature is there even when nothing of it can be read.
func (r *reader) readSignature(t table) {
	s := &Signature{Offset: t.offset, Best: -1}
	r.out.Signature = s
	blob, err := r.readSuperBlob(t)
	if err != nil {
		r.fail(t.name, err)
		return
	}
	count := bigEndian.Uint32(blob[8:])
	if room := uint32(len(blob)-12) / 8; count > min(room, maxBlobs) {
		r.fail(t.name, fmt.Errorf("at offset %d: %d blobs, room for %d", t.offset, count, min(room, maxBlobs)))
		count = min(room, maxBlobs)
	}
	s.Blobs = make(map[uint32][]byte, count)
	for i := range count {
		entry := blob[12+8*i:]
		slot, at := bigEndian.Uint32(entry), bigEndian.Uint32(entry[4:])
		if err := s.addBlob(slot, blob, at); err != nil {
			r.fail(t.name, fmt.Errorf("blob %d (slot %#x) at offset %d: %w", i, slot, t.offset+int64(at), err))
		}
	}
	s.chooseBest()
	if err := s.checkLimits(); err != nil {
		r.fail(t.name, err)
	}
}

// readSuperBlob reads the SuperBlob without the padding behind it.
func (r *reader) readSuperBlob(t table) ([]byte, error) {
	w, err := r.src.window(t.offset, t.size)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 12)
	if err := w.fill(head, 0); err != nil {
		return nil, err
	}
	if magic := bigEndian.Uint32(head); magic != magicSuperBlob {
		return nil, fmt.Errorf("at offset %d: magic %#08x is not a SuperBlob's", t.offset, magic)
	}
	size := int64(bigEndian.Uint32(head[4:]))
	if size < 12 {
		return nil, fmt.Errorf("at offset %d: a SuperBlob of %d bytes", t.offset, size)
	}
	blob, err := w.bytes(0, size)
	if err != nil {
		return nil, fmt.Errorf("SuperBlob at offset %d: %w", t.offset, err)
	}
	return blob, nil
}

// addBlob keeps the blob at offset at.
func (s *Signature) addBlob(slot uint32, super []byte, at uint32) error {
	if int64(at) > int64(len(super))-8 {
		return fmt.Errorf("outside the %d bytes of the SuperBlob", len(super))
	}
	size := bigEndian.Uint32(super[at+4:])
	if size < 8 || int64(size) > int64(len(super))-int64(at) {
		return fmt.Errorf("%d bytes long, with %d left", size, len(super)-int(at))
	}
	if _, ok := s.Blobs[slot]; ok {
		return errors.New("the slot is taken already")
	}
	blob := super[at : at+size : at+size]
	s.Blobs[slot] = blob
	want, to := uint32(0), (*[]byte)(nil)
	switch {
	case slot == slotCodeDirectory, slot >= slotAlternate && slot < slotAlternateLimit:
		return s.addDirectory(slot, blob)
	case slot == slotRequirements:
		s.Requirements = blob
		return wantMagic(blob, magicRequirements)
	case slot == slotEntitlements:
		want, to = magicEntitlements, &s.Entitlements
	case slot == slotDER:
		want, to = magicDER, &s.DEREntitlements
	case slot == slotCMS:
		want, to = magicCMS, &s.CMS
	default:
		return nil
	}
	if err := wantMagic(blob, want); err != nil {
		return err
	}
	*to = blob[8:]
	return nil
}

func wantMagic(blob []byte, want uint32) error {
	if magic := bigEndian.Uint32(blob); magic != want {
		return fmt.Errorf("magic %#08x, not %#08x", magic, want)
	}
	return nil
}

func (s *Signature) addDirectory(slot uint32, blob []byte) error {
	d, err := parseDirectory(blob)
	if err != nil {
		return fmt.Errorf("CodeDirectory: %w", err)
	}
	d.Slot = slot
	s.CodeDirectories = append(s.CodeDirectories, d)
	return nil
}

// chooseBest takes the first of the highest rank, as the kernel does (xnu bsd/kern/ubc_subr.c, cs_find_md).
func (s *Signature) chooseBest() {
	slices.SortFunc(s.CodeDirectories, func(a, b CodeDirectory) int { return cmp.Compare(a.Slot, b.Slot) })
	best := 0
	for i, d := range s.CodeDirectories {
		if rank := d.rank(); rank > best {
			s.Best, best = i, rank
		}
	}
}

func (s *Signature) checkLimits() error {
	for _, d := range s.CodeDirectories {
		if d.CodeLimit > s.Offset {
			return fmt.Errorf("CodeDirectory in slot %#x hashes %d bytes, over the signature at offset %d", d.Slot, d.CodeLimit, s.Offset)
		}
	}
	return nil
}

// BestDirectory gives the CodeDirectory that the kernel takes, nil when there is none.
func (s *Signature) BestDirectory() *CodeDirectory {
	if s.Best < 0 || s.Best >= len(s.CodeDirectories) {
		return nil
	}
	return &s.CodeDirectories[s.Best]
}

// rank orders hash types as xnu's hashPriorities does, 0 for unknown ones.
func (d *CodeDirectory) rank() int {
	return hashRanks[d.HashType]
}

var hashRanks = map[uint8]int{1: 1, 3: 2, 2: 3, 4: 4}

// hashSizes are the bytes of each type's hashes in a CodeDirectory.
var hashSizes = map[uint8]uint8{1: 20, 2: 32, 3: 20, 4: 48}

// NewHash gives the hash of HashType, or nil for a type that is not known. Its sums are cut to HashSize where they are stored.
func (d *CodeDirectory) NewHash() hash.Hash {
	switch d.HashType {
	case 1:
		return sha1.New()
	case 2, 3:
		return sha256.New()
	case 4:
		return sha512.New384()
	}
	return nil
}

// CDHash is the code directory hash as codesign prints it: the first 20 bytes of the hash of the blob, 40 hex digits.
// Empty for an unknown HashType.
func (d *CodeDirectory) CDHash() string {
	h := d.NewHash()
	if h == nil {
		return ""
	}
	h.Write(d.Raw)
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// Pages is how many page hashes there are.
func (d *CodeDirectory) Pages() int {
	if d.HashSize == 0 {
		return 0
	}
	return len(d.CodeHashes) / int(d.HashSize)
}

// CodeHash is the hash of page i, 0 to Pages()-1, which is the bytes from i*PageSize to (i+1)*PageSize or CodeLimit.
func (d *CodeDirectory) CodeHash(i int) []byte {
	return d.CodeHashes[i*int(d.HashSize) : (i+1)*int(d.HashSize)]
}

// parseDirectory reads a CodeDirectory by the rules of xnu's cs_validate_codedirectory.
func parseDirectory(b []byte) (CodeDirectory, error) {
	if err := wantMagic(b, magicCodeDirectory); err != nil {
		return CodeDirectory{}, err
	}
	if len(b) < 44 {
		return CodeDirectory{}, fmt.Errorf("%d bytes long, less than 44", len(b))
	}
	d := CodeDirectory{
		Raw:       b,
		Version:   bigEndian.Uint32(b[8:]),
		Flags:     bigEndian.Uint32(b[12:]),
		CodeLimit: int64(bigEndian.Uint32(b[32:])),
		HashSize:  b[36],
		HashType:  b[37],
		Platform:  b[38],
	}
	if size, ok := hashSizes[d.HashType]; !ok || size != d.HashSize {
		return d, fmt.Errorf("hash type %d with %d bytes", d.HashType, d.HashSize)
	}
	if shift := b[39]; shift > 31 {
		return d, fmt.Errorf("pages of 2^%d bytes", shift)
	} else if shift > 0 {
		d.PageSize = 1 << shift
	}
	if d.Version >= 0x20300 && len(b) >= 64 {
		if limit := bigEndian.Uint64(b[56:]); limit > math.MaxInt64 {
			return d, fmt.Errorf("code limit %#x", limit)
		} else if limit != 0 {
			d.CodeLimit = int64(limit)
		}
	}
	if err := d.readHashes(); err != nil {
		return d, err
	}
	return d, d.readNames()
}

// readHashes finds the page hashes, and before them the special ones, the highest slot first.
func (d *CodeDirectory) readHashes() error {
	b, size := d.Raw, int64(d.HashSize)
	at, special, pages := int64(bigEndian.Uint32(b[16:])), int64(bigEndian.Uint32(b[24:])), int64(bigEndian.Uint32(b[28:]))
	if at < 44+special*size || pages*size > int64(len(b))-at {
		return fmt.Errorf("%d special and %d page hashes at offset %d of %d bytes", special, pages, at, len(b))
	}
	if special > maxSpecial {
		return fmt.Errorf("%d special hashes, more than %d", special, maxSpecial)
	}
	d.CodeHashes = b[at : at+pages*size]
	d.SpecialHashes = make(map[int][]byte, special)
	for slot := int64(1); slot <= special; slot++ {
		d.SpecialHashes[int(slot)] = b[at-slot*size : at-(slot-1)*size]
	}
	return nil
}

func (d *CodeDirectory) readNames() error {
	var err error
	if d.Identifier, err = d.text(bigEndian.Uint32(d.Raw[20:])); err != nil {
		return fmt.Errorf("identifier: %w", err)
	}
	if d.Version < 0x20200 || len(d.Raw) < 52 {
		return nil
	}
	at := bigEndian.Uint32(d.Raw[48:])
	if at == 0 {
		return nil
	}
	if d.TeamID, err = d.text(at); err != nil {
		return fmt.Errorf("team: %w", err)
	}
	return nil
}

func (d *CodeDirectory) text(at uint32) (string, error) {
	if int64(at) >= int64(len(d.Raw)) {
		return "", fmt.Errorf("at offset %d of %d bytes", at, len(d.Raw))
	}
	rest := d.Raw[at:]
	end := bytes.IndexByte(rest[:min(len(rest), maxName)], 0)
	if end < 0 {
		return "", fmt.Errorf("at offset %d: %w", at, errNameEnd)
	}
	return string(rest[:end]), nil
}
