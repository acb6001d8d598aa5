#!/bin/sh
# Makes tree/, a small macOS volume of programs that link crypto in every way, and elf/. Needs clang-19, lld-19, llvm-19 and gcc.
#
#	sh internal/image/testdata/build.sh
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf tree elf
bin=tree/usr/local/bin
app=tree/Applications/Bundle.app/Contents
mkdir -p $bin tree/usr/local/lib tree/opt/env/lib $app/MacOS $app/Frameworks elf/app/lib

obj() { # source arch: an object
	clang-19 -target "$2-apple-macos11.0" -O1 -ffreestanding -fno-stack-protector -fno-ident -c "src/$1.c" -o "$work/$1.$2.o"
}
link() { # output arch, then what ld64.lld takes
	output=$1 arch=$2
	shift 2
	ld64.lld-19 -arch "$arch" -syslibroot "$PWD/stubs" -L/usr/lib -F/System/Library/Frameworks -lSystem \
		-platform_version macos 13.0 14.2 -o "$output" "$@"
}
for s in cccrypt ccbundled sectransform constant byname plain evp evplib rc4 empty static; do
	obj $s x86_64
done
obj cccrypt arm64

# Direct imports: a universal file, ad hoc signed by the linker on arm64 and by request on x86_64.
link "$work/cc.arm64" arm64 "$work/cccrypt.arm64.o"
link "$work/cc.x86_64" x86_64 -adhoc_codesign "$work/cccrypt.x86_64.o"
llvm-lipo-19 -create "$work/cc.arm64" "$work/cc.x86_64" -output $bin/direct
link $bin/sectransform x86_64 -framework Security "$work/sectransform.x86_64.o"
link $bin/weak x86_64 -weak_framework Security "$work/sectransform.x86_64.o"
link $bin/constant x86_64 -framework Security "$work/constant.x86_64.o"
link $bin/flat x86_64 -flat_namespace -no_fixup_chains "$work/cccrypt.x86_64.o"
link $bin/byname x86_64 "$work/byname.x86_64.o"
link $bin/static x86_64 "$work/static.x86_64.o"

# An application whose library encrypts, and whose libcrypto is its own business.
link $app/Frameworks/libcrypto.3.dylib x86_64 -dylib -install_name @rpath/libcrypto.3.dylib "$work/evplib.x86_64.o"
link $app/Frameworks/libssl.3.dylib x86_64 -dylib -install_name @rpath/libssl.3.dylib $app/Frameworks/libcrypto.3.dylib "$work/evp.x86_64.o"
link $app/Frameworks/libmid.dylib x86_64 -dylib -install_name @rpath/libmid.dylib -rpath @loader_path \
	$app/Frameworks/libcrypto.3.dylib "$work/evp.x86_64.o"
link $app/Frameworks/libinner.dylib x86_64 -dylib -install_name @loader_path/libinner.dylib "$work/ccbundled.x86_64.o"
link $app/Frameworks/libouter.dylib x86_64 -dylib -install_name @executable_path/../Frameworks/libouter.dylib \
	-reexport_library $app/Frameworks/libinner.dylib "$work/empty.x86_64.o"
link $app/MacOS/evp x86_64 -rpath @executable_path/../Frameworks $app/Frameworks/libmid.dylib "$work/plain.x86_64.o"
link $app/MacOS/nested x86_64 $app/Frameworks/libouter.dylib "$work/plain.x86_64.o"
link $app/MacOS/tls x86_64 -rpath @executable_path/../Frameworks $app/Frameworks/libssl.3.dylib "$work/plain.x86_64.o"

# What is bound to libraries that the catalogue does not know.
link tree/usr/local/lib/libown.dylib x86_64 -dylib -install_name /usr/local/lib/libown.dylib "$work/evplib.x86_64.o"
link $bin/ownrc4 x86_64 tree/usr/local/lib/libown.dylib "$work/rc4.x86_64.o"
link $bin/renamed x86_64 tree/usr/local/lib/libown.dylib "$work/evp.x86_64.o"
link tree/usr/local/lib/libwrap.dylib x86_64 -dylib -install_name /usr/local/lib/libwrap.dylib \
	-reexport_framework Security "$work/empty.x86_64.o"
link $bin/reexport x86_64 tree/usr/local/lib/libwrap.dylib "$work/sectransform.x86_64.o"

# Bare names, libraries that are not there, and two that need each other.
link "$work/libbare.dylib" x86_64 -dylib -install_name libbare.dylib "$work/ccbundled.x86_64.o"
link $bin/bare x86_64 "$work/libbare.dylib" "$work/plain.x86_64.o"
link "$work/libgone.dylib" x86_64 -dylib -install_name @rpath/libgone.dylib "$work/ccbundled.x86_64.o"
link $bin/gone x86_64 -rpath @loader_path/nowhere "$work/libgone.dylib" "$work/plain.x86_64.o"
link "$work/b" x86_64 -dylib -install_name /usr/local/lib/libb.dylib "$work/ccbundled.x86_64.o"
link tree/usr/local/lib/liba.dylib x86_64 -dylib -install_name /usr/local/lib/liba.dylib "$work/b" "$work/plain.x86_64.o"
link tree/usr/local/lib/libb.dylib x86_64 -dylib -install_name /usr/local/lib/libb.dylib -needed_library tree/usr/local/lib/liba.dylib \
	"$work/ccbundled.x86_64.o"
link $bin/cycle x86_64 -needed_library tree/usr/local/lib/liba.dylib tree/usr/local/lib/libb.dylib "$work/plain.x86_64.o"

# LC_DYLD_ENVIRONMENT leads to a library that is elsewhere than its name says.
link tree/opt/env/lib/libenv.dylib x86_64 -dylib -install_name /nowhere/libenv.dylib "$work/ccbundled.x86_64.o"
link tree/opt/env/program x86_64 -dyld_env DYLD_LIBRARY_PATH=@executable_path/lib tree/opt/env/lib/libenv.dylib "$work/plain.x86_64.o"

# ELF: a libcrypto with versioned symbols, a library found by $ORIGIN, and a program that needs both.
cat >"$work/version.map" <<'EOF'
OPENSSL_3.0.0 { global: EVP_EncryptInit_ex; EVP_EncryptUpdate; EVP_EncryptFinal_ex; RC4; local: *; };
EOF
elf() {
	output=$1
	shift
	gcc -Os -nostdlib -fno-asynchronous-unwind-tables -Wl,-z,noseparate-code -Wl,--build-id=sha1 -s -o "$output" "$@"
}
sed '/getentropy/d' src/evplib.c | sed '1a int EVP_EncryptInit_ex(int a) { return a; }' >"$work/evplib.c"
elf elf/app/lib/libcrypto.so.3 -shared -fPIC -Wl,-soname,libcrypto.so.3 -Wl,--version-script="$work/version.map" "$work/evplib.c"
elf elf/app/lib/libuser.so -shared -fPIC -Wl,-soname,libuser.so -Wl,-rpath,'$ORIGIN' src/evp.c elf/app/lib/libcrypto.so.3
cat >"$work/start.c" <<'EOF'
extern int bundled(void);
void _start(void) { bundled(); for (;;) {} }
EOF
elf elf/app/program -Wl,-rpath,'$ORIGIN/lib' -Wl,-rpath-link,elf/app/lib "$work/start.c" elf/app/lib/libuser.so
elf "$work/libvendor.so" -shared -fPIC -Wl,-soname,libvendor.so "$work/evplib.c"
elf elf/app/unversioned -Wl,-e,bundled src/evp.c "$work/libvendor.so"

chmod -R u+rwX,go+rX,go-w tree elf
find tree elf -type f -exec chmod 644 {} +
