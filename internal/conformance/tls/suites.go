package tls

import (
	"cmp"
	"slices"
)

// keyExchange says which messages a suite's handshake needs (RFC 5246 section 7.4, RFC 4279, RFC 5054, RFC 2712).
type keyExchange uint8

const (
	kexOther keyExchange = iota // GOST, PWD, …: nothing is demanded of it
	kexRSA
	kexRSAExport
	kexDH
	kexDHE
	kexDHAnon
	kexECDH
	kexECDHE
	kexECDHAnon
	kexPSK
	kexPSKDHE
	kexPSKECDHE
	kexPSKRSA
	kexSRP
	kexSRPSigned
	kexKRB5
	kexTLS13
)

// certified says that a full handshake must bring a server certificate.
func (k keyExchange) certified() bool {
	switch k {
	case kexRSA, kexRSAExport, kexDH, kexDHE, kexECDH, kexECDHE, kexPSKRSA, kexSRPSigned:
		return true
	}
	return false
}

// ephemeral says that a full handshake must bring a ServerKeyExchange.
func (k keyExchange) ephemeral() bool {
	switch k {
	case kexDHE, kexDHAnon, kexECDHE, kexECDHAnon, kexPSKDHE, kexPSKECDHE, kexSRP, kexSRPSigned:
		return true
	}
	return false
}

// sealing says how a suite turns plaintext into the bytes of a record, and so which record lengths exist.
type sealing uint8

const (
	sealOther sealing = iota
	sealNull
	sealStream
	sealCBC8
	sealCBC16
	sealGCM
	sealCCM
	sealCCM8
	sealChaCha
)

// suite is what the state machine needs to know of a cipher suite.
type suite struct {
	id   uint16
	kex  keyExchange
	seal sealing
	mac  uint8 // bytes of the MAC for stream and block ciphers, else of the PRF's hash; 0 unknown
}

// lookupSuite returns the zero suite (nothing is demanded of it) for ids that the registry does not have.
func lookupSuite(id uint16) suite {
	i, ok := slices.BinarySearchFunc(suites[:], id, func(s suite, id uint16) int { return cmp.Compare(s.id, id) })
	if !ok {
		return suite{id: id}
	}
	return suites[i]
}

// tag is the length of an AEAD's authentication tag, 0 for other ciphers (RFC 5116, 6655, 8439).
func (s suite) tag() int {
	switch s.seal {
	case sealGCM, sealCCM, sealChaCha:
		return 16
	case sealCCM8:
		return 8
	}
	return 0
}

// finished13 is the length of TLS 1.3's Finished message with its header (RFC 8446 section 4.4.4), 0 when unknown.
func (s suite) finished13() int {
	if s.kex != kexTLS13 || s.mac == 0 {
		return 0
	}
	return 4 + int(s.mac)
}

// block is the cipher's block length for CBC suites, else 0.
func (s suite) block() int {
	switch s.seal {
	case sealCBC8:
		return 8
	case sealCBC16:
		return 16
	}
	return 0
}
