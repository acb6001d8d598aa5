#!/bin/sh
# payload.sh DIST DIR: lays out what the macOS package installs (DIR/root, as from "/") and its scripts (DIR/scripts), from what dist.sh built.
set -eu
dist=$1 dir=$2 here=$(cd "$(dirname "$0")" && pwd)
repository=$here/../..
rm -rf "$dir"
umask 022
home=$dir/root/opt/cipherlens
mkdir -p "$home/bin" "$home/libexec" "$home/share/packs" "$home/share/allowlist.d" "$home/share/man/man1" "$dir/scripts"
install -m 0755 "$dist/cipherlens-darwin-universal.ext" "$home/bin/cipherlens.ext"
install -m 0755 "$here/../extensions-load.sh" "$home/libexec/extensions-load"
install -m 0755 "$here/../restart.sh" "$home/libexec/restart"
install -m 0755 "$here/uninstall.sh" "$home/libexec/uninstall"
install -m 0644 "$repository"/packs/*.conf "$home/share/packs/"
install -m 0644 "$repository"/allowlist.d/* "$home/share/allowlist.d/"
install -m 0644 "$dist"/man/*.1.gz "$home/share/man/man1/"
install -m 0644 "$repository/LICENSE" "$repository/NOTICE" "$home/share/"
install -m 0755 "$here/postinstall" "$dir/scripts/postinstall"
