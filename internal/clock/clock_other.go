//go:build !linux && !darwin

package clock

import "time"

var start = time.Now()

func sinceBoot() (awake, continuous time.Duration) {
	d := time.Since(start)
	return d, d
}

func boot() string { return "" }
