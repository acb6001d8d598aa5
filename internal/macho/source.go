package macho

import (
	"errors"
	"fmt"
	"io"
)

// What one file may cost, whatever it claims. The largest real files measured take a third of the memory.
const (
	maxMemory = 13 << 20  // bytes of all that is kept or held while reading
	maxLooked = 256 << 20 // bytes read or scanned
	maxName   = 16 << 10  // bytes of one symbol's name
)

// errCost ends the reading of a table; what was found until then is kept.
var errCost = errors.New("more than one file may take")

// budget is what is left for one file, over all its slices.
type budget struct {
	memory, looked int64
}

func (b *budget) take(memory int64) error {
	if memory > b.memory {
		return fmt.Errorf("%d bytes of memory: %w, %d bytes", memory, errCost, maxMemory)
	}
	b.memory -= memory
	return nil
}

func (b *budget) look(n int64) error {
	if n > b.looked {
		return fmt.Errorf("%d bytes to look at: %w, %d bytes", n, errCost, maxLooked)
	}
	b.looked -= n
	return nil
}

// source is a window on a file: a file, a slice or a table.
type source struct {
	r          io.ReaderAt
	base, size int64
	budget     *budget
}

func newSource(r io.ReaderAt, size int64) source {
	return source{r: r, size: max(size, 0), budget: &budget{memory: maxMemory, looked: maxLooked}}
}

// window gives the n bytes from off as a source of their own.
func (s source) window(off, n int64) (source, error) {
	if off < 0 || n < 0 || off > s.size || n > s.size-off {
		return source{}, fmt.Errorf("%d bytes at offset %d: outside the %d bytes there are", n, off, s.size)
	}
	return source{r: s.r, base: s.base + off, size: n, budget: s.budget}, nil
}

// bytes reads n bytes from off into memory of their own.
func (s source) bytes(off, n int64) ([]byte, error) {
	if _, err := s.window(off, n); err != nil {
		return nil, err
	}
	if err := s.budget.take(n); err != nil {
		return nil, fmt.Errorf("%d bytes at offset %d: %w", n, off, err)
	}
	b := make([]byte, n)
	return b, s.fill(b, off)
}

// fill reads len(b) bytes from off.
func (s source) fill(b []byte, off int64) error {
	if _, err := s.window(off, int64(len(b))); err != nil {
		return err
	}
	if err := s.budget.look(int64(len(b))); err != nil {
		return err
	}
	n, err := s.r.ReadAt(b, s.base+off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the file is shorter than it was said to be
	}
	return fmt.Errorf("%d bytes at offset %d: %w", len(b), off, err)
}
