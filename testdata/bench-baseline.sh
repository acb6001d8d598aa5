#!/bin/sh
# How fast baseline learn reads the logs of a large fleet, beside three others that do less: counting the lines, and only parsing each as JSON
# with jq and with Python. Says lines a second of wall time and of processor time, and compares every count with the generator's.
set -eu
cd "$(dirname "$0")/.."
hosts=${HOSTS:-10000} days=${DAYS:-30} logs=$PWD/build/made-logs
ext=$PWD/build/cipherlens.ext
(cd testdata && ${GO:-go} run ./logs -hosts "$hosts" -days "$days" -out "$logs")
lines=$(awk -F '\t' '$1 == "lines" { print $8 }' "$logs/truth.tsv")
echo "$lines lines of $hosts hosts and $days days, $(du -sh "$logs/logs" | cut -f 1) on disk, every second file compressed"

# measure NAME COMMAND: runs it and says its rate.
measure() {
	name=$1; shift
	python3 - "$name" "$lines" "$@" <<'P'
import os, resource, subprocess, sys, time
name, lines = sys.argv[1], int(sys.argv[2])
began = time.time()
status = subprocess.call(sys.argv[3:], stdout=subprocess.DEVNULL)
took = time.time() - began
used = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = used.ru_utime + used.ru_stime
print(f"{name:38} {lines/took:12,.0f} lines/s  {lines/cpu:12,.0f} lines/s of one core  {used.ru_maxrss/1024:6.0f} MiB")
sys.exit(status)
P
}
measure "gzip -dc | wc -l (counts lines)" sh -c "{ cat $logs/logs/*.log; gzip -dc $logs/logs/*.gz; } | wc -l"
measure "cipherlens.ext baseline learn" "$ext" baseline learn --json -o "$logs/counts.jsonl" --from "$logs/logs"
measure "python3 json.loads (only parses)" sh -c "{ cat $logs/logs/*.log; gzip -dc $logs/logs/*.gz; } | python3 -c 'import json, sys
for line in sys.stdin.buffer: json.loads(line)'"
if command -v jq >/dev/null; then
	measure "jq .hostIdentifier (only parses)" sh -c "{ cat $logs/logs/*.log; gzip -dc $logs/logs/*.gz; } | jq .hostIdentifier"
fi
python3 - "$logs" <<'P'
import json, sys
truth, wrong, compared = {}, 0, 0
for line in open(sys.argv[1] + "/truth.tsv"):
    c = line.rstrip("\n").split("\t")
    if c[0] != "lines":
        truth[tuple(c[:5])] = tuple(c[5:])
for line in open(sys.argv[1] + "/counts.jsonl"):
    j = json.loads(line)
    key = (j["kind"], j.get("identity", ""), j.get("remote_address", ""), str(j.get("remote_port", "")), str(j.get("protocol", "")))
    got = (str(j["hosts"]), str(j["days"]), str(j["rows"]), str(j.get("destinations", "")))
    compared += 1
    wrong += truth.pop(key, None) != got
print(f"{compared} counts compared with the generator's, {wrong + len(truth)} differ")
sys.exit(wrong + len(truth) > 0)
P
rm -rf "$logs"
