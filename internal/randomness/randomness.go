// Package randomness says how random a sample of bytes is, calibrated for the sample's length. Pure functions.
package randomness

// Stats are the figures of one sample.
type Stats struct {
	N              int     // bytes sampled
	Entropy        float64 // Shannon entropy, bits a byte (plug-in)
	EntropyRatio   float64 // Entropy over what N uniform bytes give on average
	Chi2P          float64 // p-value of the chi-square test against uniform bytes
	PrintableRatio float64 // share of bytes in 0x20..0x7e, tab, CR, LF
}
