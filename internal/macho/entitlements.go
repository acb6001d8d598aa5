package macho

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxEntitlements is how long an entitlements blob is looked at, bytes; real ones have up to a few KiB.
const maxEntitlements = 64 << 10

// EntitlementKeys gives the keys of the XML entitlements, sorted; nil without entitlements. With an error, for text that is no
// XML, come the keys up to there.
func (s *Signature) EntitlementKeys() ([]string, error) {
	if len(s.Entitlements) == 0 {
		return nil, nil
	}
	if len(s.Entitlements) > maxEntitlements {
		return nil, fmt.Errorf("macho: entitlements: %d bytes, more than %d", len(s.Entitlements), maxEntitlements)
	}
	keys, err := topKeys(s.Entitlements)
	if err != nil {
		err = fmt.Errorf("macho: entitlements: %w", err)
	}
	slices.Sort(keys)
	return slices.Compact(keys), err
}

var keyPath = []string{"plist", "dict", "key"}

// topKeys gives the text of each <key> right inside the outermost <dict>.
func topKeys(text []byte) ([]string, error) {
	var keys []string
	var path []string // open elements
	var key strings.Builder
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return keys, nil
		}
		if err != nil {
			return keys, err
		}
		switch t := t.(type) {
		case xml.StartElement:
			path = append(path, t.Name.Local)
			if slices.Equal(path, keyPath) {
				key.Reset()
			}
		case xml.EndElement:
			if slices.Equal(path, keyPath) {
				keys = append(keys, key.String())
			}
			path = path[:len(path)-1]
		case xml.CharData:
			if slices.Equal(path, keyPath) {
				key.Write(t)
			}
		}
	}
}
