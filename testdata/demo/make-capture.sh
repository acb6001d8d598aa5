#!/usr/bin/env bash
# Makes capture.pcapng: traffic of ../traffic in a network namespace, recorded by tcpdump, with the process of each packet added as Apple's tcpdump
# does it. Needs root, iproute2, tcpdump. The result is committed.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd .. && CGO_ENABLED=0 go build -o "$work/traffic" ./traffic && CGO_ENABLED=0 go build -o "$work/annotate" ./annotate)
unshare --net bash -euo pipefail -c '
	ip link set lo mtu 1500 up
	for a in 192.0.2.10 203.0.113.7 198.51.100.23 203.0.113.99 203.0.113.40 203.0.113.80 203.0.113.22 203.0.113.53; do ip addr add $a/32 dev lo; done
	tcpdump -B 16384 --immediate-mode -U -Z root -i lo -s 0 -w "$1/raw.pcap" 2>"$1/tcpdump.log" & capture=$!
	until grep -q "listening on" "$1/tcpdump.log"; do sleep 0.1; done
	timeout 30 "$1/traffic" >"$1/owners"
	sleep 0.5
	kill -TERM $capture
	wait $capture
' -- "$work"
"$work/annotate" -root root -owners "$work/owners" -in "$work/raw.pcap" -out capture.pcapng
ls -l capture.pcapng
