#!/bin/bash
# Far transfers and the like do not leave translated code for the interpreter.
#
# usage: transfers.sh RUSE GUEST.elf     the guest `transfers`
set -u

ruse=$1 guest=$2
turns=2000

why=$("$ruse" engines | sed -n '/^dbt /{n;p;}')
case $why in
*'works here'*) ;;
*) echo "SKIP: $why"; exit 77 ;;
esac
out=$(timeout 400 "$ruse" run --kernel "$guest" --test-devices --engine dbt --stats --no-reboot --memory 64M --tb-cache none 2>&1 </dev/null)
echo "$out"
echo "$out" | grep -q '^transfers: .* 0 failed' || { echo 'FAIL: the guest failed'; exit 1; }

# value LINE: of a line of --stats; 0 without one.
value() {
	echo "$out" | sed -n "s/^$1: \([0-9]*\).*/\1/p" | grep . || echo 0
}

failed=0
for op in JMP_FAR CALL_FAR RET_FAR INT IRET SYSENTER SYSEXIT; do
	[ "$(value "helped $op")" -ge $turns ] || { echo "FAIL: few helped $op"; failed=1; }
	[ "$(value "interpreted $op")" -eq 0 ] || { echo "FAIL: $op was interpreted"; failed=1; }
done
# What comes before the first 64-bit code, and a few more.
[ "$(value 'interpreted instructions')" -lt 15000 ] || { echo 'FAIL: much was interpreted'; failed=1; }
exit $failed
