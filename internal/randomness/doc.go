// Package randomness says how random a sample of bytes is, calibrated for the sample's length. Pure functions.
//
// Sixteen statistics see different things: the spread of byte values (chi-square, entropy), bits set in all, by position and in the high one, changes
// between bits, nibbles, printable bytes and their longest run, runs of one byte, zero and small bytes, serial correlation at
// lags 1 and 2, and repeated triples. Each has a known distribution for n uniform bytes, and so a p-value. Their harmonic mean is
// turned into one likelihood by a table measured on a CSPRNG, so that of equally long uniform samples exactly a share
// threshold is called random, whatever the length.
//
// The share of samples called random at the threshold 0.999, from random places inside of each kind (the table is made by go test -run
// TestTable -update, from testdata/samples):
//
//	bytes         16     32     64    128    256    512   1024   4096
//	uniform   0.9990 0.9985 0.9988 0.9978 0.9992 0.9985 0.9985 0.9985
//	text      0.0010 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000
//	zlib      0.9990 0.9900 0.9880 0.9730 0.9660 0.9300 0.8840 0.7110
//	gzip      0.9970 0.9880 0.9780 0.9760 0.9420 0.9060 0.8340 0.7060
//	zstd      0.9970 0.9950 0.9960 0.9820 0.9770 0.9660 0.8970 0.5400
//	lz4       0.4510 0.0190 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000
//	jpeg      0.9970 0.9910 0.9620 0.9450 0.8550 0.7550 0.5350 0.0000
//	macho     0.2110 0.0760 0.0340 0.0380 0.0350 0.0240 0.0000 0.0000
//	protobuf  0.0320 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000
//	base64    0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000 0.0000
//
// How the threshold moves that, for 256 bytes: a higher one misses less ciphertext and takes more compressed data for it.
//
//	threshold    0.5    0.9   0.99  0.999 0.9999
//	uniform   0.4980 0.8935 0.9892 0.9992 1.0000
//	text      0.0000 0.0000 0.0000 0.0000 0.0000
//	zlib      0.2820 0.7150 0.8920 0.9660 0.9830
//	gzip      0.3010 0.6920 0.9010 0.9420 0.9760
//	zstd      0.3500 0.7610 0.9380 0.9770 0.9860
//	lz4       0.0000 0.0000 0.0000 0.0000 0.0000
//	jpeg      0.1560 0.4910 0.7470 0.8550 0.9340
//	macho     0.0140 0.0320 0.0350 0.0350 0.0350
//	protobuf  0.0000 0.0000 0.0000 0.0000 0.0000
//	base64    0.0000 0.0000 0.0000 0.0000 0.0000
//
// Good compression is not told from ciphertext by statistics: that is what its formats are for.
package randomness
