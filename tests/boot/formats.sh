#!/bin/bash
# Debian's kernel by the other doors: as an ELF by its PVH note with one and four processors, and as a plain 64-bit ELF.
# (commands.sh boots the bzImage.)
#
# usage: formats.sh RUSE SOURCE_ROOT
set -u

ruse=$1 root=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

skip() {
	echo "SKIP: $*"
	exit 77
}

guest=$("$root/guests/fetch.sh" 2>"$work/fetch") || skip "the Debian guest can't be fetched: $(tail -n 1 "$work/fetch")"
command -v lz4 >/dev/null || skip 'lz4 is not installed'
kernel=${guest%%$'\n'*} initrd=${guest#*$'\n'}

# A little-endian number of the setup header (Linux's boot.rst).
field() {
	od -An -t "u$2" -j "$1" -N "$2" "$kernel" | tr -d ' '
}

# The compressed ELF: payload_offset from the end of the setup code; its last four bytes are its length unpacked.
from=$((($(field $((0x1f1)) 1) + 1) * 512 + $(field $((0x248)) 4)))
tail -c +$((from + 1)) "$kernel" | head -c $(($(field $((0x24c)) 4) - 4)) >"$work/payload"
lz4 -dqf "$work/payload" "$work/pvh" || skip 'this kernel is not compressed with lz4'
# Without its last program header, the notes, it is a plain ELF.
cp "$work/pvh" "$work/plain"
headers=$(od -An -t u1 -j 56 -N 1 "$work/pvh" | tr -d ' ')
# shellcheck disable=SC2059
printf "\\$(printf %o $((headers - 1)))" | dd of="$work/plain" bs=1 seek=56 conv=notrunc status=none

boot() {
	timeout 100 "$ruse" run --kernel "$work/$1" --initrd "$initrd" --cpus "$2" --engine interp --no-reboot \
		--append 'console=ttyS0 quiet panic=-1' -- sh -c 'nproc; exit 5' >"$work/out" 2>"$work/err" </dev/null
	[ $? = 5 ] && [ "$(cat "$work/out")" = "$2" ] && return
	echo "FAIL: $1 with $2 processors: $(cat "$work/out")"
	cat "$work/err"
	failed=1
}

boot pvh 1
boot pvh 4
boot plain 1
exit $failed
