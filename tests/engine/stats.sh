#!/bin/bash
# The figures of --stats: faults by cause add up, what was delivered to the guest is the same on every engine, and exits are those that the
# guest is known to cause.
#
# usage: stats.sh RUSE GUEST.elf...     without interrupts
set -u

ruse=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

fail() {
	echo "FAIL: $*"
	failed=1
}

if ! "$ruse" engines | grep -A 1 '^dbt ' | grep -q 'works here'; then
	echo "SKIP: $("$ruse" engines | grep -A 1 '^dbt ')"
	exit 77
fi

for guest in "$@"; do
	for engine in interp dbt; do
		timeout 400 "$ruse" run --kernel "$guest" --test-devices --no-reboot --engine $engine --tb-cache none --stats \
			>"$work/out" 2>"$work/$engine" </dev/null
		[ $? = 1 ] || fail "$guest on $engine: $(cat "$work/out" "$work/$engine")"
		grep '^delivered \|^exits ' "$work/$engine" >"$work/$engine.delivered"
	done
	grep -q '^delivered #[A-Z]*: [1-9]' "$work/dbt.delivered" || fail "$guest: nothing was delivered"
	diff "$work/interp.delivered" "$work/dbt.delivered" || fail "$guest: the engines differ"
	grep -q "^exits io: [0-9]* (writes [0-9]*)\$" "$work/dbt" || fail "$guest: exits by port"
	awk -F '[:( )]+' '
		/^faults: / { faults = $2 }
		/^faults interpreted: / { interpreted = $3 }
		/^fault / { split($0, at, ": "); sum += at[2]; if (match($0, /interpreted [0-9]+/)) left += substr($0, RSTART + 12, RLENGTH - 12) }
		END { if (!faults || sum != faults || left != interpreted) { print faults, sum, interpreted, left; exit 1 } }' "$work/dbt" ||
		fail "$guest: the causes are not the faults"
done
exit $failed
