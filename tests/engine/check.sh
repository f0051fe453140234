#!/bin/sh
# A guest in lock-step with the interpreter: every block of the translator leaves the same state.
#
# usage: check.sh RUSE GUEST.elf BLOCKS     at least so many are compared
#
# 77 (skipped) and the reason when the translator can't run here.
set -u

ruse=$1 guest=$2 blocks=$3
name=$(basename "$guest" .elf)

why=$("$ruse" engines | sed -n '/^dbt /{n;p;}')
case $why in
*'works here'*) ;;
*) echo "SKIP: $why"; exit 77 ;;
esac
out=$(timeout 400 "$ruse" run --kernel "$guest" --test-devices --engine dbt --check interp --stats --no-reboot --memory 64M \
	2>&1 </dev/null)
echo "$out"
echo "$out" | grep -q "^$name: .* 0 failed" || { echo "FAIL: the guest failed"; exit 1; }
checked=$(echo "$out" | sed -n 's/^blocks checked: //p')
[ "${checked:-0}" -ge "$blocks" ] || { echo "FAIL: $checked blocks were compared"; exit 1; }
# Neither the interpreter nor several processors.
"$ruse" run --kernel "$guest" --engine interp --check interp 2>&1 | grep -q 'choose --engine dbt' || exit 1
"$ruse" run --kernel "$guest" --engine dbt --cpus 2 --check interp 2>&1 | grep -q "choose --cpus 1" || exit 1
