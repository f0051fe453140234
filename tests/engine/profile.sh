#!/bin/bash
# --profile of a guest: its tables have their form, and what the guest is known to do is in them.
#
# usage: profile.sh RUSE GUEST.elf     a guest that runs for a while, with page faults and devices
set -u

ruse=$1 guest=$2
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

run() {
	timeout 400 "$ruse" run --kernel "$guest" --test-devices --no-reboot --serial none "$@" >"$work/out" 2>"$work/err" </dev/null
}

run --engine dbt --profile "$work/profile"
[ $? = 1 ] || fail "status $?"
[ ! -s "$work/err" ] || fail "$(cat "$work/err")"
head -n 1 "$work/profile" | grep -qx 'A sample each 1000 us of a virtual processor.s time\.' || fail 'the first line'
grep -nvE '^(|A sample .*|Not counted, .*: [0-9]+|(Samples|Left|Faults) .* \([0-9]+\)|   share      count  mode   address           .*| *[0-9.]+% +[0-9]+  ((kernel|user  ) [0-9a-f]{16}  .*|others))$' \
	"$work/profile" | head -n 5 | grep . && fail 'a bad line'
for title in 'Samples by block' 'Samples by page of code' 'Left to the interpreter' 'Faults by page'; do
	grep -q "^$title ([1-9]" "$work/profile" || fail "no table '$title'"
done
# Blocks and pages are of the same samples; the shares of a table make a whole.
[ "$(sed -n 's/^Samples by .* (\(.*\))/\1/p' "$work/profile" | uniq | wc -l)" = 1 ] || fail 'the samples of blocks and pages differ'
awk '/^[SLF].*\(/ { if (sum && (sum < 99 || sum > 101)) bad = 1; sum = 0 } /%/ { sum += $1 } END { exit bad }' "$work/profile" ||
	fail 'shares that make no whole'
grep -q '  translated$' "$work/profile" || fail 'no sample in translated code'
grep -q '  entry filled$' "$work/profile" || fail 'no entry was filled'

# To stderr; and what cannot be done is said.
run --engine dbt --cpus 2 --profile -
grep -q '^Faults by page' "$work/err" || fail 'nothing on stderr'
run --engine interp --profile -
[ $? = 1 ] && grep -q -- '--profile to show; choose --engine dbt' "$work/err" || fail "interp: $(cat "$work/err")"
run --engine dbt --profile "$work/no/file"
[ $? = 1 ] && grep -q "$work/no/file can't be written" "$work/err" || fail "no directory: $(cat "$work/err")"
exit $failed
