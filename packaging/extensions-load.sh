#!/bin/sh
# extensions-load add|remove EXTENSION: puts the extension's path on a line of its own into extensions.load of every osquery on this host, once, or takes
# it out again; other lines stay as they are. A file that holds nothing any more is removed. $ROOT goes before every path (tests).
#
# Where osqueryd looks by itself: /etc/osquery (Linux), /var/osquery (macOS); Fleet's orbit: /opt/orbit.
set -eu

fail() { echo "extensions-load: $*" >&2; exit 1; }

[ $# -eq 2 ] || fail "usage: extensions-load add|remove EXTENSION"
extension=$2
root=${ROOT:-}
case $(uname -s) in
Darwin) home=/var/osquery group=wheel ;;
*) home=/etc/osquery group=root ;;
esac

# files prints the extensions.load files to write: orbit's where there is orbit; osquery's where there is osquery, or nothing yet.
files() {
	if [ -d "$root/opt/orbit" ]; then
		echo "$root/opt/orbit/extensions.load"
		[ -d "$root$home" ] || [ -d "$root/opt/osquery" ] || return 0
	fi
	echo "$root$home/extensions.load"
}

# replace FILE: with what comes on standard input; osquery's demands on owner and mode are met before the name exists.
replace() {
	new=$1.cipherlens.$$
	trap 'rm -f "$new"' EXIT
	(umask 022 && cat >"$new")
	if [ -s "$new" ]; then
		chown "root:$group" "$new" && chmod 0644 "$new"
		mv -f "$new" "$1"
	else
		rm -f "$new" "$1"
	fi
	trap - EXIT
}

# others FILE: its lines but ours. What they are is known before anything is replaced.
others() {
	[ ! -f "$1" ] || awk -v ours="$extension" '{ line = $0; gsub(/^[ \t]+|[ \t\r]+$/, "", line) } line != ours' "$1"
}

case $1 in
add)
	files | while IFS= read -r file; do
		[ -d "${file%/*}" ] || { mkdir -p "${file%/*}" && chmod 0755 "${file%/*}"; }
		lines=$(others "$file")
		printf '%s\n' ${lines:+"$lines"} "$extension" | replace "$file"
	done
	;;
remove)
	for file in "$root/opt/orbit/extensions.load" "$root$home/extensions.load"; do
		[ -f "$file" ] || continue
		lines=$(others "$file")
		printf '%s' "${lines:+$lines
}" | replace "$file"
	done
	;;
*) fail "$1: neither add nor remove" ;;
esac
