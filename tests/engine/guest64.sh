#!/bin/sh
# Runs a bare-metal guest of guests/aarch64. It passes when it says so itself, and says the same on the interpreter.
#
# usage: guest64.sh RUSE ENGINE CPUS GUEST.img
set -u

ruse=$1 engine=$2 cpus=$3 guest=$4
name=$(basename "$guest" .img)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# run ENGINE: what it says, in $work/ENGINE; prints the exit status.
run() {
	timeout 250 "$ruse" run --kernel "$guest" --engine "$1" --cpus "$cpus" --memory 256M --no-reboot >"$work/$1" 2>"$work/$1.err" </dev/null
	echo $?
}

status=$(run "$engine")
cat "$work/$engine" "$work/$engine.err"
[ "$status" = 0 ] && grep -q "$name: .* 0 failed" "$work/$engine" || { echo "FAIL: exit status $status"; exit 1; }
[ "$engine" = interp ] && exit 0
[ "$(run interp)" = 0 ] && cmp "$work/interp" "$work/$engine" && exit 0
echo "FAIL: the interpreter says:"
cat "$work/interp" "$work/interp.err"
exit 1
