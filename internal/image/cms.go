package image

import (
	"bytes"
	_ "crypto/sha1" // old signatures
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"

	"github.com/cipherlens/cipherlens/internal/macho"
)

// Object identifiers of Apple's code signatures (Security/OSX/libsecurity_codesigning, and Apple's certification practice
// statements for the certificate extensions).
var (
	oidSigningTime = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidCDHashPlist = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 9, 1} // property list with all cdhashes, each 20 bytes
	oidCDHashes    = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 9, 2} // {digest algorithm, digest} of all CodeDirectories

	oidAppStoreLeaf       = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 1, 9}
	oidDeveloperIDLeaf    = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 1, 13}
	oidDeveloperIDIssuer  = asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 2, 6}
	appleCodeSigningCA    = "Apple Code Signing Certification Authority" // what "anchor apple" asks for below the root
	appleCodeSigningCAOrg = "Apple Inc."
)

// Limits for CMS: real ones are about 9,000 bytes, 20 deep, with 3 to 6 certificates.
const (
	maxCMS          = 64 << 10
	maxBERDepth     = 64
	maxCertificates = 32
	maxChain        = 6
)

// verifyCMS checks that the CMS signature covers the CodeDirectories and that its chain ends in one of roots, and gives the
// chain, leaf first. Certificates are judged at the time of signing, as macOS does: a Developer ID certificate that
// expired since does not end the software that it signed.
func verifyCMS(sig *macho.Signature, best *macho.CodeDirectory, roots []anchor) ([]*x509.Certificate, error) {
	p7, err := parseCMS(sig.CMS)
	if err != nil {
		return nil, err
	}
	if len(p7.Signers) != 1 || len(p7.Certificates) > maxCertificates {
		return nil, fmt.Errorf("%d signers and %d certificates", len(p7.Signers), len(p7.Certificates))
	}
	leaf := p7.GetOnlySigner()
	if leaf == nil {
		return nil, errors.New("the signer's certificate is not in it")
	}
	primary := &sig.CodeDirectories[0]
	if primary.Slot != 0 {
		return nil, errors.New("no CodeDirectory in slot 0")
	}
	if len(p7.Content) > 0 {
		return nil, errors.New("signs contents of its own, not the CodeDirectory")
	}
	p7.Content = primary.Raw
	if err := p7.Verify(); err != nil {
		return nil, oneLine(err)
	}
	if err := coversBest(p7, primary, best); err != nil {
		return nil, err
	}
	signed := leaf.NotBefore
	var at time.Time
	if p7.UnmarshalSignedAttribute(oidSigningTime, &at) == nil {
		signed = at
	}
	return buildChain(leaf, p7.Certificates, roots, signed)
}

// oneLine keeps an error of several lines to one row of a table.
func oneLine(err error) error {
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// parseCMS guards the parser, which recurses and has no limits of its own.
func parseCMS(der []byte) (p7 *pkcs7.PKCS7, err error) {
	if len(der) > maxCMS {
		return nil, fmt.Errorf("%d bytes, more than %d", len(der), maxCMS)
	}
	if err := checkBER(der); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil {
			p7, err = nil, fmt.Errorf("malformed: %v", r)
		}
	}()
	return pkcs7.Parse(der)
}

// checkBER walks the nested structures without recursion and refuses those too deep.
func checkBER(b []byte) error {
	var ends []int // where open structures end; -1 until an end-of-contents
	for at := 0; at < len(b); {
		for len(ends) > 0 && ends[len(ends)-1] >= 0 && at >= ends[len(ends)-1] {
			ends = ends[:len(ends)-1]
		}
		start := at
		constructed := b[at]&0x20 != 0
		if b[at]&0x1f == 0x1f {
			return fmt.Errorf("malformed: long tag at offset %d", at)
		}
		if at+2 > len(b) {
			return fmt.Errorf("malformed: ends at offset %d", at)
		}
		length := int(b[at+1])
		at += 2
		switch n := length & 0x7f; {
		case length == 0x80 && constructed:
			length = -1
		case length >= 0x80:
			if n == 0 || n > 3 || at+n > len(b) {
				return fmt.Errorf("malformed: length at offset %d", at)
			}
			length = 0
			for _, c := range b[at : at+n] {
				length = length<<8 | int(c)
			}
			at += n
		}
		if length > len(b)-at {
			return fmt.Errorf("malformed: %d bytes at offset %d, outside the %d there are", length, at, len(b))
		}
		switch {
		case b[start] == 0 && length == 0 && len(ends) > 0 && ends[len(ends)-1] < 0:
			ends = ends[:len(ends)-1]
		case !constructed:
			at += length
		case len(ends) >= maxBERDepth:
			return fmt.Errorf("malformed: nested more than %d deep at offset %d", maxBERDepth, start)
		case length < 0:
			ends = append(ends, -1)
		default:
			ends = append(ends, at+length)
		}
		if len(ends) == 0 {
			return nil // padding behind it is nobody's business
		}
	}
	return nil
}

// coversBest checks that the CodeDirectory that the kernel takes is signed: the signature is over the one in slot 0, and
// names the others in an attribute.
func coversBest(p7 *pkcs7.PKCS7, primary, best *macho.CodeDirectory) error {
	if best.Slot == primary.Slot {
		return nil
	}
	h := best.NewHash()
	if h == nil {
		return fmt.Errorf("CodeDirectory: hash type %d is not known", best.HashType)
	}
	h.Write(best.Raw)
	sum := h.Sum(nil)
	for _, a := range p7.Signers[0].AuthenticatedAttributes {
		switch {
		case a.Type.Equal(oidCDHashes) && hasDigest(a.Value.Bytes, sum):
			return nil
		case a.Type.Equal(oidCDHashPlist) && hasData(a.Value.Bytes, sum[:20]):
			return nil
		}
	}
	return fmt.Errorf("does not cover the CodeDirectory in slot %#x", best.Slot)
}

// hasDigest looks for sum in a row of SEQUENCE {OID, OCTET STRING}.
func hasDigest(set, sum []byte) bool {
	for len(set) > 0 {
		var d struct {
			Algorithm asn1.ObjectIdentifier
			Digest    []byte
		}
		rest, err := asn1.Unmarshal(set, &d)
		if err != nil {
			return false
		}
		if bytes.Equal(d.Digest, sum) {
			return true
		}
		set = rest
	}
	return false
}

// hasData looks for sum among the data elements of a property list in an OCTET STRING.
func hasData(set, sum []byte) bool {
	var plist []byte
	if _, err := asn1.Unmarshal(set, &plist); err != nil {
		return false
	}
	for part := range bytes.SplitSeq(plist, []byte("<data>")) {
		text, _, ok := bytes.Cut(part, []byte("</data>"))
		if !ok {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err == nil && bytes.Equal(data, sum) {
			return true
		}
	}
	return false
}

// buildChain gives the certificates from leaf to one of roots, each valid at the given time. crypto/x509's own builder
// refuses Apple's critical extensions and SHA-1, which Apple's older intermediates have.
func buildChain(leaf *x509.Certificate, certs []*x509.Certificate, roots []anchor, at time.Time) ([]*x509.Certificate, error) {
	if !canSignCode(leaf) {
		return nil, fmt.Errorf("certificate %q is not for code signing", leaf.Subject.CommonName)
	}
	// The roots first: a copy of one among the certificates must not lengthen the chain.
	known := make([]*x509.Certificate, 0, len(roots)+len(certs))
	for _, r := range roots {
		known = append(known, r.cert)
	}
	known = append(known, certs...)
	chain := []*x509.Certificate{leaf}
	for cert := leaf; len(chain) <= maxChain; {
		if at.Before(cert.NotBefore) || at.After(cert.NotAfter) {
			return nil, fmt.Errorf("certificate %q was not valid on %s", cert.Subject.CommonName, at.UTC().Format(time.DateOnly))
		}
		for _, r := range roots {
			if r.is(cert) {
				return chain, nil
			}
		}
		if cert = issuer(cert, known, len(chain)-1, at); cert == nil {
			break
		}
		chain = append(chain, cert)
	}
	return nil, fmt.Errorf("the chain of %q does not end at an Apple root", leaf.Subject.CommonName)
}

// issuer finds the certificate that signed cert, below which there are as many other authorities.
func issuer(cert *x509.Certificate, certs []*x509.Certificate, below int, at time.Time) *x509.Certificate {
	for _, c := range certs {
		if !bytes.Equal(c.RawSubject, cert.RawIssuer) || bytes.Equal(c.Raw, cert.Raw) || at.Before(c.NotBefore) || at.After(c.NotAfter) {
			continue
		}
		if !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
			continue
		}
		if (c.MaxPathLen > 0 || c.MaxPathLenZero) && below > c.MaxPathLen {
			continue
		}
		if c.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
			return c
		}
	}
	return nil
}

func canSignCode(leaf *x509.Certificate) bool {
	for _, u := range leaf.ExtKeyUsage {
		if u == x509.ExtKeyUsageCodeSigning {
			return true
		}
	}
	return false
}

// judge names the signer by its chain, leaf first and root last, and gives the team that it proves.
func judge(chain []*x509.Certificate, claimed string) (kind, team string, err error) {
	leaf, last := chain[0], chain[len(chain)-1]
	ou := ""
	if len(leaf.Subject.OrganizationalUnit) == 1 {
		ou = leaf.Subject.OrganizationalUnit[0]
	}
	matches := ou != "" && (claimed == "" || claimed == ou)
	switch {
	case len(chain) == 3 && isAppleCodeSigningCA(chain[1]):
		return SignedApple, "", nil
	case hasExtension(leaf, oidAppStoreLeaf):
		return SignedAppStore, claimed, nil // Apple signs it itself, and with it what the CodeDirectory claims
	case len(chain) == 3 && hasExtension(chain[1], oidDeveloperIDIssuer) && hasExtension(leaf, oidDeveloperIDLeaf):
		if !matches {
			return "", "", fmt.Errorf("the CodeDirectory claims team %q, the certificate is for %q", claimed, ou)
		}
		return SignedDeveloperID, ou, nil
	case matches && last != leaf:
		return SignedDevelopment, ou, nil
	}
	return SignedDevelopment, "", nil
}

// isAppleCodeSigningCA is the test of "anchor apple" (Security/OSX/libsecurity_codesigning/lib/reqinterp.cpp, appleSigned).
func isAppleCodeSigningCA(c *x509.Certificate) bool {
	return c.Subject.CommonName == appleCodeSigningCA && len(c.Subject.Organization) == 1 && c.Subject.Organization[0] == appleCodeSigningCAOrg
}

func hasExtension(c *x509.Certificate, oid asn1.ObjectIdentifier) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			return true
		}
	}
	return false
}
