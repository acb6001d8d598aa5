//go:build ignoredeps

// Package depstmp keeps modules in go.mod until their users are committed.
package depstmp

import (
	_ "github.com/axiomhq/hyperloglog"
	_ "github.com/landlock-lsm/go-landlock/landlock"
	_ "github.com/spf13/cobra/doc"
)
