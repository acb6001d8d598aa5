package tls

import (
	"testing"

	"github.com/cipherlens/cipherlens/internal/conformance"
)

func BenchmarkRecognize(b *testing.B) {
	for _, name := range []string{"openssl_tls12", "openssl_tls13", "openssl_tls12_resumed_id", "starttls_smtp"} {
		c := load(b, "testdata/genuine/"+name+".txt")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Recognize(c, conformance.Options{})
			}
		})
	}
	b.Run("not_tls", func(b *testing.B) {
		b.ReportAllocs()
		c := conversation(noise(4096, 1), noise(4096, 2))
		for b.Loop() {
			Recognize(c, conformance.Options{})
		}
	})
}
