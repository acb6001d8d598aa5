#!/bin/sh
# Takes Cipherlens off this Mac: out of extensions.load, its files, its alerts, its receipt. With --keep-settings the settings stay.
set -eu
[ "$(id -u)" = 0 ] || { echo "uninstall: root is needed: sudo $0" >&2; exit 1; }
root=${ROOT:-}
home=$root/opt/cipherlens
support="$root/Library/Application Support/Cipherlens"
"$home/libexec/extensions-load" remove /opt/cipherlens/bin/cipherlens.ext
[ -n "$root" ] || "$home/libexec/restart"
rm -rf "$home"
rmdir "$root/opt" 2>/dev/null || :
if [ "${1:-}" = --keep-settings ]; then
	find "$support" -mindepth 1 -maxdepth 1 ! -name config.yaml ! -name allowlist.d -exec rm -rf {} + 2>/dev/null || :
else
	rm -rf "$support"
fi
[ -n "$root" ] || pkgutil --forget com.github.cipherlens >/dev/null 2>&1 || :
