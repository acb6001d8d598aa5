package macho

import (
	"errors"
	"fmt"
	"strings"
)

// Bind opcodes and immediates, mach-o/loader.h.
const (
	opDone              = 0x00
	opOrdinal           = 0x10
	opOrdinalULEB       = 0x20
	opOrdinalSpecial    = 0x30
	opSymbol            = 0x40
	opType              = 0x50
	opAddend            = 0x60
	opSegmentOffset     = 0x70
	opAddAddress        = 0x80
	opBind              = 0x90
	opBindAddAddress    = 0xa0
	opBindAddScaled     = 0xb0
	opBindTimesSkipping = 0xc0
	opThreaded          = 0xd0

	symbolWeak = 0x1 // BIND_SYMBOL_FLAGS_WEAK_IMPORT
)

// readBinds reads the three opcode streams of LC_DYLD_INFO.
func (r *reader) readBinds(c []byte) {
	for _, t := range []struct {
		name string
		at   int
		from origin
	}{
		{"bind opcodes", 16, fromBind},
		{"weak bind opcodes", 24, fromWeak},
		{"lazy bind opcodes", 32, fromLazy},
	} {
		if err := r.readOpcodes(int64(r.u32(c[t.at:])), int64(r.u32(c[t.at+4:])), t.from); err != nil {
			r.fail(t.name, err)
		}
	}
}

func (r *reader) readOpcodes(offset, size int64, from origin) error {
	if size == 0 {
		return nil
	}
	raw, err := r.src.bytes(offset, size)
	if err == nil {
		err = r.src.budget.take(size) // for the copy, which the names are parts of
	}
	if err != nil {
		return err
	}
	p := bindParser{code: string(raw), from: from}
	if from == fromWeak {
		p.ordinal = OrdinalWeak
	}
	for p.at < len(p.code) {
		at := p.at
		bound, err := p.step()
		if err == nil && bound {
			err = r.refer(p.reference)
		}
		if err != nil {
			return fmt.Errorf("opcode at offset %d: %w", offset+int64(at), err)
		}
		if p.done {
			return nil
		}
	}
	return nil
}

// bindParser is dyld's machine for bind opcodes, as far as symbols and libraries go.
type bindParser struct {
	code string
	at   int
	from origin
	done bool

	name      string
	ordinal   int32
	weak      bool
	named     bool // since the last reference
	reference reference
}

// step takes one opcode; bound says that reference is a new one.
func (p *bindParser) step() (bound bool, err error) {
	op, immediate := p.code[p.at]&0xf0, p.code[p.at]&0x0f
	p.at++
	switch op {
	case opDone:
		p.done = p.from != fromLazy // each lazy bind ends with one
	case opOrdinal:
		p.library(int32(immediate))
	case opOrdinalULEB:
		var n uint64
		if n, err = p.uleb(); err == nil {
			p.library(int32(min(n, 1<<30)))
		}
	case opOrdinalSpecial:
		special := int32(0)
		if immediate != 0 {
			special = int32(int8(0xf0 | immediate))
		}
		p.library(special)
	case opSymbol:
		err = p.symbol(immediate)
	case opType:
	case opAddend, opSegmentOffset, opAddAddress:
		_, err = p.uleb() // SLEB128 is as long as ULEB128
	case opBind, opBindAddScaled:
		return p.bind()
	case opBindAddAddress, opBindTimesSkipping:
		return p.bindSkipping(op == opBindTimesSkipping)
	case opThreaded:
		if immediate == 0 { // the size of the ordinal table; 1 applies it
			_, err = p.uleb()
		}
	default:
		err = fmt.Errorf("unknown: %#02x", op)
	}
	return false, err
}

func (p *bindParser) library(ordinal int32) {
	if p.from != fromWeak {
		p.ordinal, p.named = ordinal, true
	}
}

func (p *bindParser) symbol(flags byte) error {
	end := strings.IndexByte(p.code[p.at:], 0)
	if end < 0 || end > maxName {
		return fmt.Errorf("symbol: %w", errNameEnd)
	}
	p.name, p.weak, p.named = p.code[p.at:p.at+end], flags&symbolWeak != 0, true
	p.at += end + 1
	return nil
}

// bind refers to the symbol, once for all places that it is bound at.
func (p *bindParser) bind() (bool, error) {
	if p.name == "" {
		return false, errors.New("binds no symbol")
	}
	bound := p.named
	p.named = false
	p.reference = reference{name: p.name, ordinal: p.ordinal, from: p.from, weak: p.weak}
	return bound, nil
}

func (p *bindParser) bindSkipping(times bool) (bool, error) {
	if _, err := p.uleb(); err != nil {
		return false, err
	}
	if times {
		if _, err := p.uleb(); err != nil {
			return false, err
		}
	}
	return p.bind()
}

func (p *bindParser) uleb() (uint64, error) {
	var v uint64
	for shift := 0; p.at < len(p.code); shift += 7 {
		b := p.code[p.at]
		p.at++
		if shift < 64 {
			v |= uint64(b&0x7f) << shift
		}
		if b < 0x80 {
			return v, nil
		}
		if shift > 63 {
			return 0, errors.New("number longer than 64 bits")
		}
	}
	return 0, errors.New("number does not end")
}
