#!/bin/bash
# --dump tb and --perf-map of a guest: every line has its form, what is in one is in the other, and guest code stands beside
# host code.
#
# usage: translations.sh RUSE GUEST.elf
set -u

ruse=$1 guest=$2
work=$(mktemp -d)
map=
trap 'rm -rf "$work" ${map:+"$map"}' EXIT
failed=0

fail() {
	echo "FAIL: $*"
	failed=1
}

if ! "$ruse" engines | grep -A 1 '^dbt ' | grep -q 'works here'; then
	echo "SKIP: $("$ruse" engines | grep -A 1 '^dbt ')"
	exit 77
fi

# run OPTION...: $map becomes the perf map's name.
run() {
	rm -f ${map:+"$map"}
	"$ruse" run --kernel "$guest" --test-devices --no-reboot --serial none "$@" >"$work/out" 2>"$work/err" </dev/null &
	map=/tmp/perf-$!.map
	wait $!
}

run --engine dbt --perf-map
[ $? = 1 ] || fail "status $?"
[ ! -s "$work/err" ] || fail "$(cat "$work/err")"
[ "$(grep -cE '^[0-9a-f]+ [0-9a-f]+ guest-kernel:[0-9a-f]+$' "$map")" -gt 20 ] || fail 'few blocks in the perf map'
grep -qE '^[0-9a-f]+ [0-9a-f]+ ruse:stubs$' "$map" || fail 'no stubs in the perf map'
grep -nvE '^[0-9a-f]+ [0-9a-f]+ (guest-(user|kernel):[0-9a-f]+|ruse:[a-z]+)$' "$map" && fail 'a bad line in the perf map'
rm -f "$map"

run --engine dbt --perf-map --dump "tb=$work/dump"
status=$?
if [ $status = 1 ] && grep -q 'install libzydis-dev' "$work/err"; then
	echo 'no disassembler: the dump is not tested'
	exit $failed
fi
[ ! -s "$work/err" ] || fail "$(cat "$work/err")"
blocks=$(grep -cE '^block (user|kernel) [0-9a-f]+, physical [0-9a-f]+, [0-9]+ instructions, [0-9]+ bytes, [0-9]+ bytes of host code at [0-9a-f]+$' "$work/dump")
[ "$blocks" = "$(grep -c ' guest-' "$map")" ] || fail "$blocks blocks in the dump, $(grep -c ' guest-' "$map") in the perf map"
line='[0-9a-f]+:( [0-9a-f]{2})+ +[a-z(].*'
grep -nvE "^(block .*|code .*|(    )?$line|)\$" "$work/dump" | head -n 5 | grep . && fail 'a bad line in the dump'
grep -qE '^[0-9a-f]+: e8 .* call ' "$work/dump" || fail 'no guest call'
grep -qE '^    [0-9a-f]+: .* rorx r11' "$work/dump" || fail 'no look-up in host code'

# What cannot be done is said.
run --engine interp --perf-map
[ $? = 1 ] && grep -q 'choose --engine dbt' "$work/err" || fail "interp: $(cat "$work/err")"
run --engine dbt --dump "tb=$work/no/dump"
[ $? = 1 ] && grep -q "$work/no/dump can't be written" "$work/err" || fail "no directory: $(cat "$work/err")"
exit $failed
