package image

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/big"
	"os"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/macho"
)

// authority is a certificate and its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes a certificate with Apple's kind of extensions, signed by parent, or by itself without one.
func issue(t *testing.T, parent *authority, name string, ca bool, ou string, extensions ...asn1.ObjectIdentifier) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"Apple Inc."}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: ca,
		KeyUsage: x509.KeyUsageCertSign, SignatureAlgorithm: x509.ECDSAWithSHA256,
	}
	if ou != "" {
		template.Subject.OrganizationalUnit = []string{ou}
	}
	if !ca {
		template.KeyUsage = x509.KeyUsageDigitalSignature
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	for _, oid := range extensions {
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: oid, Critical: true, Value: asn1.NullBytes})
	}
	by := &authority{template, key}
	if parent != nil {
		by = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key}
}

// signing is how a fixture is signed.
type signing struct {
	leaf         *authority
	parents      []*x509.Certificate
	others       []*x509.Certificate // more certificates in the CMS
	team         string
	alternate    bool // a SHA-1 CodeDirectory in slot 0 and a SHA-256 one in slot 0x1000, as for old systems
	coverPlist   bool // the alternate is named by the property list only
	coverNothing bool
	entitlements string
	tamper       func(blobs map[uint32][]byte) // what an attacker does to the blobs
}

const pageSize = 4096

// thin gives the arm64 fixture without its signature: file, end of what is signed, and where its load command is.
func thin(t *testing.T) (code []byte, end int64, command int) {
	t.Helper()
	b, err := os.ReadFile("testdata/tree/usr/local/bin/direct")
	require.NoError(t, err)
	file, err := macho.Read(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	for _, s := range file.Slices {
		if s.Arch == "arm64" {
			code = bytes.Clone(b[s.Offset : s.Offset+s.Signature.Offset])
			end = s.Signature.Offset
		}
	}
	at := 32
	for range binary.LittleEndian.Uint32(code[16:]) {
		if binary.LittleEndian.Uint32(code[at:]) == 0x1d { // LC_CODE_SIGNATURE
			return code, end, at
		}
		at += int(binary.LittleEndian.Uint32(code[at+4:]))
	}
	require.Fail(t, "no LC_CODE_SIGNATURE")
	return nil, 0, 0
}

// signed gives the arm64 fixture signed anew, laid out as xnu's osfmk/kern/cs_blobs.h says.
func signed(t *testing.T, s signing) []byte {
	t.Helper()
	code, end, command := thin(t)
	const room = 24 << 10
	binary.LittleEndian.PutUint32(code[command+12:], room)
	grow(code, end+room)

	blobs := map[uint32][]byte{}
	if s.entitlements != "" {
		blobs[5] = blob(0xfade7171, []byte(s.entitlements))
	}
	main := directory(code, s.team, blobs, s.alternate)
	blobs[0] = main
	if s.alternate {
		blobs[0x1000] = directory(code, s.team, blobs, false)
	}
	if s.leaf != nil {
		blobs[0x10000] = blob(0xfade0b01, cms(t, s, blobs))
	}
	if s.tamper != nil {
		s.tamper(blobs)
	}
	out := append(code, superBlob(blobs)...)
	return append(out, make([]byte, int(end)+room-len(out))...)
}

// grow makes __LINKEDIT reach to the end.
func grow(code []byte, end int64) {
	at := 32
	for range binary.LittleEndian.Uint32(code[16:]) {
		if binary.LittleEndian.Uint32(code[at:]) == 0x19 && bytes.HasPrefix(code[at+8:], []byte("__LINKEDIT\x00")) {
			offset := binary.LittleEndian.Uint64(code[at+40:])
			binary.LittleEndian.PutUint64(code[at+48:], uint64(end)-offset)
			binary.LittleEndian.PutUint64(code[at+32:], (uint64(end)-offset+0x3fff)&^0x3fff)
		}
		at += int(binary.LittleEndian.Uint32(code[at+4:]))
	}
}

func blob(magic uint32, contents []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	return append(binary.BigEndian.AppendUint32(b, uint32(8+len(contents))), contents...)
}

// directory makes a CodeDirectory of version 0x20400 over code.
func directory(code []byte, team string, blobs map[uint32][]byte, old bool) []byte {
	hash, size, kind := func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }, 32, byte(2)
	if old {
		hash, size, kind = func(b []byte) []byte { h := sha1.Sum(b); return h[:] }, 20, 1
	}
	const header, special = 88, 5
	names := "com.example.program\x00"
	if team != "" {
		names += team + "\x00"
	}
	pages := (len(code) + pageSize - 1) / pageSize
	hashes := header + len(names) + special*size
	b := make([]byte, hashes, hashes+pages*size)
	put := func(at int, v uint32) { binary.BigEndian.PutUint32(b[at:], v) }
	put(0, 0xfade0c02)
	put(4, uint32(hashes+pages*size))
	put(8, 0x20400)
	put(12, 0x10000) // hardened runtime
	put(16, uint32(hashes))
	put(20, header)
	put(24, special)
	put(28, uint32(pages))
	put(32, uint32(len(code)))
	b[36], b[37], b[39] = byte(size), kind, 12
	if team != "" {
		put(48, header+20)
	}
	copy(b[header:], names)
	if e := blobs[5]; e != nil {
		copy(b[hashes-5*size:], hash(e))
	}
	for i := range pages {
		b = append(b, hash(code[i*pageSize:min((i+1)*pageSize, len(code))])...)
	}
	return b
}

func cms(t *testing.T, s signing, blobs map[uint32][]byte) []byte {
	t.Helper()
	sd, err := pkcs7.NewSignedData(blobs[0])
	require.NoError(t, err)
	sd.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	var config pkcs7.SignerInfoConfig
	if alt := blobs[0x1000]; alt != nil && !s.coverNothing {
		sum := sha256.Sum256(alt)
		if s.coverPlist {
			plist := fmt.Sprintf("<plist><dict><key>cdhashes</key><array>\n<data>\n\t%s\n</data>\n<data>AAAA</data></array></dict></plist>",
				base64.StdEncoding.EncodeToString(sum[:20]))
			config.ExtraSignedAttributes = []pkcs7.Attribute{{Type: oidCDHashPlist, Value: []byte(plist)}}
		} else {
			config.ExtraSignedAttributes = []pkcs7.Attribute{{Type: oidCDHashes, Value: struct {
				Algorithm asn1.ObjectIdentifier
				Digest    []byte
			}{pkcs7.OIDDigestAlgorithmSHA256, sum[:]}}}
		}
	}
	require.NoError(t, sd.AddSignerChain(s.leaf.cert, s.leaf.key, s.parents, config))
	for _, c := range s.others {
		sd.AddCertificate(c)
	}
	sd.Detach()
	der, err := sd.Finish()
	require.NoError(t, err)
	return der
}

func superBlob(blobs map[uint32][]byte) []byte {
	var index, body []byte
	for _, slot := range []uint32{0, 5, 0x1000, 0x10000} {
		if b := blobs[slot]; b != nil {
			index = binary.BigEndian.AppendUint32(index, slot)
			index = binary.BigEndian.AppendUint32(index, uint32(len(body)))
			body = append(body, b...)
		}
	}
	for i := 4; i < len(index); i += 8 {
		binary.BigEndian.PutUint32(index[i:], binary.BigEndian.Uint32(index[i:])+uint32(12+len(index)))
	}
	out := binary.BigEndian.AppendUint32(nil, 0xfade0cc0)
	out = binary.BigEndian.AppendUint32(out, uint32(12+len(index)+len(body)))
	out = binary.BigEndian.AppendUint32(out, uint32(len(index)/8))
	return append(append(out, index...), body...)
}
