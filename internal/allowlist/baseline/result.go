package baseline

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// columns are those of one row that are learned from.
type columns struct {
	key, team, signing, signature, cdhash, path, address, port, protocol, verdict []byte
	hasIdentity                                                                   bool // exception_key or cdhash is there, if only empty
}

// part is where in a line something stands.
type part struct{ from, to int }

// result is one log line, or one element of a batch, before its rows are read.
type result struct {
	name, host, action, calendar []byte
	unix                         int64
	columns, snapshot, diff      part
	batches                      []part // data and records of Fleet's and Kafka's batches
}

// errNotJSON is a line that is no JSON document, or not an osquery result.
var errNotJSON = errors.New("not JSON")

// Lines reads osquery's result lines.
type Lines struct {
	// Query lets only rows of queries pass whose name contains it; empty lets all.
	Query string
	// Nameless counts the findings that were passed over because they name no program: the sensor did not know whose traffic it was.
	Nameless int64

	row columns
}

// Line reads one line and calls row for every row that is learned. The shapes are those that osquery's filesystem, TLS and Kafka loggers
// and Fleet write: one result with columns, snapshot or diffResults; {"data": [...]} and {"records": [{"value": ...}]}; an array of results.
func (l *Lines) Line(line []byte, row func(Row)) error {
	s := &scanner{data: line}
	if s.peek() == '[' {
		return l.list(s, 0, row)
	}
	if err := l.one(s, 0, row); err != nil {
		return err
	}
	if !s.end() {
		return fmt.Errorf("%w: more after the first value, at byte %d", errNotJSON, s.at)
	}
	return nil
}

// maxBatches bounds batches within batches.
const maxBatches = 3

func (l *Lines) list(s *scanner, depth int, row func(Row)) error {
	var first error
	ok := s.array(depth, func() bool {
		before := s.at
		err := l.one(s, depth+1, row)
		if err != nil && first == nil {
			first = err
		}
		return err == nil || !errors.Is(err, errNotJSON) && s.at > before
	})
	if !ok && first == nil {
		first = fmt.Errorf("%w: at byte %d", errNotJSON, s.at)
	}
	if first == nil && depth == 0 && !s.end() {
		first = fmt.Errorf("%w: more after the first value, at byte %d", errNotJSON, s.at)
	}
	return first
}

// one reads one result.
func (l *Lines) one(s *scanner, depth int, row func(Row)) error {
	var r result
	if s.peek() != '{' {
		if !s.skip(depth) {
			return fmt.Errorf("%w: at byte %d", errNotJSON, s.at)
		}
		return errors.New("not an osquery result")
	}
	if !s.object(depth, func(key []byte) bool { return r.field(s, depth+1, key) }) {
		return fmt.Errorf("%w: at byte %d", errNotJSON, s.at)
	}
	for _, batch := range r.batches {
		if depth >= maxBatches {
			return errors.New("batches within batches")
		}
		if err := l.list(&scanner{data: s.data[:batch.to], at: batch.from}, depth+1, row); err != nil {
			return err
		}
	}
	return l.rows(s.data, &r, row)
}

// field takes what is needed of a result.
func (r *result) field(s *scanner, depth int, key []byte) bool {
	ok := true
	switch string(key) {
	case "name":
		r.name, ok = s.scalar(depth)
	case "hostIdentifier":
		r.host, ok = s.scalar(depth)
	case "action":
		r.action, ok = s.scalar(depth)
	case "calendarTime":
		r.calendar, ok = s.scalar(depth)
	case "unixTime":
		var text []byte
		text, ok = s.scalar(depth)
		r.unix, _ = strconv.ParseInt(string(text), 10, 64)
	case "columns":
		r.columns, ok = s.part(depth)
	case "snapshot":
		r.snapshot, ok = s.part(depth)
	case "diffResults":
		r.diff, ok = s.part(depth)
	case "data", "records":
		isList := s.peek() == '['
		var p part
		if p, ok = s.part(depth); isList {
			r.batches = append(r.batches, p)
		}
	case "value": // of a record for Kafka's REST proxy
		isResult := s.peek() == '{'
		var p part
		if p, ok = s.part(depth); isResult && ok {
			inner := scanner{data: s.data[:p.to], at: p.from}
			ok = inner.object(depth, func(key []byte) bool {
				return string(key) != "value" && r.field(&inner, depth+1, key) || inner.skip(depth+1)
			})
		}
	default:
		ok = s.skip(depth)
	}
	return ok
}

func (s *scanner) part(depth int) (part, bool) {
	s.space()
	from := s.at
	ok := s.skip(depth)
	return part{from, s.at}, ok
}

// rows reads the rows of a result.
func (l *Lines) rows(line []byte, r *result, row func(Row)) error {
	if l.Query != "" && !bytes.Contains(r.name, []byte(l.Query)) {
		return nil
	}
	var lists []part
	switch {
	case r.snapshot.to > 0:
		lists = append(lists, r.snapshot)
	case r.diff.to > 0:
		d := &scanner{data: line[:r.diff.to], at: r.diff.from}
		if d.peek() == '{' {
			d.object(0, func(key []byte) bool {
				p, ok := d.part(1)
				if string(key) == "added" {
					lists = append(lists, p)
				}
				return ok
			})
		}
	case r.columns.to > 0 && string(r.action) != "removed":
		return l.columns(&scanner{data: line[:r.columns.to], at: r.columns.from}, r, row)
	}
	var first error
	for _, p := range lists {
		s := &scanner{data: line[:p.to], at: p.from}
		if !bytes.Contains(line[p.from:p.to], []byte(`"remote_address"`)) || s.peek() != '[' {
			continue
		}
		s.array(0, func() bool {
			err := l.columns(s, r, row)
			if first == nil {
				first = err
			}
			return true
		})
	}
	return first
}

// columns reads one row. What is not a row to learn from is passed over; one that should be and cannot be read is an error.
func (l *Lines) columns(s *scanner, r *result, row func(Row)) error {
	if s.peek() != '{' {
		s.skip(0)
		return nil
	}
	c := &l.row
	*c = columns{}
	s.object(0, func(key []byte) bool {
		text, ok := s.scalar(1)
		c.set(key, text)
		return ok
	})
	if !c.hasIdentity || len(c.address) == 0 {
		return nil
	}
	var found Row
	switch string(c.verdict) {
	case "random":
		found.Verdict = Random
	case "tls_mimic":
		found.Verdict = TLSMimic
	default:
		return nil
	}
	var err error
	if found.Where, err = c.destination(); err != nil {
		return err
	}
	if found.Day, err = r.day(); err != nil {
		return err
	}
	if found.Host = r.host; len(found.Host) == 0 {
		return errors.New("no hostIdentifier")
	}
	if found.Identity = identityOf(c); len(found.Identity) == 0 {
		l.Nameless++
		return nil
	}
	row(found)
	return nil
}

func (c *columns) set(key, text []byte) {
	switch string(key) {
	case "exception_key":
		c.key, c.hasIdentity = text, true
	case "cdhash":
		c.cdhash, c.hasIdentity = text, true
	case "team_id":
		c.team = text
	case "signing_id":
		c.signing = text
	case "signature":
		c.signature = text
	case "path":
		c.path = text
	case "remote_address":
		c.address = text
	case "remote_port":
		c.port = text
	case "protocol":
		c.protocol = text
	case "verdict":
		c.verdict = text
	}
}

func (c *columns) destination() (Destination, error) {
	address, err := netip.ParseAddr(string(c.address))
	if err != nil {
		return Destination{}, fmt.Errorf("remote_address: %q is no address", clip(c.address))
	}
	port, err := strconv.ParseUint(string(c.port), 10, 16)
	if err != nil {
		return Destination{}, fmt.Errorf("remote_port: %q is no port", clip(c.port))
	}
	protocol, err := strconv.ParseUint(string(c.protocol), 10, 8)
	if err != nil || protocol != 6 && protocol != 17 {
		return Destination{}, fmt.Errorf("protocol: %q is neither 6 nor 17", clip(c.protocol))
	}
	return NewDestination(address, uint16(port), uint8(protocol)), nil
}

func clip(text []byte) string { return string(text[:min(len(text), 40)]) }

// day is that of unixTime, or where that is missing of calendarTime.
func (r *result) day() (Day, error) {
	if r.unix == 0 && len(r.calendar) > 0 {
		t, err := time.Parse("Mon Jan _2 15:04:05 2006 MST", string(r.calendar))
		if err != nil {
			return 0, fmt.Errorf("calendarTime: %q is no time", clip(r.calendar))
		}
		r.unix = t.Unix()
	}
	if r.unix < int64(firstDay)*86400 || r.unix >= int64(lastDay)*86400 {
		return 0, fmt.Errorf("unixTime: %d is not between the years 2000 and 2100", r.unix)
	}
	return Day(r.unix / 86400), nil
}
