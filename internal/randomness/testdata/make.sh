#!/bin/sh
# Makes samples/*: 48 KiB each of what is not random, for the table of the package comment. Needs Go, zstd, lz4, gzip.
set -eu
cd "$(dirname "$0")"
root=$(go env GOROOT)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
size=49152

cat "$root"/src/net/http/*.go "$root"/src/net/*.go > "$tmp/all"
head -c $size "$tmp/all" > samples/text
cut_middle() { tail -c +20000 | head -c $size; }
gzip -6 -n < "$tmp/all" | cut_middle > samples/gzip
zstd -3 -q < "$tmp/all" | cut_middle > samples/zstd
lz4 -q < "$tmp/all" | cut_middle > samples/lz4
go run makesamples.go zlib < "$tmp/all" | cut_middle > samples/zlib
go run makesamples.go jpeg "$root/src/image/testdata/video-001.jpeg" | cut_middle > samples/jpeg
go run makesamples.go protobuf | head -c $size > samples/protobuf
base64 -w 76 samples/zlib | head -c $size > samples/base64
printf 'package main\nimport "net/http"\nfunc main() { http.Get("http://localhost/") }\n' > "$tmp/main.go"
GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build -ldflags "-s -w" -o "$tmp/macho" "$tmp/main.go"
# A page of every 128 KiB, so that code, constants and tables are all there.
for k in $(seq 0 47); do dd if="$tmp/macho" bs=1024 skip=$((k * 128)) count=1 2>/dev/null; done > samples/macho
