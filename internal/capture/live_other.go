//go:build !linux && !darwin

package capture

import (
	"fmt"
	"runtime"
)

func openLive(LiveOptions) (Source, error) {
	return nil, fmt.Errorf("capture: live: not implemented on %s", runtime.GOOS)
}
