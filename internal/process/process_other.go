//go:build !linux && !darwin

package process

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
)

var errSystem = fmt.Errorf("process: not implemented on %s: %w", runtime.GOOS, errors.ErrUnsupported)

func listPIDs() ([]int, error) { return nil, errSystem }

func getStarted(int) (Process, uint64, error) { return Process{}, 0, errSystem }

func identity(int) (CodeIdentity, error) { return CodeIdentity{}, errSystem }

type owners struct {
	mu     sync.Mutex
	counts OwnerStats
}

func (*owners) open() error { return errSystem }

func (*owners) close() error { return nil }

func (*owners) degraded() string { return "" }

func (*owners) find(*Question, bool) (holder, Answer) {
	return holder{}, NoSocket
}

func hurry() error { return errSystem }

func describeHolder(holder) (Process, bool) { return Process{}, false }
