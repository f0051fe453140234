#!/bin/bash
# Takes memtest86+ from Debian's package, once. Nothing is installed. Prints the path of the file that boot loaders start like a kernel.
#
# usage: fetch_memtest.sh
#
# It is kept in $RUSE_CACHE (~/.cache/ruse). Needs the network only when it is missing, and root only when apt has no package lists.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=${RUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ruse}
file=$cache/memtest86+x64.bin
work=

. "$here/steps.sh"
. "$here/packages.sh"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

mkdir -p "$cache"
if [ ! -f "$file" ]; then
	work=$(mktemp -d "$cache/tmp.XXXXXX")
	say "fetching memtest86+ ..."
	unpack_package memtest86+ "$work/tree" ./boot
	mv "$work/tree/boot/memtest86+x64.bin" "$file"
fi
echo "$file"
