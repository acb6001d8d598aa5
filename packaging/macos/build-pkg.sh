#!/bin/sh
# build-pkg.sh DIST: the .pkg from what dist.sh laid out. macOS only. Signed when $INSTALLER_IDENTITY names a "Developer ID Installer" certificate, and the
# binary before it when $APPLICATION_IDENTITY names a "Developer ID Application" one; notarised when $NOTARY_PROFILE names a profile of notarytool.
set -eu
dist=$1 dir=$1/macos
binary=$dir/root/opt/cipherlens/bin/cipherlens.ext
version=$(sed -n 's/.*"version":"\([^"]*\)".*/\1/p' <<-JSON
	$("$binary" version --json)
	JSON
)
pkg=$dist/cipherlens-$version.pkg
if [ -n "${APPLICATION_IDENTITY:-}" ]; then
	codesign --force --options runtime --timestamp --identifier com.github.cipherlens --sign "$APPLICATION_IDENTITY" "$binary"
else
	echo "not signed: APPLICATION_IDENTITY is not set" >&2
fi
pkgbuild --root "$dir/root" --scripts "$dir/scripts" --identifier com.github.cipherlens --version "$version" \
	--ownership recommended --install-location / ${INSTALLER_IDENTITY:+--sign "$INSTALLER_IDENTITY" --timestamp} "$pkg"
[ -n "${INSTALLER_IDENTITY:-}" ] || echo "not signed: INSTALLER_IDENTITY is not set" >&2
if [ -n "${NOTARY_PROFILE:-}" ]; then
	xcrun notarytool submit "$pkg" --keychain-profile "$NOTARY_PROFILE" --wait
	xcrun stapler staple "$pkg"
else
	echo "not notarised: NOTARY_PROFILE is not set" >&2
fi
