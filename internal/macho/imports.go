package macho

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// origin is the table that a reference was found in, the most trustworthy about its library first.
type origin uint8

const (
	fromBind   origin = iota // bind opcodes, chained fixups
	fromLazy                 // lazy bind opcodes, LC_LAZY_LOAD_DYLIB_INFO
	fromWeak                 // weak bind opcodes: looked for in all libraries, and often defined here
	fromSymtab               // undefined symbol
)

// reference is one mention of a symbol that is looked for elsewhere.
type reference struct {
	name    string
	ordinal int32
	from    origin
	weak    bool
}

// rank is 0 for what names a library, higher for what is only taken without that.
func (r reference) rank() origin { return max(r.from, fromLazy) }

// referenceCost is the memory of one reference and the Import it becomes, in slices that have grown, bytes.
const referenceCost = 160

func (r *reader) refer(ref reference) error {
	if err := r.src.budget.take(referenceCost); err != nil {
		return err
	}
	r.references = append(r.references, ref)
	return nil
}

// readImports unites what the symbol table and the fixups say.
func (r *reader) readImports() {
	if r.chained != nil {
		if err := r.readChained(*r.chained); err != nil {
			r.fail("chained fixups", err)
		}
	}
	if r.dyldInfo != nil {
		r.readBinds(r.dyldInfo)
	}
	for _, t := range r.lazyInfos {
		if err := r.readLazyInfo(t); err != nil {
			r.fail("lazily loaded library", err)
		}
	}
	if r.symtab != nil {
		if err := r.readUndefined(); err != nil {
			r.fail("symbol table", err)
		}
	}
	r.out.Imports = r.unite()
}

// unite makes an Import of each symbol and library. Where the fixups name a library, a weak lookup or the symbol table
// have nothing to add.
func (r *reader) unite() []Import {
	if len(r.references) == 0 {
		return nil
	}
	slices.SortFunc(r.references, func(a, b reference) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.ordinal, b.ordinal))
	})
	imports := make([]Import, 0, len(r.references))
	var first reference // the first, and so the best, of those with this name
	for _, ref := range r.references {
		last := len(imports) - 1
		switch {
		case last < 0 || first.name != ref.name:
			first = ref
			imports = append(imports, r.newImport(ref))
		case ref.rank() > first.rank():
		case imports[last].Ordinal == int(ref.ordinal):
			i := &imports[last]
			i.Weak, i.Lazy = i.Weak && ref.weak, i.Lazy && ref.from == fromLazy
		default:
			imports = append(imports, r.newImport(ref))
		}
	}
	return slices.Clip(imports)
}

func (r *reader) newImport(ref reference) Import {
	i := Import{Name: ref.name, Ordinal: int(ref.ordinal), Weak: ref.weak, Lazy: ref.from == fromLazy}
	libraries := len(r.out.Libraries)
	if i.Ordinal > 0 && i.Ordinal <= libraries {
		i.Library = r.out.Libraries[i.Ordinal-1].Name
	}
	if (i.Ordinal > libraries || i.Ordinal < OrdinalWeak) && len(r.out.Errs) <= maxErrs {
		r.fail("imports", fmt.Errorf("%.80q is from library %d of %d", i.Name, i.Ordinal, libraries))
	}
	return i
}
