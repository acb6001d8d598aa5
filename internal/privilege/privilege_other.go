//go:build !linux && !darwin

package privilege

func confine([]string) error { return nil }

func drop() Report { return Report{Missing: []string{"anything (not implemented on this system)"}} }
