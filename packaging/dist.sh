#!/usr/bin/env bash
# Builds what is released into a folder (default build/dist): the extension for macOS (universal) and Linux, .deb, .rpm, what the macOS .pkg installs, an
# SBOM, SHA-256 sums. Everything is dated by the commit, so that the same commit gives the same bytes. VERSION defaults to the tag, or what
# extension/version.go says. Network: the Go module proxy, for the tools.
set -euo pipefail
cd "$(dirname "$0")/.."
dist=$(mkdir -p "${1:-build/dist}" && cd "${1:-build/dist}" && pwd)
rm -rf "${dist:?}"/*
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0
sbom=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
version=${VERSION:-$(git describe --tags --exact-match --match 'v*' 2>/dev/null | sed 's/^v//' || true)}
version=${version:-$(sed -n 's/^\tversion = "\([^"]*\)".*/\1/p' extension/version.go)}
date=$(date -u -d "@$SOURCE_DATE_EPOCH" +%FT%TZ 2>/dev/null || date -u -r "$SOURCE_DATE_EPOCH" +%FT%TZ)
export SOURCE_DATE_EPOCH CGO_ENABLED=0 LC_ALL=C TZ=UTC
umask 022

echo "cipherlens $version, commit $commit of $date"
for platform in darwin/arm64 darwin/amd64 linux/amd64 linux/arm64; do
	GOOS=${platform%/*} GOARCH=${platform#*/} go build -trimpath -buildvcs=false \
		-ldflags "-s -w -buildid= -X main.version=$version -X main.commit=$commit -X main.date=$date" \
		-o "$dist/cipherlens-${platform%/*}-${platform#*/}.ext" ./extension
done
for os in darwin linux; do # from the modules that Go wrote into the binary
	go run "$sbom" bin -json -noserial -std -version "$version" -output "$dist/cipherlens-$os.cdx.json" "$dist/cipherlens-$os-arm64.ext" 2>/dev/null
	sed -i.bak "s/\"timestamp\": \"[^\"]*\"/\"timestamp\": \"$date\"/" "$dist/cipherlens-$os.cdx.json" && rm "$dist/cipherlens-$os.cdx.json.bak"
done
go run ./packaging/universal "$dist/cipherlens-darwin-universal.ext" "$dist"/cipherlens-darwin-a*.ext
rm "$dist"/cipherlens-darwin-a*.ext

go run -tags manual -ldflags "-X main.version=$version" ./extension manual "$dist"
gzip -9n "$dist"/man/*.1

for arch in amd64 arm64; do
	for format in deb rpm; do
		DIST=$dist ARCH=$arch PACKAGE_VERSION=$version go run "$nfpm" package --config packaging/nfpm.yaml --packager $format --target "$dist"/
	done
done
packaging/macos/payload.sh "$dist" "$dist/macos"

(cd "$dist" && find . -type f ! -name SHA256SUMS ! -path './man/*' ! -path './completion/*' ! -path './macos/*' | sed 's|^\./||' | sort | xargs sha256sum >SHA256SUMS && cat SHA256SUMS)
