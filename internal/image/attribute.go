package image

import (
	"cmp"
	"slices"
)

// attributed is one reference or marker put to the catalogue's row that it stands for.
type attributed struct {
	entry    *entry
	symbol   string
	strength string
	linkage  string
	library  string
}

// sureNames is how many symmetric names of one provider must come from one library that the catalogue does not know before
// they count as that provider's. A program has a function called RC4 of its own sooner or later; it has not by chance
// EVP_EncryptInit_ex, EVP_EncryptUpdate and EVP_EncryptFinal_ex.
const sureNames = 3

// attribute puts u's references to the catalogue. reexports lists what the library of that index passes on.
//
// A name counts as strong where it is bound to a library that is known to have it. Bound to another library it is that
// library's own function of this name: weak, unless the library re-exports one that has it, or sureNames says otherwise.
// Apple's names are never strong by sureNames, for they exist nowhere but in Apple's libraries.
func attribute(u *unit, reexports func(index int) []string) []attributed {
	var sure, unsure []attributed
	for _, r := range u.references {
		if a, ok := u.sure(r, reexports); ok {
			sure = append(sure, a)
		} else if a, ok := u.unsure(r); ok {
			unsure = append(unsure, a)
		}
	}
	return append(sure, weigh(unsure)...)
}

// sure gives the row of a reference that is bound to one of its known homes.
func (u *unit) sure(r reference, reexports func(int) []string) (attributed, bool) {
	c := loadCatalogue()
	if r.library == unknownLibrary {
		return u.sureFlat(r)
	}
	lib := u.libraries[r.library]
	a := attributed{symbol: r.symbol, linkage: lib.linkage, library: lib.name}
	if a.entry = c.lookup(r.symbol, lib.name); a.entry == nil {
		a.linkage = linkReexport
		for _, name := range reexports(r.library) {
			if a.entry = c.lookup(r.symbol, name); a.entry != nil {
				break
			}
		}
	}
	if a.entry == nil {
		return a, false
	}
	if r.weak && a.linkage == linkDirect {
		a.linkage = linkWeak
	}
	a.strength = a.entry.strength
	return a, true
}

// sureFlat looks for a home of the name among all libraries of the unit.
func (u *unit) sureFlat(r reference) (attributed, bool) {
	for _, e := range loadCatalogue().imports[r.symbol] {
		exact := slices.IndexFunc(u.libraries, func(l library) bool { return slices.Contains(e.libraries, l.name) })
		if exact < 0 {
			exact = slices.IndexFunc(u.libraries, func(l library) bool { return e.in(l.name) })
		}
		if exact < 0 {
			continue
		}
		lib := u.libraries[exact]
		a := attributed{entry: e, symbol: r.symbol, strength: e.strength, linkage: lib.linkage, library: lib.name}
		if r.weak && a.linkage == linkDirect {
			a.linkage = linkWeak
		}
		return a, true
	}
	return attributed{}, false
}

// unsure gives the likeliest row of a reference to a library that is not known to have this name.
func (u *unit) unsure(r reference) (attributed, bool) {
	e := loadCatalogue().likeliest(r.symbol)
	if e == nil || e.provider == "libc" { // setkey, encrypt: too common as names
		return attributed{}, false
	}
	a := attributed{entry: e, symbol: r.symbol, strength: weak, linkage: linkDirect}
	if r.library != unknownLibrary {
		a.library, a.linkage = u.libraries[r.library].name, u.libraries[r.library].linkage
	}
	if r.weak && a.linkage == linkDirect {
		a.linkage = linkWeak
	}
	return a, true
}

// weigh raises references to strong where sureNames of one provider come from one library.
func weigh(unsure []attributed) []attributed {
	type source struct{ provider, library string }
	names := map[source]int{}
	for _, a := range unsure {
		if a.entry.class == ClassSymmetric && a.entry.strength == strong && !AppleProvider(a.entry.provider) {
			names[source{a.entry.provider, a.library}]++
		}
	}
	for i, a := range unsure {
		if names[source{a.entry.provider, a.library}] >= sureNames {
			unsure[i].strength = a.entry.strength
		}
	}
	return unsure
}

// place is where evidence was found.
type place struct {
	image string
	via   []string
	arch  string
}

// kind is what makes two pieces of evidence one, but for symbols and slices.
type kind struct{ provider, class, strength, linkage, library, image string }

func (e *Evidence) kind() kind {
	return kind{e.Provider, e.Class, e.Strength, e.Linkage, e.Library, e.ImagePath}
}

// group makes evidence of what was found in one unit.
func group(found []attributed, at place) []Evidence {
	var out []Evidence
	known := map[kind]int{}
	for _, a := range found {
		e := Evidence{
			Provider: a.entry.provider, Class: a.entry.class, Strength: a.strength, Linkage: a.linkage, Library: a.library,
			ImagePath: at.image,
		}
		i, ok := known[e.kind()]
		if !ok {
			i = len(out)
			known[e.kind()] = i
			e.Via, e.Arch = slices.Clone(at.via), []string{at.arch}
			out = append(out, e)
		}
		out[i].Symbols = append(out[i].Symbols, a.symbol)
	}
	return out
}

// merge unites the evidence of all slices: what is the same in two slices is one piece that names both.
func merge(all []Evidence) []Evidence {
	var out []Evidence
	known := map[kind]int{}
	for _, e := range all {
		i, ok := known[e.kind()]
		if !ok {
			known[e.kind()] = len(out)
			out = append(out, e)
			continue
		}
		out[i].Symbols = append(out[i].Symbols, e.Symbols...)
		out[i].Arch = append(out[i].Arch, e.Arch...)
	}
	for i := range out {
		out[i].Symbols = sortedSet(out[i].Symbols)
		out[i].Arch = sortedSet(out[i].Arch)
	}
	slices.SortStableFunc(out, func(a, b Evidence) int {
		return cmp.Or(
			cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Strength, b.Strength),
			cmp.Compare(a.ImagePath, b.ImagePath), cmp.Compare(a.Linkage, b.Linkage), cmp.Compare(a.Library, b.Library),
		)
	})
	return out
}

func sortedSet(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}
