package launchd

import (
	"errors"

	"github.com/cipherlens/cipherlens/internal/launchd/plist"
)

// archive is an NSKeyedArchiver archive: a table of objects that refer to each other by index. Nothing is unfolded: each step
// follows one reference, and steps are counted, so that an archive that refers to itself ends.
type archive struct {
	objects []any
	top     map[string]any
	steps   int
}

// maxSteps is far beyond what 100,000 background items need.
const maxSteps = 4_000_000

var errArchive = errors.New("not an NSKeyedArchiver archive")

func newArchive(value any) (*archive, error) {
	dict, _ := value.(map[string]any)
	objects, isList := dict["$objects"].([]any)
	top, isDict := dict["$top"].(map[string]any)
	if !isList || !isDict {
		return nil, errArchive
	}
	return &archive{objects: objects, top: top}, nil
}

// get follows a reference. What is no reference is itself; one to nowhere, or to the object for nil, is nil.
func (a *archive) get(value any) any {
	ref, ok := value.(plist.UID)
	if !ok {
		return value
	}
	if a.steps++; a.steps > maxSteps || uint64(ref) >= uint64(len(a.objects)) || ref == 0 {
		return nil
	}
	return a.objects[ref]
}

// object gives the fields of an object.
func (a *archive) object(value any) map[string]any {
	fields, _ := a.get(value).(map[string]any)
	return fields
}

// text gives a string: plain, or an NSMutableString.
func (a *archive) text(value any) string {
	switch v := a.get(value).(type) {
	case string:
		return v
	case map[string]any:
		s, _ := a.get(v["NS.string"]).(string)
		return s
	}
	return ""
}

// number gives an integer: plain, or one that was archived as an object.
func (a *archive) number(value any) int64 {
	n, _ := a.get(value).(int64)
	return n
}

// list gives the elements of an NSArray or NSSet, unresolved.
func (a *archive) list(value any) []any {
	elements, _ := a.get(a.object(value)["NS.objects"]).([]any)
	return elements
}

// pairs gives the keys and values of an NSDictionary, unresolved and equally many.
func (a *archive) pairs(value any) (keys, values []any) {
	object := a.object(value)
	keys, _ = a.get(object["NS.keys"]).([]any)
	values, _ = a.get(object["NS.objects"]).([]any)
	n := min(len(keys), len(values))
	return keys[:n], values[:n]
}

// url gives an NSURL's text and that of the URL it is relative to.
func (a *archive) url(value any) (relative, base string) {
	object := a.object(value)
	return a.text(object["NS.relative"]), a.text(a.object(object["NS.base"])["NS.relative"])
}
