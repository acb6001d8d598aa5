// Command patch makes fixtures that no linker makes.
//
//	patch nonlist IN OUT   takes all symbols from the symbol table: imports are in the chained fixups only
//	patch upward IN OUT    makes the first library an upward one (ld64.lld has no option for it)
//	patch sign IN OUT      signs ad hoc with team, hardened runtime and entitlements (go-macho)
package main

import (
	"encoding/binary"
	"fmt"
	"os"

	gomacho "github.com/blacktop/go-macho"
	"github.com/blacktop/go-macho/pkg/codesign"
	cstypes "github.com/blacktop/go-macho/pkg/codesign/types"
)

const entitlements = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>com.apple.security.network.client</key>
	<true/>
	<key>com.apple.security.cs.allow-jit</key>
	<dict><key>not.an.entitlement</key><true/></dict>
</dict>
</plist>
`

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: patch nonlist|upward|sign IN OUT")
		os.Exit(2)
	}
	do := map[string]func(in, out string) error{"nonlist": nonlist, "upward": upward, "sign": sign}[os.Args[1]]
	if err := do(os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "patch:", err)
		os.Exit(1)
	}
}

func nonlist(in, out string) error {
	return edit(in, out, func(kind uint32, command []byte) {
		switch kind {
		case 0x2: // LC_SYMTAB: nsyms
			le.PutUint32(command[12:], 0)
		case 0xb: // LC_DYSYMTAB: all counts
			clear(command[8:80])
		}
	})
}

func upward(in, out string) error {
	done := false
	return edit(in, out, func(kind uint32, command []byte) {
		if kind == 0xc && !done {
			le.PutUint32(command, 0x80000023)
			done = true
		}
	})
}

var le = binary.LittleEndian

// edit writes in to out with its load commands changed. The ad hoc signature that the linker made no longer fits.
func edit(in, out string, change func(kind uint32, command []byte)) error {
	b, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	at := 32
	for range le.Uint32(b[16:]) {
		size := int(le.Uint32(b[at+4:]))
		change(le.Uint32(b[at:]), b[at:at+size])
		at += size
	}
	return os.WriteFile(out, b, 0o644)
}

func sign(in, out string) error {
	f, err := gomacho.Open(in)
	if err != nil {
		return err
	}
	defer f.Close()
	err = f.CodeSign(&codesign.Config{
		ID:           "org.example.inner",
		TeamID:       "ABCDE12345",
		Flags:        cstypes.ADHOC | cstypes.RUNTIME,
		Entitlements: []byte(entitlements),
	})
	if err != nil {
		return err
	}
	return f.Save(out)
}
