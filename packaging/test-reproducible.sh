#!/usr/bin/env bash
# Builds the release twice, from two clones at different places with different caches' order, and compares the sums.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for place in a another/place; do
	git clone -q . "$work/$place"
	"$work/$place/packaging/dist.sh" "$work/$place/out" >/dev/null
done
diff "$work/a/out/SHA256SUMS" "$work/another/place/out/SHA256SUMS" && echo "ok  the same bytes twice ($(wc -l <"$work/a/out/SHA256SUMS") files)"
