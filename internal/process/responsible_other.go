//go:build !darwin

package process

import (
	"errors"
	"fmt"
	"runtime"
)

// responsibility: no other system keeps who is responsible for a process.
var responsibility = func() *accountability {
	a := &accountability{}
	err := fmt.Errorf("process: responsible process on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	a.lost.Store(&err)
	return a
}()
