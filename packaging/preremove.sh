#!/bin/sh
# Before the files go. dpkg says "upgrade" and rpm 1 where another version takes their place: then nothing changes.
set -e
lib=/usr/lib/cipherlens
case ${1:-} in
remove | deconfigure | 0)
	"$lib/extensions-load" remove "$lib/cipherlens.ext"
	"$lib/restart"
	;;
esac
