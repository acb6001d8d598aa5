package allowlist

import (
	"math"
	"os"
	"runtime/debug"
	"sync"
)

// ruleSize is what one rule takes in a Set, in bytes (BenchmarkLoad: 54 to 57 MiB for 100,000).
const ruleSize = 600

// manyBytes of rule files are read with a heap that grows slower: osquery's watchdog ends extensions that take more than 200 MB, and garbage would take
// as much as 100,000 rules do.
const manyBytes = 4 << 20

// slowly makes the heap grow slower while large files are read, until what it gives is called.
func slowly(files []string) (done func()) {
	var total int64
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			total += info.Size()
		}
	}
	if total < manyBytes {
		return func() {}
	}
	before := debug.SetGCPercent(20)
	return func() { debug.SetGCPercent(before) }
}

// room is what the process' memory limit was raised by for the rules in force.
var room struct {
	sync.Mutex
	bytes int64
}

// makeRoom raises the memory limit that the process has set itself, if it has, by what the rules in force take: without room for them the garbage
// collector would run all the time.
func makeRoom(rules int) {
	room.Lock()
	defer room.Unlock()
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return
	}
	bytes := int64(rules) * ruleSize
	debug.SetMemoryLimit(limit - room.bytes + bytes)
	room.bytes = bytes
}
