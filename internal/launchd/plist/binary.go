package plist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// The layout is documented in CoreFoundation's CFBinaryPList.c: header, objects, offset table, 32-byte trailer.
const trailerSize = 32

// appleEpoch is 2001-01-01T00:00:00Z in seconds since 1970.
const appleEpoch = 978307200

// binaryReader holds one file and what was read of it: each object is read once, however often it is referred to.
type binaryReader struct {
	objects    []byte // everything before the offset table
	table      []byte
	offsetSize int
	refSize    int
	known      []object
	spent      int // bytes of all objects read: more than the file has means that they overlap
	budget     *budget
}

// object is one entry of the object table.
type object struct {
	state  uint8
	value  any
	weight int // values that it unfolds to, itself included
	height int // containers below it
}

const (
	unread uint8 = iota
	reading
	read
)

func parseBinary(data []byte, b *budget) (any, error) {
	if len(data) < 8+1+trailerSize || data[6] != '0' {
		return nil, errors.New("binary: not version 0, or too short")
	}
	t := data[len(data)-trailerSize:]
	offsetSize, refSize := int(t[6]), int(t[7])
	count, top, start := binary.BigEndian.Uint64(t[8:]), binary.BigEndian.Uint64(t[16:]), binary.BigEndian.Uint64(t[24:])
	room := uint64(len(data) - trailerSize)
	switch {
	case !validWidth(offsetSize) || !validWidth(refSize):
		return nil, fmt.Errorf("binary: trailer: sizes %d and %d", offsetSize, refSize)
	case start < 9 || start >= room:
		return nil, fmt.Errorf("binary: trailer: offset table at %d of %d bytes", start, len(data))
	case count > (room-start)/uint64(offsetSize):
		return nil, fmt.Errorf("binary: trailer: %d objects do not fit", count)
	case count > uint64(b.limits.Nodes):
		return nil, fmt.Errorf("binary: %w: %d objects", ErrLimit, count)
	case top >= count:
		return nil, fmt.Errorf("binary: trailer: top object %d of %d", top, count)
	}
	r := &binaryReader{
		objects: data[:start], table: data[start:room], offsetSize: offsetSize, refSize: refSize,
		known: make([]object, count), budget: b,
	}
	o, err := r.object(top, 0)
	if err != nil {
		return nil, fmt.Errorf("binary: %w", err)
	}
	return o.value, nil
}

func validWidth(n int) bool { return n >= 1 && n <= 8 }

// bigEndian reads an unsigned number of at most 8 bytes.
func bigEndian(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// object reads object number n, which stands depth containers deep.
func (r *binaryReader) object(n uint64, depth int) (*object, error) {
	if n >= uint64(len(r.known)) {
		return nil, fmt.Errorf("object %d of %d", n, len(r.known))
	}
	o := &r.known[n]
	switch o.state {
	case reading:
		return nil, fmt.Errorf("object %d holds itself", n)
	case unread:
		o.state, o.weight = reading, 1
		if depth > r.budget.limits.Depth {
			return nil, fmt.Errorf("%w: nested deeper than %d", ErrLimit, r.budget.limits.Depth)
		}
		at := bigEndian(r.table[int(n)*r.offsetSize:][:r.offsetSize])
		if at < 8 || at >= uint64(len(r.objects)) {
			return nil, fmt.Errorf("object %d: at offset %d, outside the objects", n, at)
		}
		if err := r.read(o, int(at), depth); err != nil {
			return nil, fmt.Errorf("object %d, offset %d: %w", n, at, err)
		}
		o.state = read
	}
	if depth+o.height > r.budget.limits.Depth {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrLimit, r.budget.limits.Depth)
	}
	return o, nil
}

// spend accounts for the n bytes after at, which must be there and belong to one object only.
func (r *binaryReader) spend(at int, n uint64) ([]byte, error) {
	if n > uint64(len(r.objects)-at) {
		return nil, fmt.Errorf("%d bytes at offset %d end behind the objects", n, at)
	}
	if r.spent += int(n); r.spent > len(r.objects) {
		return nil, errors.New("objects overlap")
	}
	return r.objects[at:][:n], nil
}

func (r *binaryReader) read(o *object, at, depth int) error {
	marker := r.objects[at]
	if _, err := r.spend(at, 1); err != nil {
		return err
	}
	var err error
	switch kind := marker >> 4; kind {
	case 0x0:
		o.value, err = simple(marker)
	case 0x1, 0x2, 0x3, 0x8:
		o.value, err = r.scalar(marker, at+1)
	case 0x4, 0x5, 0x6, 0x7:
		o.value, err = r.bytes(marker, at)
	case 0xA, 0xC, 0xD:
		err = r.container(o, marker, at, depth)
	default:
		err = fmt.Errorf("unknown marker 0x%02x", marker)
	}
	return err
}

func simple(marker byte) (any, error) {
	switch marker {
	case 0x00:
		return nil, nil
	case 0x08:
		return false, nil
	case 0x09:
		return true, nil
	}
	return nil, fmt.Errorf("unknown marker 0x%02x", marker)
}

// scalar reads a number, a date or a UID.
func (r *binaryReader) scalar(marker byte, at int) (any, error) {
	size := uint64(1) << (marker & 0xF)
	if marker>>4 == 0x8 {
		size = uint64(marker&0xF) + 1
	}
	raw, err := r.spend(at, size)
	if err != nil {
		return nil, err
	}
	switch {
	case marker>>4 == 0x8 && size <= 8:
		return UID(bigEndian(raw)), nil
	case marker>>4 == 0x1 && size < 8:
		return int64(bigEndian(raw)), nil //nolint:gosec // at most 4 bytes
	case marker>>4 == 0x1 && size == 8:
		return int64(bigEndian(raw)), nil // 8 bytes are signed //nolint:gosec // meant
	case marker>>4 == 0x1 && size == 16:
		return wide(bigEndian(raw[:8]), bigEndian(raw[8:]))
	case marker == 0x22:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(raw))), nil
	case marker == 0x23:
		return math.Float64frombits(binary.BigEndian.Uint64(raw)), nil
	case marker == 0x33:
		return appleTime(math.Float64frombits(binary.BigEndian.Uint64(raw)))
	}
	return nil, fmt.Errorf("unknown marker 0x%02x", marker)
}

// wide narrows a 128-bit number, the form in which CoreFoundation writes those above the range of int64.
func wide(high, low uint64) (any, error) {
	switch {
	case high == 0 && low > math.MaxInt64:
		return low, nil
	case high == 0, high == math.MaxUint64 && low > math.MaxInt64:
		return int64(low), nil //nolint:gosec // in range, or meant as negative
	}
	return nil, errors.New("a number beyond 64 bits")
}

func appleTime(seconds float64) (any, error) {
	const far = 1e11 // about the year 5000: time.Time would still do, but no date is meant
	if math.IsNaN(seconds) || math.Abs(seconds) > far {
		return nil, errors.New("a date out of range")
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole)+appleEpoch, int64(part*1e9)).UTC(), nil
}

// length reads the count of a marker and gives the offset behind it.
func (r *binaryReader) length(marker byte, at int) (uint64, int, error) {
	if n := marker & 0xF; n != 0xF {
		return uint64(n), at + 1, nil
	}
	head, err := r.spend(at+1, 1)
	if err != nil {
		return 0, 0, err
	}
	size := uint64(1) << (head[0] & 0xF)
	if head[0]>>4 != 0x1 || size > 8 {
		return 0, 0, fmt.Errorf("count with marker 0x%02x", head[0])
	}
	raw, err := r.spend(at+2, size)
	if err != nil {
		return 0, 0, err
	}
	return bigEndian(raw), at + 2 + int(size), nil
}

// bytes reads data and strings.
func (r *binaryReader) bytes(marker byte, at int) (any, error) {
	n, at, err := r.length(marker, at)
	if err != nil {
		return nil, err
	}
	if marker>>4 == 0x6 {
		if n > uint64(len(r.objects)) {
			return nil, fmt.Errorf("%d characters do not fit", n)
		}
		n *= 2
	}
	raw, err := r.spend(at, n)
	if err != nil {
		return nil, err
	}
	switch marker >> 4 {
	case 0x4:
		return append([]byte{}, raw...), nil
	case 0x5:
		for _, c := range raw {
			if c >= utf8.RuneSelf {
				return nil, errors.New("an ASCII string that is not ASCII")
			}
		}
	case 0x6:
		return utf16String(raw, binary.BigEndian), nil
	}
	return string(raw), nil
}

func utf16String(raw []byte, order binary.ByteOrder) string {
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}

// container reads an array, a set or a dictionary.
func (r *binaryReader) container(o *object, marker byte, at, depth int) error {
	n, at, err := r.length(marker, at)
	if err != nil {
		return err
	}
	if n > uint64(len(r.objects)) {
		return fmt.Errorf("%d elements do not fit", n)
	}
	dict := marker>>4 == 0xD
	refs := n
	if dict {
		refs = 2 * n
	}
	raw, err := r.spend(at, refs*uint64(r.refSize))
	if err != nil {
		return err
	}
	child := func(i uint64) (any, error) { return r.child(o, bigEndian(raw[int(i)*r.refSize:][:r.refSize]), depth) }
	if dict {
		o.value, err = r.dictionary(n, child)
		return err
	}
	list := make([]any, n)
	for i := range n {
		if list[i], err = child(i); err != nil {
			return err
		}
	}
	o.value = list
	return nil
}

func (r *binaryReader) dictionary(n uint64, child func(uint64) (any, error)) (any, error) {
	dict := make(map[string]any, n)
	for i := range n {
		key, err := child(i)
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("key %d is not a string", i)
		}
		value, err := child(n + i)
		if err != nil {
			return nil, err
		}
		r.budget.set(dict, name, value)
	}
	return dict, nil
}

// child reads what a container holds and adds its weight and height to the container's.
func (r *binaryReader) child(parent *object, ref uint64, depth int) (any, error) {
	c, err := r.object(ref, depth+1)
	if err != nil {
		return nil, err
	}
	if parent.weight += c.weight; parent.weight > r.budget.limits.Nodes {
		return nil, fmt.Errorf("%w: unfolds to more than %d values", ErrLimit, r.budget.limits.Nodes)
	}
	parent.height = max(parent.height, c.height+1)
	return c.value, nil
}
