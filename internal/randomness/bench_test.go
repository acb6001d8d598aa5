package randomness

import (
	"fmt"
	"testing"
)

func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{16, 64, 256, 1024, 4096} {
		sample := make([]byte, n)
		_, _ = uniform("bench", n).Read(sample)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = Judge(sample)
			}
		})
	}
}

func BenchmarkExcludes(b *testing.B) {
	e := NewExcluder(1e-3)
	for _, n := range []int{16, 64, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			sample := make([]byte, n)
			b.ReportAllocs()
			for b.Loop() {
				_ = e.Excludes(sample)
			}
		})
	}
}
