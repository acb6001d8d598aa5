//go:build !linux && !darwin

package process

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

var errSystem = fmt.Errorf("process: not implemented on %s: %w", runtime.GOOS, errors.ErrUnsupported)

func list(context.Context) ([]Process, error) { return nil, errSystem }

func get(int) (Process, error) { return Process{}, errSystem }

func identity(int) (CodeIdentity, error) { return CodeIdentity{}, errSystem }

type owners struct{}

func (*owners) open() error { return errSystem }

func (*owners) close() error { return nil }

func (*owners) stats() OwnerStats { return OwnerStats{} }

func (*owners) lookup(uint8, netip.AddrPort, netip.AddrPort) (int, bool) { return 0, false }

func (*owners) owner(uint8, netip.AddrPort, netip.AddrPort) (Process, bool) { return Process{}, false }
