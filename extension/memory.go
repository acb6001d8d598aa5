package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What Go may have resident, beside code and the capture's ring. Go's collector is told a limit that follows what lives: a limit that is too near has it run
// all the time (measured: half a core), one that is far keeps memory that is not needed.
const (
	goAround     = 17 << 19 // bytes of the runtime itself: spans, stacks, the collector's marks, what is not full
	garbageShare = 7        // what lives may have a seventh of itself as garbage
	memoryBeside = 10 << 20 // and beside memory_budget there is this in any case
	memoryLook   = 2 * time.Second
)

// memoryLimit is what Go may have with so much alive.
func memoryLimit(budget, live int64) int64 {
	return max(budget+memoryBeside, live+live/garbageShare+goAround)
}

// keepMemory sets the limit, and again every few seconds, until ctx ends.
func keepMemory(ctx context.Context, budget int64) {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(memoryLook)
	defer tick.Stop()
	var last int64
	for {
		metrics.Read(live)
		if limit := memoryLimit(budget, int64(live[0].Value.Uint64())); limit != last {
			debug.SetMemoryLimit(limit)
			last = limit
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
