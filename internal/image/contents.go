package image

import (
	"io"
	"strings"

	"github.com/cipherlens/cipherlens/internal/macho"
)

// contents is what of a unit is looked through for what is linked into it.
type contents struct {
	r         io.ReaderAt
	texts     []region // constants and strings
	symbols   []region // symbol tables' names, where imports are too
	code      region   // machine code, to tell packed from plain
	names     region   // Go's pclntab
	end       region   // the last bytes, where archives are appended
	sections  []string
	encrypted string // why the contents cannot be read
}

// region is a part of the file.
type region struct{ offset, size int64 }

// maxEnd is how much of the end is looked at for appended archives.
const maxEnd = 64 << 10

// machoContents finds what of a slice to look through: all sections but code, and the symbols' names.
func machoContents(r io.ReaderAt, size int64, s *macho.Slice) contents {
	within := min(s.Size, size-s.Offset)
	c := contents{r: r}
	clamp := func(offset, n int64) region {
		if offset < 0 || n <= 0 || offset >= within {
			return region{}
		}
		return region{s.Offset + offset, min(n, within-offset)}
	}
	for _, seg := range s.Segments {
		c.sections = append(c.sections, seg.Name)
		if seg.Name == "__LINKEDIT" {
			c.symbols = append(c.symbols, clamp(seg.FileOffset, seg.FileSize))
		} else if len(seg.Sections) == 0 {
			c.texts = append(c.texts, clamp(seg.FileOffset, seg.FileSize))
		}
		for _, sec := range seg.Sections {
			c.sections = append(c.sections, sec.Name)
			at := clamp(sec.Offset, sec.Size)
			switch {
			case sec.ZeroFill():
			case sec.Name == "__gopclntab":
				c.names = at
			case sec.Name == "__text":
				c.code = at
			default:
				c.texts = append(c.texts, at)
			}
		}
	}
	end := within
	if s.Signature != nil && s.Signature.Offset > 0 && s.Signature.Offset < within {
		end = s.Signature.Offset
	}
	c.end = clamp(max(end-maxEnd, 0), min(end, maxEnd))
	if s.Encrypted {
		c.encrypted = "encrypted (LC_ENCRYPTION_INFO or a protected segment): what is linked into it cannot be seen"
	}
	return c
}

// contents finds what of an ELF file to look through: sections where there are any, otherwise segments without code.
func (e *elfFile) contents() contents {
	c := contents{r: e.r}
	clamp := func(offset, n uint64) region {
		if offset >= uint64(e.size) {
			return region{}
		}
		return region{int64(offset), int64(min(n, uint64(e.size)-offset))}
	}
	const noBits, executable, ptLoad, flagX = 8, 4, 1, 1
	for _, s := range e.sections {
		c.sections = append(c.sections, s.name)
		switch at := clamp(s.offset, s.size); {
		case s.kind == noBits:
		case strings.HasSuffix(s.name, ".gopclntab"):
			c.names = at
		case s.flags&executable != 0:
			if s.name == ".text" {
				c.code = at
			}
		case strings.HasPrefix(s.name, ".debug"):
		case s.name == ".strtab" || s.name == ".dynstr":
			c.symbols = append(c.symbols, at)
		default:
			c.texts = append(c.texts, at)
		}
	}
	for _, s := range e.segments {
		if s.kind != ptLoad || len(e.sections) > 0 {
			continue
		}
		if at := clamp(s.offset, s.size); s.flags&flagX == 0 {
			c.texts = append(c.texts, at)
		} else {
			c.code = at
		}
	}
	size := uint64(e.size)
	c.end = clamp(size-min(size, maxEnd), maxEnd)
	return c
}
