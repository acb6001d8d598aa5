// Package image says of one executable image, and of what it bundles, which crypto it imports or carries inside, and who
// signed it. Mach-O is read by package macho; ELF (Linux) here. What counts as crypto is data: catalogue.tsv.
package image

// The classes of crypto evidence. Only ClassSymmetric is ever evidence for AN0402.
const (
	ClassSymmetric = "symmetric"
	ClassHybrid    = "hybrid"
	ClassKDF       = "kdf"
	ClassHash      = "hash"
	ClassTLS       = "tls"
	ClassRandom    = "random"
)

// Evidence is one provider and class that an image reaches by one kind of linkage in one image.
type Evidence struct {
	Provider  string   // security_framework, commoncrypto, cryptokit, corecrypto, securetransport, network_framework, openssl, …
	Class     string   // ClassSymmetric, …
	Strength  string   // strong: an import that encrypts; weak: a constant, a string, a marker of a linked-in library
	Linkage   string   // direct, weak, lazy, reexport, bundled, static, dlopen
	Library   string   // the library the symbols come from, as the image names it
	Symbols   []string // sorted, without the leading underscore; for markers, what was found
	ImagePath string   // the image that holds the reference
	Via       []string // images between the executable and ImagePath, outermost first
	Arch      []string // slices in which it was found, sorted
}

// The kinds of signer.
const (
	SignedApple       = "apple"
	SignedAppStore    = "app_store"
	SignedDeveloperID = "developer_id"
	SignedDevelopment = "development"
	SignedAdhoc       = "adhoc"
	Unsigned          = "unsigned"
	SignatureInvalid  = "invalid"
)

// Signature is who signed an image, as far as it was proven. For ELF it is zero.
type Signature struct {
	Kind            string // one of the kinds above; empty for formats without signatures
	SigningID       string // CodeDirectory identifier
	TeamID          string // only where a certificate proves it
	ClaimedTeamID   string // what the CodeDirectory says; anyone can write it
	CDHash          string // 40 hex digits
	HardenedRuntime bool
	Checked         string // pages: every page hash agreed; blob: only the signature's own structure and CMS; empty: nothing to check
	Reason          string // why it is invalid
}

// Proven says whether an allowlist may trust this identity: certificate chain or ad hoc cdhash, and the pages agree.
func (s Signature) Proven() bool {
	return (s.Checked == "pages" || s.Checked == "kernel") && s.Kind != SignatureInvalid && s.Kind != Unsigned && s.Kind != ""
}

// Report is what there is to say of one executable.
type Report struct {
	Path      string   // as asked
	Format    string   // mach-o, elf, script, other
	Arch      []string // of all slices
	UUIDs     []string // LC_UUID of each slice (Mach-O), GNU build id (ELF); same order as Arch
	Evidence  []Evidence
	Runtime   string // go, node, electron, pyinstaller, dotnet, …; empty for plain native code
	Signature Signature
	Errs      []error // what could not be read, each naming file and place; what could be is above
}

// Strong says whether r holds strong symmetric evidence, and whether any of that is for Apple's own APIs.
func (r *Report) Strong() (strong, apple bool) {
	for _, e := range r.Evidence {
		if e.Class == ClassSymmetric && e.Strength == "strong" {
			strong = true
			apple = apple || AppleProvider(e.Provider)
		}
	}
	return strong, apple
}

// AppleProvider says whether provider is one of Apple's own symmetric crypto APIs, which the analytic means by "the Security
// framework": SecTransform and SecKey…Symmetric, CDSA, CommonCrypto, CryptoKit, corecrypto.
func AppleProvider(provider string) bool {
	switch provider {
	case "security_framework", "cssm_cdsa", "commoncrypto", "cryptokit", "corecrypto":
		return true
	}
	return false
}
