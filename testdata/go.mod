module github.com/cipherlens/cipherlens/testdata

go 1.26.0

require (
	github.com/cipherlens/cipherlens v0.0.0-00010101000000-000000000000
	golang.org/x/crypto v0.58.0
	golang.org/x/net v0.61.0
)

require (
	github.com/google/gopacket v1.1.19 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/cipherlens/cipherlens => ../
