package image

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	_ "embed" // Apple's public root certificates
	"encoding/hex"
)

// Apple's root certificates, public at https://www.apple.com/certificateauthority/, with their SHA-256 fingerprints as
// published there. "Apple Root CA" is what code is signed under today.
var (
	//go:embed roots/AppleRootCA.cer
	appleRootCA []byte
	//go:embed roots/AppleRootCA-G2.cer
	appleRootCAG2 []byte
	//go:embed roots/AppleRootCA-G3.cer
	appleRootCAG3 []byte
)

const (
	appleRootCAPrint   = "b0b1730ecbc7ff4505142c49f1295e6eda6bcaed7e2c68c5be91b5a11001f024"
	appleRootCAG2Print = "c2b9b042dd57830e7d117dac55ac8ae19407d38e41d88f3215bc3a890444a050"
	appleRootCAG3Print = "63343abfb89a6a03ebb57e9b3f5fa7be7c4f5c756f3017b3a8c488c3653e9179"
)

// anchor is a root certificate that is trusted as it is.
type anchor struct {
	cert *x509.Certificate
}

func (a anchor) is(cert *x509.Certificate) bool { return bytes.Equal(a.cert.Raw, cert.Raw) }

// appleRoots gives Apple's roots whose bytes are what their fingerprint says.
func appleRoots() []anchor {
	var roots []anchor
	for _, r := range []struct {
		der   []byte
		print string
	}{{appleRootCA, appleRootCAPrint}, {appleRootCAG2, appleRootCAG2Print}, {appleRootCAG3, appleRootCAG3Print}} {
		if sum := sha256.Sum256(r.der); hex.EncodeToString(sum[:]) != r.print {
			continue
		}
		if cert, err := x509.ParseCertificate(r.der); err == nil {
			roots = append(roots, anchor{cert})
		}
	}
	return roots
}
