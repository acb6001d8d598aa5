package baseline

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

const (
	// maxLine bounds one line, in bytes: longer ones are reported and passed over. A snapshot of 10,000 rows has about 8 MiB.
	maxLine = 64 << 20
	// maxLineErrors bounds how many bad lines of one file are named; the others are counted.
	maxLineErrors = 20
	// batchRows and batchBytes bound what is handed over at once.
	batchRows  = 2048
	batchBytes = 1 << 20
)

// Progress counts what was read; it may be read at any time.
type Progress struct {
	Bytes    atomic.Int64 // of the files as they are, compressed or not
	Lines    atomic.Int64
	Nameless atomic.Int64 // see Lines
}

// Reader reads log files on a few goroutines into one Counter.
type Reader struct {
	Query   string // see Lines
	Workers int    // how many files are read at once; at least 1
	// Report is called with what is wrong with a file or a line, from one goroutine at a time; reading goes on.
	Report func(error)
	// Progress is what has been read; nil when nobody asks.
	Progress *Progress
}

// Read counts all rows of files; "-" is stdin. The error is that of ctx: what is wrong with the files goes to Report.
func (r *Reader) Read(ctx context.Context, files []string, stdin io.Reader, into *Counter) error {
	if r.Progress == nil {
		r.Progress = &Progress{}
	}
	work := make(chan string)
	batches := make(chan *batch, 2*r.Workers)
	problems := make(chan error)
	var readers sync.WaitGroup
	for range max(1, r.Workers) {
		readers.Go(func() {
			f := fileReader{Reader: r, ctx: ctx, stdin: stdin, batches: batches, problems: problems, lines: Lines{Query: r.Query}}
			for name := range work {
				f.read(name)
			}
		})
	}
	go func() {
		defer close(work)
		for _, name := range files {
			select {
			case work <- name:
			case <-ctx.Done():
				return
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		readers.Wait()
		close(done)
	}()
	for {
		select {
		case b := <-batches:
			b.addTo(into)
		case err := <-problems:
			r.Report(err)
		case <-ctx.Done(): // not waiting for readers: a read of a terminal or a pipe cannot be interrupted. They end after it.
			return ctx.Err()
		case <-done:
			for len(batches) > 0 {
				(<-batches).addTo(into)
			}
			return ctx.Err()
		}
	}
}

// batch is rows with their texts.
type batch struct {
	rows  []Row
	texts []byte
}

var batchPool = sync.Pool{New: func() any { return &batch{} }}

func (b *batch) addTo(c *Counter) {
	for _, row := range b.rows {
		c.Add(row)
	}
	b.rows, b.texts = b.rows[:0], b.texts[:0]
	batchPool.Put(b)
}

// add copies a row; it is full when it says so.
func (b *batch) add(row Row) (full bool) {
	row.Host, row.Identity = b.keep(row.Host), b.keep(row.Identity)
	b.rows = append(b.rows, row)
	return len(b.rows) >= batchRows || len(b.texts) >= batchBytes
}

func (b *batch) keep(text []byte) []byte {
	from := len(b.texts)
	b.texts = append(b.texts, text...)
	return b.texts[from:len(b.texts):len(b.texts)]
}

// fileReader reads one file after the other.
type fileReader struct {
	*Reader
	ctx      context.Context
	stdin    io.Reader
	batches  chan<- *batch
	problems chan<- error
	lines    Lines
	batch    *batch
}

func (f *fileReader) read(name string) {
	in := f.stdin
	if name == "-" {
		name = "stdin"
	} else {
		file, err := os.Open(name)
		if err != nil {
			f.problem(fmt.Errorf("baseline: %w", err))
			return
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	f.batch = batchPool.Get().(*batch)
	if err := f.content(name, &counted{in, f.ctx, &f.Progress.Bytes}); err != nil {
		f.problem(err)
	}
	f.flush()
	f.Progress.Nameless.Add(f.lines.Nameless)
	f.lines.Nameless = 0
}

func (f *fileReader) flush() {
	if len(f.batch.rows) == 0 {
		return
	}
	select {
	case f.batches <- f.batch:
	case <-f.ctx.Done():
	}
	f.batch = batchPool.Get().(*batch)
}

func (f *fileReader) problem(err error) {
	select {
	case f.problems <- err:
	case <-f.ctx.Done():
	}
}

// counted counts the bytes that are read, and ends when ctx does.
type counted struct {
	io.Reader
	ctx context.Context
	n   *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// content reads a file's lines, compressed or not.
func (f *fileReader) content(name string, in io.Reader) error {
	buffered := bufio.NewReaderSize(in, 256<<10)
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("baseline: %s: gzip: %w", name, err)
		}
		buffered = bufio.NewReaderSize(z, 256<<10)
	}
	src := lineSource{in: buffered}
	bad := 0
	for number, last := 1, false; !last && f.ctx.Err() == nil; number++ {
		var line []byte
		var err error
		line, last, err = src.next()
		if last && err == nil && len(line) == 0 {
			break
		}
		f.Progress.Lines.Add(1)
		if err != nil && !errors.Is(err, errLong) { // the file itself
			return fmt.Errorf("baseline: %s:%d: %w", name, number, describe(err))
		}
		if err == nil {
			err = f.line(line)
		}
		if err == nil {
			continue
		}
		if bad++; bad <= maxLineErrors {
			f.problem(fmt.Errorf("baseline: %s:%d: %w", name, number, err))
		}
	}
	if bad > maxLineErrors {
		return fmt.Errorf("baseline: %s: %d more bad lines", name, bad-maxLineErrors)
	}
	return nil
}

// line reads one line's rows; an empty one has none.
func (f *fileReader) line(line []byte) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	return f.lines.Line(line, func(row Row) {
		if f.batch.add(row) {
			f.flush()
		}
	})
}

// describe puts what gzip says into words.
func describe(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("gzip: the file ends too early; what came before is counted")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return fmt.Errorf("%w; what came before is counted", err)
	}
	return err
}

// errLong is a line that is passed over.
var errLong = fmt.Errorf("longer than %d MiB: passed over", maxLine>>20)

// lineSource gives lines of bounded length.
type lineSource struct {
	in   *bufio.Reader
	long []byte
}

// next gives one line without its end, valid until the next call, and whether it is the last. Of a line that another error than the end of the
// file cut off nothing is given.
func (l *lineSource) next() (line []byte, last bool, err error) {
	line, err = l.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.assemble(line)
	}
	if last = errors.Is(err, io.EOF); last {
		err = nil
	}
	switch {
	case err != nil:
		return nil, last, err
	case len(line) > maxLine:
		l.long = nil
		return nil, last, errLong
	}
	return bytes.TrimSuffix(line, []byte("\n")), last, nil
}

// assemble puts a line together that is longer than the buffer, up to maxLine and some bytes.
func (l *lineSource) assemble(part []byte) ([]byte, error) {
	l.long = append(l.long[:0], part...)
	for {
		part, err := l.in.ReadSlice('\n')
		if len(l.long) <= maxLine {
			l.long = append(l.long, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l.long, err
		}
	}
}
