#!/bin/sh
# A tree that test_fdt writes, against what dtc makes of the same one: byte for byte.
#
# usage: fdt.sh TEST_FDT FDT.DTS
command -v dtc >/dev/null || { echo "dtc is not installed (device-tree-compiler)"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
"$1" && "$1" write >"$dir/ours" && dtc -q -I dts -O dtb -o "$dir/dtc" "$2" || exit 1
cmp "$dir/ours" "$dir/dtc" && exit 0
dtc -q -I dtb -O dts "$dir/ours"
exit 1
