#!/usr/bin/env bash
# Installs, upgrades, downgrades, removes and purges the .deb of two versions in a fresh Debian (debootstrap), and looks at what is left each time. Needs root, debootstrap and
# a Debian mirror (DEBOOTSTRAP_MIRROR; else on Debian the one that apt uses, elsewhere deb.debian.org). Changes nothing outside the folder that it makes and removes.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
	echo "test-deb: needs root and debootstrap: skipped"
	exit 0
fi
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
arch=$(dpkg --print-architecture)
for version in 0.9.0 0.9.1; do
	VERSION=$version packaging/dist.sh "$work/$version" >/dev/null
	mv "$work/$version"/*_"$arch".deb "$work/$version.deb"
done
mirror=${DEBOOTSTRAP_MIRROR:-}
if [ -z "$mirror" ] && [ "$(. /etc/os-release && echo "$ID")" = debian ]; then
	mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -1)
fi
mirror=${mirror:-http://deb.debian.org/debian}
debootstrap --variant=minbase bookworm "$work/debian" "$mirror" >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
cp "$work"/*.deb "$work/debian/"
load=$work/debian/etc/osquery/extensions.load
extension=/usr/lib/cipherlens/cipherlens.ext

fail() { echo "test-deb: $step: $*" >&2; exit 1; }
inside() { chroot "$work/debian" "$@"; }
installed() { # VERSION: it runs, is listed once, and osquery would accept it
	[ "$(inside cipherlens version --json | sed 's/.*"version":"\([^"]*\)".*/\1/')" = "$1" ] || fail "not version $1"
	[ "$(grep -cx "$extension" "$load")" = 1 ] || fail "extensions.load: $(cat "$load")"
	grep -qx /opt/other.ext "$load" || fail "another extension's line is gone"
	[ "$(stat -c '%U %G %a' "$load")" = "root root 644" ] || fail "extensions.load: $(stat -c '%U %G %a' "$load")"
	[ "$(stat -c '%U %a' "$work/debian$extension")" = "root 755" ] || fail "the extension's owner or mode"
	[ "$(stat -c '%U %a' "$work/debian${extension%/*}")" = "root 755" ] || fail "its folder's owner or mode"
	echo "ok  $step"
}

mkdir -p "${load%/*}"
printf /opt/other.ext >"$load" # without a newline at its end
step="install 0.9.0"; inside dpkg -i /0.9.0.deb >/dev/null; installed 0.9.0
echo "record_sni: none" >"$work/debian/etc/cipherlens/config.yaml"
step="install again"; inside dpkg -i /0.9.0.deb >/dev/null; installed 0.9.0
step="upgrade to 0.9.1"; inside dpkg -i /0.9.1.deb >/dev/null; installed 0.9.1
step="downgrade to 0.9.0"; inside dpkg -i /0.9.0.deb >/dev/null 2>&1; installed 0.9.0
mkdir -p "$work/debian/var/lib/cipherlens" && touch "$work/debian/var/lib/cipherlens/alerts"
step="remove"; inside dpkg -r cipherlens >/dev/null 2>&1
[ "$(cat "$load")" = /opt/other.ext ] || fail "extensions.load: $(cat "$load")"
[ ! -e "$work/debian/usr/lib/cipherlens" ] && [ ! -e "$work/debian/usr/bin/cipherlens" ] || fail "files are left"
[ -e "$work/debian/etc/cipherlens/config.yaml" ] || fail "the site's settings are gone"
[ -e "$work/debian/var/lib/cipherlens/alerts" ] || fail "the alerts are gone"
echo "ok  $step"
step="purge"; inside dpkg -P cipherlens >/dev/null 2>&1
[ ! -e "$work/debian/var/lib/cipherlens" ] || fail "the alerts are left"
echo "ok  $step"
rm "$load"
step="install without osquery, and remove"; inside dpkg -i /0.9.1.deb >/dev/null; inside dpkg -P cipherlens >/dev/null 2>&1
[ ! -e "$load" ] || fail "an empty extensions.load is left"
echo "ok  $step"
