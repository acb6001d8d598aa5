package capture

import "io"

// windowSize is what is read at once: small enough to stay in a core's cache. Larger pieces make the buffer grow to maxBlock. (To map files
// into memory took three times as long, for its page faults, and a file that shrinks would end the process.)
const windowSize = 256 << 10

// window reads a stream piece by piece without copying: each piece is a slice of one buffer that is used again.
type window struct {
	r      io.Reader
	buf    []byte
	lo, hi int   // what is read and not yet taken
	base   int64 // offset of buf[0] in the stream
	err    error // why no more can be read
}

func newWindow(r io.Reader) window { return window{r: r, buf: make([]byte, windowSize)} }

// offset is where in the stream the next piece begins.
func (w *window) offset() int64 { return w.base + int64(w.lo) }

// take gives the next n bytes, which are valid until the next call. n is at most maxBlock. At the end of the stream it
// returns io.EOF, and io.ErrUnexpectedEOF when there is a part of the piece; nothing is taken then.
func (w *window) take(n int) ([]byte, error) {
	if w.hi-w.lo < n {
		if err := w.fill(n); err != nil {
			return nil, err
		}
	}
	piece := w.buf[w.lo : w.lo+n : w.lo+n]
	w.lo += n
	return piece, nil
}

// ahead gives what was read and not yet taken, at least n bytes of it, without taking any. Errors are those of take.
func (w *window) ahead(n int) ([]byte, error) {
	if w.hi-w.lo < n {
		if err := w.fill(n); err != nil {
			return nil, err
		}
	}
	return w.buf[w.lo:w.hi], nil
}

func (w *window) fill(n int) error {
	w.base += int64(w.lo)
	old := w.buf[w.lo:w.hi]
	if n > len(w.buf) {
		w.buf = make([]byte, maxBlock)
	}
	w.hi = copy(w.buf, old)
	w.lo = 0
	for idle := 0; w.hi < n && w.err == nil; {
		var got int
		got, w.err = w.r.Read(w.buf[w.hi:])
		w.hi += got
		if idle++; got > 0 {
			idle = 0
		}
		if idle > 100 {
			w.err = io.ErrNoProgress
		}
	}
	switch {
	case w.hi >= n:
		return nil
	case w.err == io.EOF && w.hi > 0:
		return io.ErrUnexpectedEOF
	}
	return w.err
}

// skip leaves out the next n bytes, however many.
func (w *window) skip(n int64) error {
	for n > 0 {
		piece := min(n, windowSize)
		if _, err := w.take(int(piece)); err != nil {
			return unexpected(err)
		}
		n -= piece
	}
	return nil
}

// unexpected is the error for an end within a record, also where it falls between two of its pieces.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
