#!/bin/sh
# After the files are there (deb, rpm): on installation and on upgrade.
set -e
lib=/usr/lib/cipherlens
"$lib/extensions-load" add "$lib/cipherlens.ext"
"$lib/restart"
