#!/usr/bin/env bash
# Builds the demo's Mach-O executables into root/: needs clang-19, lld-19 and llvm-19. The results are committed.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/sdk/usr/lib "$work"/sdk/System/Library/Frameworks/{Security,CoreFoundation}.framework
cp stubs/libSystem.tbd "$work"/sdk/usr/lib/
cp stubs/Security.tbd "$work"/sdk/System/Library/Frameworks/Security.framework/
cp stubs/CoreFoundation.tbd "$work"/sdk/System/Library/Frameworks/CoreFoundation.framework/

# image SOURCE IDENTIFIER TARGET FLAGS...: an ad hoc signed universal executable; the linker takes the identifier from the output's name.
image() {
	local source=$1 identifier=$2 target=$3; shift 3
	for arch in arm64 x86_64; do
		mkdir -p "$work/$arch"
		clang-19 -target "$arch-apple-macos13.0" -Os -ffreestanding -fno-stack-protector -c "src/$source.c" -o "$work/$source.o"
		ld64.lld-19 -arch "$arch" -syslibroot "$work/sdk" -L/usr/lib -F/System/Library/Frameworks -lSystem "$@" \
			-platform_version macos 13.0 14.0 -fixup_chains -adhoc_codesign "$work/$source.o" -o "$work/$arch/$identifier"
	done
	mkdir -p "$(dirname "root/$target")"
	llvm-lipo-19 -create "$work"/{arm64,x86_64}/"$identifier" -output "root/$target"
	chmod 755 "root/$target"
}

image mdsync     com.apple.metadata.mdsync  "Library/Application Support/Metadata/mdsync" -framework Security -framework CoreFoundation
image telemetryd telemetryd                 usr/local/libexec/telemetryd
image backup     com.example.backup         Applications/Backup.app/Contents/MacOS/Backup -framework Security
image messenger  com.example.messenger      Applications/Messenger.app/Contents/MacOS/Messenger
image indexer    indexer                    usr/local/libexec/indexer
