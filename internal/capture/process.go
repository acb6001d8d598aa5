package capture

import (
	"bytes"
	"encoding/hex"
	"strings"
)

// What a source keeps of processes and interfaces; hostile files could name millions.
const (
	maxProcesses  = 8 << 10 // remembered for interning, twice (see interned); also the process blocks of a pcapng section
	maxInterfaces = 16 << 10
	maxName       = 256
	maxPath       = 1024 // MAXPATHLEN of macOS; a longer one is left out, since half a path is a wrong one
)

// interned remembers values by key. When it is full, what was not asked for since it was last full is forgotten.
type interned[K comparable, V any] struct {
	young, old map[K]V
	limit      int
}

func newInterned[K comparable, V any](limit int) interned[K, V] {
	return interned[K, V]{young: map[K]V{}, limit: limit}
}

func (t *interned[K, V]) get(key K) (V, bool) {
	v, ok := t.young[key]
	if !ok {
		if v, ok = t.old[key]; ok {
			t.put(key, v)
		}
	}
	return v, ok
}

func (t *interned[K, V]) put(key K, v V) {
	if len(t.young) >= t.limit {
		t.old, t.young = t.young, make(map[K]V, t.limit)
	}
	t.young[key] = v
}

// processes interns what a source says of processes.
type processes struct {
	known interned[Process, *Process]
}

func newProcesses() processes {
	return processes{known: newInterned[Process, *Process](maxProcesses)}
}

// intern gives the one pointer for p; nil for a process of which nothing is known.
func (t *processes) intern(p Process) *Process {
	if p == (Process{PID: -1}) {
		return nil
	}
	if known, ok := t.known.get(p); ok {
		return known
	}
	t.known.put(p, &p)
	return &p
}

// text makes a bounded string of a name that may be padded with NULs and need not be UTF-8.
func text(b []byte, limit int) string {
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	return strings.ToValidUTF8(string(b[:min(len(b), limit)]), "\uFFFD")
}

// uuidText writes an LC_UUID as Apple's tools do: 0F0E0D0C-…, or nothing for none.
func uuidText(b []byte) string {
	if len(b) != 16 || bytes.Equal(b, make([]byte, 16)) {
		return ""
	}
	h := strings.ToUpper(hex.EncodeToString(b))
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// interfaces are the names of a source's interfaces; the index is Packet.Interface.
type interfaces struct {
	names  []string
	byName map[[24]byte]int
}

// add gives a new interface its index, or false when there are too many.
func (t *interfaces) add(name string) (int, bool) {
	if len(t.names) >= maxInterfaces {
		return 0, false
	}
	t.names = append(t.names, name)
	return len(t.names) - 1, true
}

// named gives the index of the interface that a PKTAP header names; 0 when there are too many.
func (t *interfaces) named(name [24]byte) int {
	if index, ok := t.byName[name]; ok {
		return index
	}
	index, ok := t.add(text(name[:], len(name)))
	if !ok {
		return 0
	}
	if t.byName == nil {
		t.byName = map[[24]byte]int{}
	}
	t.byName[name] = index
	return index
}

func (t *interfaces) name(index int) string {
	if index < 0 || index >= len(t.names) {
		return ""
	}
	return t.names[index]
}
