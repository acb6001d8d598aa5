//go:build race

package judge

// race says that the race detector is on, which drops what is pooled and takes its time.
const race = true
