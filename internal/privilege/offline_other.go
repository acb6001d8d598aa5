//go:build !linux

package privilege

func offline([]string) error { return nil }
