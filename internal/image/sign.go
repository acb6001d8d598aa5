package image

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cipherlens/cipherlens/internal/macho"
)

// How far a signature was checked.
const (
	checkedPages = "pages"
	checkedBlob  = "blob"
)

// maxSigned is how many bytes of one file are hashed, some seconds' worth. Of larger files the pages are not checked, and nothing
// is proven.
const maxSigned = 2 << 30

// hardenedRuntime is CS_RUNTIME, xnu osfmk/kern/cs_blobs.h.
const hardenedRuntime = 0x10000

// verifySlices judges the signatures of all slices and gives the one that deserves least trust, since any of them may run:
// of equal ones the first for arm64, otherwise the first.
func verifySlices(ctx context.Context, r io.ReaderAt, slices []*macho.Slice, roots []anchor, b *budget) Signature {
	var worst Signature
	native := false
	for i, s := range slices {
		sig := verifySlice(ctx, r, s, roots, b)
		arm := strings.HasPrefix(s.Arch, "arm64")
		if c := cmp.Or(trust(sig)-trust(worst), len(sig.Checked)-len(worst.Checked)); i == 0 || c < 0 || c == 0 && arm && !native {
			worst, native = sig, arm
		}
	}
	return worst
}

// trust orders kinds of signer.
func trust(s Signature) int {
	switch s.Kind {
	case SignedApple:
		return 6
	case SignedAppStore:
		return 5
	case SignedDeveloperID:
		return 4
	case SignedDevelopment:
		return 3
	case SignedAdhoc:
		return 2
	case Unsigned:
		return 1
	}
	return 0
}

// verifySlice judges one slice's signature: special slots, CMS and its chain, then every page.
func verifySlice(ctx context.Context, r io.ReaderAt, s *macho.Slice, roots []anchor, b *budget) Signature {
	if s.Signature == nil {
		return Signature{Kind: Unsigned}
	}
	cd := s.Signature.BestDirectory()
	if cd == nil {
		return Signature{Kind: SignatureInvalid, Reason: fmt.Sprintf("slice %s: no CodeDirectory that can be read", s.Arch)}
	}
	sig := Signature{
		SigningID: cd.Identifier, ClaimedTeamID: cd.TeamID, CDHash: cd.CDHash(), HardenedRuntime: cd.Flags&hardenedRuntime != 0,
		Checked: checkedBlob,
	}
	err := sig.identify(s.Signature, cd, roots)
	if err == nil {
		if b.signed -= cd.CodeLimit; b.signed < 0 {
			sig.Reason = fmt.Sprintf("slice %s: more than %d bytes are signed: the pages were not checked", s.Arch, maxSigned)
			return sig
		}
		if err = verifyPages(ctx, io.NewSectionReader(r, s.Offset, s.Size), s.Signature.Offset, cd); err == nil {
			sig.Checked = checkedPages
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return sig // not checked to the end: the facts are not kept
	}
	if err != nil {
		sig.Kind, sig.TeamID, sig.Reason = SignatureInvalid, "", fmt.Sprintf("slice %s: %v", s.Arch, err)
	}
	return sig
}

// identify sets kind and team by the CMS signature.
func (s *Signature) identify(sig *macho.Signature, cd *macho.CodeDirectory, roots []anchor) error {
	if err := verifySpecialSlots(sig, cd); err != nil {
		return err
	}
	if len(sig.CMS) == 0 {
		s.Kind = SignedAdhoc
		return nil
	}
	chain, err := verifyCMS(sig, cd, roots)
	if err != nil {
		return fmt.Errorf("CMS signature: %w", err)
	}
	s.Kind, s.TeamID, err = judge(chain, cd.TeamID)
	return err
}

// The special slots whose contents are in the signature itself. Info.plist (1) and CodeResources (3) are files of the bundle.
var embeddedSlots = []int{2, 5, 7, 8, 9, 10, 11}

// verifySpecialSlots compares the blobs beside the CodeDirectory with its hashes of them.
func verifySpecialSlots(sig *macho.Signature, cd *macho.CodeDirectory) error {
	for _, slot := range embeddedSlots {
		blob, want := sig.Blobs[uint32(slot)], cd.SpecialHashes[slot]
		empty := len(bytes.Trim(want, "\x00")) == 0
		switch {
		case blob == nil && empty:
			continue
		case blob == nil:
			return fmt.Errorf("special slot %d: what it hashes is not there", slot)
		}
		h := cd.NewHash()
		if h == nil {
			return fmt.Errorf("CodeDirectory: hash type %d is not known", cd.HashType)
		}
		h.Write(blob)
		if empty || !bytes.Equal(h.Sum(nil)[:min(len(want), h.Size())], want) {
			return fmt.Errorf("special slot %d: its contents are not those that were signed", slot)
		}
	}
	return nil
}

// verifyPages hashes the slice page by page, as far as it is signed, and names the first that was changed. end is where the
// signature starts: up to there every byte must be covered.
func verifyPages(ctx context.Context, slice *io.SectionReader, end int64, cd *macho.CodeDirectory) error {
	h := cd.NewHash()
	if h == nil {
		return fmt.Errorf("CodeDirectory: hash type %d is not known", cd.HashType)
	}
	if cd.CodeLimit < end {
		return fmt.Errorf("pages: only %d of %d bytes are signed", cd.CodeLimit, end)
	}
	page := int64(cd.PageSize)
	if page == 0 {
		page = max(cd.CodeLimit, 1)
	}
	pages := int((cd.CodeLimit + page - 1) / page)
	if cd.Pages() < pages {
		return fmt.Errorf("pages: %d hashes for %d pages", cd.Pages(), pages)
	}
	buffer := make([]byte, 128<<10)
	for i := range pages {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := int64(i) * page
		h.Reset()
		if _, err := io.CopyBuffer(h, onlyReader{io.NewSectionReader(slice, start, min(page, cd.CodeLimit-start))}, buffer); err != nil {
			return fmt.Errorf("page %d at offset %d: %w", i, start, err)
		}
		want := cd.CodeHash(i)
		if got := h.Sum(nil); len(want) == 0 || !bytes.Equal(got[:min(len(want), len(got))], want) {
			return fmt.Errorf("page %d at offset %d of the slice was changed after signing", i, start)
		}
	}
	return nil
}

// onlyReader keeps io.CopyBuffer to the buffer it is given.
type onlyReader struct{ io.Reader }
