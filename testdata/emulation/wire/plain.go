//go:build plain

package wire

// dressed are none here: see Formats.
func dressed() []Format { return nil }
