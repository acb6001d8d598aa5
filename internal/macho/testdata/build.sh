#!/bin/sh
# Makes the fixtures in images/ and what LLVM's own tools say of them in golden/. Needs clang-19, lld-19, llvm-19 and Go.
#
#	sh internal/macho/testdata/build.sh
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf images golden
mkdir -p images golden

obj() { # source arch: an object
	clang-19 -target "$2-apple-macos11.0" -O1 -ffreestanding -fno-stack-protector -fno-ident -c "src/$1.c" -o "$work/$1.$2.o"
}
link() { # output arch minos, then what ld64.lld takes
	output=$1 arch=$2 minos=$3
	shift 3
	ld64.lld-19 -arch "$arch" -syslibroot "$PWD/stubs" -L/usr/lib -F/System/Library/Frameworks -lSystem \
		-platform_version macos "$minos" 14.2 -o "$output" "$@"
}
for s in cccrypt sectransform plain weakdef; do
	obj $s arm64
	obj $s x86_64
done

link images/binds-x86_64 x86_64 10.15 -no_fixup_chains -dead_strip "$work/cccrypt.x86_64.o"
link images/binds-arm64 arm64 11.0 -no_fixup_chains "$work/cccrypt.arm64.o"
link images/chained-arm64 arm64 13.0 -fixup_chains "$work/cccrypt.arm64.o"
link images/frameworks-x86_64 x86_64 10.15 -no_fixup_chains -framework Security -framework CoreFoundation "$work/sectransform.x86_64.o"
link images/weaklib-x86_64 x86_64 13.0 -fixup_chains -weak_framework Security -weak_framework CoreFoundation -weak-lSystem \
	"$work/sectransform.x86_64.o"
link images/weakdef.dylib x86_64 10.15 -dylib -no_fixup_chains -install_name /usr/local/lib/libweakdef.dylib \
	-current_version 3.2.1 -compatibility_version 2.0 "$work/weakdef.x86_64.o"
link "$work/upward" x86_64 13.0 -dylib -install_name @rpath/libupward.dylib images/weakdef.dylib \
	-reexport_library stubs/usr/lib/libother.tbd "$work/cccrypt.x86_64.o"
link images/flat-x86_64 x86_64 10.15 -no_fixup_chains -flat_namespace "$work/cccrypt.x86_64.o"
link images/plugin.bundle x86_64 13.0 -bundle -undefined dynamic_lookup -rpath @loader_path/../lib -rpath /opt/lib \
	"$work/sectransform.x86_64.o"

# An application of three levels: App -> Mid.framework -> libinner.dylib.
link images/libinner.dylib x86_64 13.0 -dylib -install_name @rpath/libinner.dylib "$work/cccrypt.x86_64.o"
link images/Mid x86_64 13.0 -dylib -install_name @rpath/Mid.framework/Versions/A/Mid -rpath @loader_path/../../.. \
	images/libinner.dylib "$work/plain.x86_64.o"
link images/App x86_64 13.0 -rpath @executable_path/../Frameworks images/Mid "$work/plain.x86_64.o"

cp "$work/cccrypt.x86_64.o" images/object.o
llvm-strip-19 -o images/stripped-x86_64 images/binds-x86_64
llvm-lipo-19 -create images/App images/chained-arm64 -output images/fat
llvm-lipo-19 -create images/App images/chained-arm64 -fat64 -output images/fat64
go run ./patch nonlist images/chained-arm64 images/nonlist-arm64
go run ./patch upward "$work/upward" images/upward.dylib
go run ./patch sign images/libinner.dylib images/signed.dylib

chmod 644 images/*
for f in images/*; do
	{
		echo "== headers"
		llvm-objdump-19 --macho --private-headers --arch=all "$f"
		echo "== undefined"
		llvm-nm-19 -u -m --arch=all "$f"
		echo "== bind"
		llvm-objdump-19 --macho --bind --arch=all "$f"
		echo "== weak-bind"
		llvm-objdump-19 --macho --weak-bind --arch=all "$f"
		echo "== lazy-bind"
		llvm-objdump-19 --macho --lazy-bind --arch=all "$f"
		echo "== chained"
		llvm-objdump-19 --macho --chained-fixups --arch=all "$f"
	} >"golden/$(basename "$f").txt" 2>/dev/null || true
done
