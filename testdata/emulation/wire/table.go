// Package wire speaks the wire formats of known implants, of what hides them, and of what they hide in, for measuring detection. It is traffic only: what
// is sent are made-up facts about a made-up host, and nothing is done with what is received.
package wire

import (
	"fmt"
	"slices"
)

// Class is what the detection can make of a format.
type Class string

// The classes.
const (
	Random Class = "random" // a finding: random bytes, perhaps behind a clear header
	Mimic  Class = "mimic"  // a finding: pretends to be TLS
	Blind  Class = "blind"  // genuine TLS or plain HTTP: no finding by principle
	Evades Class = "evades" // made to be missed; the report says how far that works
)

// A Format is one implant's way of putting messages on a socket.
type Format struct {
	Name     string // also the name of its executable
	Software string // ATT&CK's software id; empty where it has none
	Cipher   string
	Layout   string // how the bytes lie
	Source   string // where the layout is from; "stated" where no source publishes it
	Class    Class
	Blind    string // for Blind: what else would see it
	Port     uint16
	UDP      bool
	Shape    string // the only shape it is used in; empty: all
	Dressed  bool   // its client has a TLS library linked in
	// ReconnectBeacons: a new connection for every beacon, as HTTP implants do.
	ReconnectBeacons bool
	Open             func(*End) (Link, error)
	Mac              MacImage
}

// MacImage is what the macOS executable of an implant calls to encrypt.
type MacImage struct {
	API string // a macro of campaign/image.c
	// Symbol is what the finding must name; empty where no crypto can be seen.
	Symbol string
}

var (
	ccrypt    = MacImage{"CCCRYPT", "CCCrypt"}
	cryptor   = MacImage{"CCCRYPTOR", "CCCryptorCreate"}
	transform = MacImage{"SECTRANSFORM", "SecEncryptTransformCreate"}
	modes     = MacImage{"CCMODE", "CCCryptorCreateWithMode"}
	inlineRC4 = MacImage{"INLINE_RC4", ""}
	inlineAES = MacImage{"INLINE_AES", ""}
)

// Formats are the implants, then the evasions. A program built with the tag plain has only those that do not speak TLS or HTTP, and so no TLS library: the
// detection weighs crypto less in a program that may need it for TLS. Real implants written in Go have that library, whatever they speak.
func Formats() []Format {
	return slices.Concat(streams(), messages(), records23(), dressed(), evasions())
}

// Named finds a format.
func Named(name string) (Format, error) {
	all := Formats()
	if i := slices.IndexFunc(all, func(f Format) bool { return f.Name == name }); i >= 0 {
		return all[i], nil
	}
	return Format{}, fmt.Errorf("wire: no format %q", name)
}

// Shapes are the shapes that f is measured in.
func (f Format) Shapes() []Shape {
	if f.Shape == "" {
		return Shapes
	}
	return []Shape{must(ShapeNamed(f.Shape))}
}
