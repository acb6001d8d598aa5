// Package plist reads property lists from files that anyone may have written: binary (bplist00), XML and old-style text.
//
// The work for one file is bounded by its size: nothing is read twice, nothing recurses deeper than Limits.Depth, and a binary
// file whose objects share children is refused when it would unfold to more than Limits.Nodes values. Libraries at hand do not
// hold that: howett.net/plist, the oracle of this package's tests, is still busy after a minute with 202 bytes, and overflows the stack on deep nesting.
package plist

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
)

// ErrLimit says that a property list is larger, deeper or has more values than allowed.
var ErrLimit = errors.New("limit exceeded")

// Readers on macOS (CoreFoundation, libxpc, IOKit) do not agree on what these mean, so they hide things from one or the other. Parse gives
// them beside the value, in which the last of two equal keys counts, stray text does not, and a bad value is nil.
var (
	ErrDuplicateKey = errors.New("key given twice")
	ErrStrayText    = errors.New("text between values")
	ErrBadValue     = errors.New("bad value")
)

// UID is a reference into the object table of an NSKeyedArchiver archive.
type UID uint64

// Limits bound one property list.
type Limits struct {
	Size  int // bytes
	Depth int // dictionaries and arrays within each other
	Nodes int // values and keys, shared ones counted once for each place that they stand in
}

// Default fits every launchd property list and Info.plist: the largest ones that macOS ships are below 100 KiB.
var Default = Limits{Size: 1 << 20, Depth: 64, Nodes: 100_000}

// Parse reads a property list within the Default limits.
func Parse(data []byte) (any, error) { return Default.Parse(data) }

// Parse reads a property list of any form. Values are map[string]any, []any, string, bool, int64 (uint64 above its range),
// float64, time.Time, []byte, UID, or nil for a file without a value. Do not change them: a binary file's values may be shared.
// Except for ErrDuplicateKey, ErrStrayText and ErrBadValue the value is nil when there is an error.
func (l Limits) Parse(data []byte) (any, error) {
	if len(data) > l.Size {
		return nil, fmt.Errorf("plist: %w: %d bytes, at most %d", ErrLimit, len(data), l.Size)
	}
	b := budget{limits: l}
	var value any
	var err error
	if bytes.HasPrefix(data, []byte("bplist")) {
		value, err = parseBinary(data, &b)
	} else {
		value, err = parseText(data, &b)
	}
	if err != nil {
		return nil, fmt.Errorf("plist: %w", err)
	}
	if b.doubtful != nil {
		return value, fmt.Errorf("plist: %w", b.doubtful)
	}
	return value, nil
}

// parseText reads what is not binary: XML begins with a tag, "<" followed by a hexadecimal digit is old-style data.
func parseText(data []byte, b *budget) (any, error) {
	text, err := decodeText(data)
	if err != nil {
		return nil, err
	}
	body := bytes.TrimLeft(text, " \t\r\n")
	if xmlHead.Match(body) {
		return parseXML(text, b)
	}
	return parseOldStyle(text, b)
}

var xmlHead = regexp.MustCompile(`^<([?!]|(plist|dict|array|string|integer|real|true|false|date|data)[\s/>])`)

// budget counts what one property list has used of its limits.
type budget struct {
	limits   Limits
	nodes    int
	doubtful error // the first thing on which readers do not agree
}

// enter is called for each value at its depth (0 for the outermost).
func (b *budget) enter(depth int) error {
	if depth > b.limits.Depth {
		return fmt.Errorf("%w: nested deeper than %d", ErrLimit, b.limits.Depth)
	}
	if b.nodes++; b.nodes > b.limits.Nodes {
		return fmt.Errorf("%w: more than %d values", ErrLimit, b.limits.Nodes)
	}
	return nil
}

func (b *budget) doubt(err error) {
	if b.doubtful == nil {
		b.doubtful = err
	}
}

func (b *budget) set(dict map[string]any, key string, value any) {
	if _, twice := dict[key]; twice {
		b.doubt(fmt.Errorf("%w: %q", ErrDuplicateKey, shorten(key)))
	}
	dict[key] = value
}

// shorten keeps a hostile key from filling a log line.
func shorten(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// unwrapUID turns the text forms' dictionary for a UID into one, as CoreFoundation does.
func unwrapUID(dict map[string]any) any {
	if n, ok := dict["CF$UID"].(int64); ok && len(dict) == 1 && n >= 0 {
		return UID(n)
	}
	return dict
}
