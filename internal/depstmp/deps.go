// Package depstmp pins dependencies while packages are being written; removed before the first release.
package depstmp

import (
	_ "github.com/apache/thrift/lib/go/thrift"
	_ "github.com/blacktop/go-macho"
	_ "github.com/goccy/go-yaml"
	_ "github.com/google/gopacket"
	_ "github.com/google/gopacket/layers"
	_ "github.com/google/gopacket/pcapgo"
	_ "github.com/ncruces/go-sqlite3"
	_ "github.com/osquery/osquery-go"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/smallstep/pkcs7"
	_ "github.com/spf13/cobra"
	_ "github.com/stretchr/testify/require"
	_ "golang.org/x/crypto/chacha20poly1305"
	_ "golang.org/x/crypto/hkdf"
	_ "golang.org/x/net/bpf"
	_ "golang.org/x/sys/unix"
	_ "golang.org/x/term"
	_ "howett.net/plist"
)
