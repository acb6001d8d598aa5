package image

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/cipherlens/cipherlens/internal/rootfs"
)

// What is remembered: all executables of a large host and what they bundle. Real ones weigh some 10 KiB.
const (
	maxCached       = 4096     // files
	maxCachedWeight = 48 << 20 // bytes, as facts.weight estimates
)

// cacheKey is one state of one file, and how far it was read.
type cacheKey struct {
	id   rootfs.ID
	main bool
}

// cache remembers facts, the least recently asked for forgotten first. What several ask for at once is read once.
type cache struct {
	mu      sync.Mutex
	limit   int
	weight  int64
	known   map[cacheKey]*list.Element // of *cached
	recent  *list.List                 // most recent first
	flights map[cacheKey]*flight
}

type cached struct {
	key   cacheKey
	facts *facts
}

// flight is a read that others wait for.
type flight struct {
	done  chan struct{}
	facts *facts
	err   error
}

func newCache(limit int) *cache {
	return &cache{limit: limit, known: map[cacheKey]*list.Element{}, recent: list.New(), flights: map[cacheKey]*flight{}}
}

// get gives the facts of key, by read unless they are known. read says of which state they are, should it have changed.
func (c *cache) get(ctx context.Context, key cacheKey, read func() (cacheKey, *facts, error)) (*facts, error) {
	for {
		c.mu.Lock()
		if e, ok := c.known[key]; ok {
			c.recent.MoveToFront(e)
			c.mu.Unlock()
			return e.Value.(*cached).facts, nil
		}
		other, ok := c.flights[key]
		if !ok {
			own := &flight{done: make(chan struct{})}
			c.flights[key] = own
			c.mu.Unlock()
			c.fly(key, own, read)
			return own.facts, own.err
		}
		c.mu.Unlock()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		// Whoever read it may have given up because its own time was over: then it is read again for us.
		if !errors.Is(other.err, context.Canceled) && !errors.Is(other.err, context.DeadlineExceeded) {
			return other.facts, other.err
		}
	}
}

func (c *cache) fly(key cacheKey, own *flight, read func() (cacheKey, *facts, error)) {
	own.err = errors.New("reading it panicked") // what the others are told if read does not return
	defer func() {
		c.mu.Lock()
		delete(c.flights, key)
		c.mu.Unlock()
		close(own.done)
	}()
	key2, f, err := read()
	own.facts, own.err = f, err
	if err == nil {
		c.add(key2, f)
	}
}

func (c *cache) add(key cacheKey, f *facts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[key]; ok {
		return
	}
	c.known[key] = c.recent.PushFront(&cached{key, f})
	c.weight += f.weight()
	for c.recent.Len() > c.limit || c.weight > maxCachedWeight {
		last := c.recent.Remove(c.recent.Back()).(*cached)
		delete(c.known, last.key)
		c.weight -= last.facts.weight()
	}
}

// weight estimates the memory of f, in bytes.
func (f *facts) weight() int64 {
	const fixed, text, reference = 512, 32, 48
	n := int64(fixed)
	for _, err := range f.errs {
		n += int64(len(err.Error())) + text
	}
	for _, u := range f.units {
		n += fixed + int64(len(u.references)*reference)
		for _, l := range u.libraries {
			n += int64(len(l.name)) + 2*text
		}
		for _, m := range u.markers {
			n += int64(len(m.found)) + 2*text
		}
		for _, list := range [][]string{u.rpaths, u.runpaths, u.environment} {
			for _, s := range list {
				n += int64(len(s)) + text
			}
		}
	}
	return n
}
