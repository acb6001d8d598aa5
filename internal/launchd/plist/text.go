package plist

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
)

var declaredEncoding = regexp.MustCompile(`^\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']`)

// decodeText turns the text forms into UTF-8: by their byte order mark, else by the XML declaration.
func decodeText(data []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(data, []byte("\xEF\xBB\xBF")):
		return data[3:], nil
	case bytes.HasPrefix(data, []byte("\xFE\xFF")):
		return []byte(utf16String(data[2:], binary.BigEndian)), nil
	case bytes.HasPrefix(data, []byte("\xFF\xFE")):
		return []byte(utf16String(data[2:], binary.LittleEndian)), nil
	case bytes.HasPrefix(data, []byte("\x00<")):
		return []byte(utf16String(data, binary.BigEndian)), nil
	case bytes.HasPrefix(data, []byte("<\x00")):
		return []byte(utf16String(data, binary.LittleEndian)), nil
	}
	m := declaredEncoding.FindSubmatch(data[:min(len(data), 512)])
	if m == nil {
		return data, nil
	}
	switch name := strings.ToLower(string(m[1])); name {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return data, nil
	case "iso-8859-1", "latin1", "windows-1252":
		return latin1(data), nil
	default:
		return nil, fmt.Errorf("xml: encoding %q is not known", name)
	}
}

// latin1 holds for windows-1252 too but for the quotation marks and the like at 0x80 to 0x9F.
func latin1(data []byte) []byte {
	out := make([]rune, len(data))
	for i, c := range data {
		out[i] = rune(c)
	}
	return []byte(string(out))
}
