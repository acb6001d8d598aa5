#!/bin/sh
# Makes osquery-tables.tsv, the columns of osquery's own tables that packs use, from the list of all.
#   sh packs/testdata/subset.sh ../shared/reference/osquery-tables.tsv > packs/testdata/osquery-tables.tsv
set -eu
echo "# Subset of ../shared/reference/osquery-tables.tsv: columns of osquery 5.23.1's tables (its specs/**/*.table), made by subset.sh."
head -1 "$1"
grep -E '^(file|hash|launchd|osquery_extensions|osquery_info|process_open_sockets|processes|signature|systemd_units)	' "$1"
