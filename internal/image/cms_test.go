package image

import (
	"bytes"
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/macho"
)

// Signatures that OpenSSL made (testdata/cms/make.sh).
func TestVerifyOpenSSL(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/cms/" + name)
		require.NoError(t, err)
		return b
	}
	root, err := x509.ParseCertificate(read("root.cer"))
	require.NoError(t, err)
	for name, want := range map[string]string{
		"sha256.cms": "", "sha1.cms": "", "noattributes.cms": "", "sha256.cms in indefinite lengths": "",
		"attached.cms": "signs contents of its own", "indefinite.cms": "signs contents of its own",
	} {
		der, rewrite := strings.CutSuffix(name, " in indefinite lengths")
		cms := read(der)
		if rewrite {
			cms = indefinite(cms)
		}
		sig := &macho.Signature{CMS: cms, CodeDirectories: []macho.CodeDirectory{{Raw: read("signed.bin")}}}
		chain, err := verifyCMS(sig, &sig.CodeDirectories[0], []anchor{{root}})
		if want != "" {
			require.ErrorContains(t, err, want, name)
			continue
		}
		require.NoError(t, err, name)
		require.Len(t, chain, 3)
		kind, by, err := judge(chain, team)
		require.NoError(t, err)
		require.Equal(t, []string{SignedDeveloperID, team}, []string{kind, by}, name)

		_, err = verifyCMS(sig, &sig.CodeDirectories[0], appleRoots())
		require.ErrorContains(t, err, "does not end at an Apple root", name)
		sig.CodeDirectories[0].Raw = append(sig.CodeDirectories[0].Raw, 0)
		_, err = verifyCMS(sig, &sig.CodeDirectories[0], []anchor{{root}})
		require.Error(t, err, "%s: one byte more than was signed", name)
	}
}

// indefinite writes the three outer structures {OID, [0] {{…}}} with ends instead of lengths, as Apple does.
func indefinite(der []byte) []byte {
	oid, inner := der[4:15], der[23:]
	out := append([]byte{0x30, 0x80}, oid...)
	out = append(out, 0xa0, 0x80, 0x30, 0x80)
	return append(append(out, inner...), make([]byte, 6)...)
}

// Whatever byte of a signature is changed, it never proves another identity.
func TestEveryByteOfSignature(t *testing.T) {
	t.Parallel()
	root := issue(t, nil, "Root", true, "")
	ca := issue(t, root, "Developer ID Certification Authority", true, "", oidDeveloperIDIssuer)
	file := signed(t, signing{
		leaf: issue(t, ca, "Leaf", false, team, oidDeveloperIDLeaf), parents: []*x509.Certificate{ca.cert, root.cert}, team: team,
		entitlements: "<plist><dict/></plist>", alternate: true,
	})
	whole := verify(t, file, root)
	require.Equal(t, SignedDeveloperID, whole.Kind)
	_, end, _ := thin(t)
	last := int64(len(bytes.TrimRight(file, "\x00")))
	for at := end; at < last; at++ {
		patched := bytes.Clone(file)
		patched[at] ^= 0x41
		f, err := macho.Read(bytes.NewReader(patched), int64(len(patched)))
		require.NoError(t, err)
		s := verifySlices(t.Context(), bytes.NewReader(patched), f.Slices, []anchor{{root.cert}}, newBudget())
		if s.Proven() && s.Kind != SignedAdhoc {
			// Where the alternate is no longer found, the one in slot 0 is what was signed.
			if primary := f.Slices[0].Signature.CodeDirectories[0]; primary.HashType == 1 && len(f.Slices[0].Signature.CodeDirectories) == 1 {
				require.Equal(t, primary.CDHash(), s.CDHash)
				s.CDHash = whole.CDHash
			}
			require.Equal(t, whole, s, "byte %d of %d", at-end, last-end)
		}
	}
}
