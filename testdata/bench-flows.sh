#!/usr/bin/env bash
# Times cipherlens.ext beside nDPI's ndpiReader on one merged capture, in one run, each on one core, in turns, from the start of the process to
# its end; prints packets a second, the ratio, and what each of our steps costs. Needs captures (a folder, default ../shared/corpus) and ndpiReader (Debian: libndpi-bin).
set -euo pipefail
cd "$(dirname "$0")/.."
captures=${1:-../shared/corpus}
copies=${2:-8}
rounds=${3:-5}
[ -d "$captures" ] || { echo "bench-flows: no captures in $captures: skipped"; exit 0; }
command -v ndpiReader >/dev/null || { echo "bench-flows: no ndpiReader (libndpi-bin): skipped"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd testdata && go build -o "$work/merge" ./merge)
packets=$(find "$captures" -name '*.*cap*' | sort | xargs -d '\n' "$work/merge" -o "$work/all.pcap" -copies "$copies" 2>/dev/null | cut -d' ' -f1)
core=$(taskset -cp $$ | sed 's/.*[:, ]\([0-9]*\)$/\1/')
cpu() { # COMMAND...: user and system seconds
	TIMEFORMAT='%U %S'
	{ time taskset -c "$core" "$@" >"$work/out" 2>"$work/err"; } 2>&1 | awk '{print $1 + $2}'
}
export GOMAXPROCS=1
cpu build/cipherlens.ext flows --summary "$work/all.pcap" >/dev/null # both files are in the cache now
: >"$work/ours"; : >"$work/theirs"
for _ in $(seq "$rounds"); do
	cpu build/cipherlens.ext flows --summary "$work/all.pcap" >>"$work/ours"
	cpu ndpiReader -q -i "$work/all.pcap" >>"$work/theirs"
done
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
ours=$(median <"$work/ours")
theirs=$(median <"$work/theirs")
ratio=$(paste "$work/ours" "$work/theirs" | awk '{ print $2 / $1 }' | median)
rate() { awk -v n="$packets" -v t="$1" 'BEGIN { printf "%6.2f s  %5.2f million packets/s", t, n / t / 1e6 }'; }
echo "$packets packets, $(($(stat -c %s "$work/all.pcap") / 1000000)) MB, one core, median CPU time of $rounds rounds in turns"
echo "  cipherlens.ext flows  $(rate "$ours")"
echo "  ndpiReader            $(rate "$theirs")"
echo "  ratio                 $ratio"
CAPTURE="$work/all.pcap" taskset -c "$core" go test -run '^$' -bench '^BenchmarkCapture$' -benchtime 5x ./internal/sensor | awk '
	/^BenchmarkCapture/ { split($1, step, /[\/-]/); at = $3; printf "  %-7s %6.0f ns/packet, %+6.0f\n", step[2], at, at - before; before = at }'
