#!/bin/sh
# Fetches the real programs that samples.tsv describes, with npm pack, to a folder outside the repository:
#
#	sh internal/macho/testdata/samples/fetch.sh SAMPLES.TSV [FOLDER] [PACKAGES]
#
# FOLDER is $CIPHERLENS_SAMPLES or cipherlens-samples in the user's cache; files go to FOLDER/package@version/path. PACKAGES
# limits how many packages are fetched, the ones with the fewest bytes first. What is there already is not fetched again. None of
# the files is ours: do not commit them.
set -eu
table=$1
folder=${2:-${CIPHERLENS_SAMPLES:-${XDG_CACHE_HOME:-$HOME/.cache}/cipherlens-samples}}
limit=${3:-100000}
case $table in /*) ;; *) table=$PWD/$table ;; esac
mkdir -p "$folder"
cd "$folder"

awk -F '\t' 'NR > 1 { bytes[$1 "@" $2] += $6 } END { for (p in bytes) print bytes[p], p }' "$table" | sort -n | head -n "$limit" |
	while read -r _ package; do
		[ -e "$package/.fetched" ] && continue
		mkdir -p "$package"
		echo "$package"
		archive=$(cd "$package" && npm pack --silent --ignore-scripts "$package" </dev/null) || {
			echo "fetch.sh: $package: npm pack failed" >&2
			continue
		}
		awk -F '\t' -v p="$package" 'NR > 1 && $1 "@" $2 == p && !seen[$3]++ { print $3 }' "$table" >"$package/.paths"
		tar -xzf "$package/$archive" -C "$package" --no-same-owner -T "$package/.paths" && touch "$package/.fetched"
		rm -f "$package/$archive" "$package/.paths"
	done
