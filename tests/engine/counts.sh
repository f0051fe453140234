#!/bin/bash
# --count-blocks of a guest that says how often its code is executed: the counts are exact, with blocks chained, interrupts among them, and
# several processors; what the guest does is the same.
#
# usage: counts.sh RUSE CPUS COUNTS.elf [GUEST.elf]...     of the others only what they print is looked at
set -u

ruse=$1 cpus=$2 guest=$3
shift 3
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
	timeout 400 "$ruse" run --kernel "$@" --test-devices --no-reboot >"$work/out" 2>"$work/err" </dev/null
}

# With a directory for kept translations: code with counters must neither come from there nor go there.
mkdir "$work/kept"
run "$guest" --engine dbt --cpus "$cpus" --tb-cache "$work/kept" --count-blocks "$work/counts"
[ $? = 1 ] || fail "status $?"
grep -q '^counts: .* 0 failed' "$work/out" || fail "$(cat "$work/out")"
[ ! -s "$work/err" ] || fail "$(cat "$work/err")"
[ -z "$(ls "$work/kept")" ] || fail 'translations with counters were kept'
grep -nvE '^(|Instructions of the guest that translated code executed: [0-9]+|(Pages of code|Blocks) \([0-9]+\)|  share    instructions .*| *[0-9.]+% +[0-9]+ +[0-9 ]+  (kernel|user|user32) +[0-9a-f]{16}  [0-9a-f]{12})$' \
	"$work/counts" | head -n 5 | grep . && fail 'a bad line'

# The sums agree: of pages, of blocks, of all.
awk '/^Instr/ { all = $NF } /^[PB].*\(/ { table = $1; split($0, n, /[()]/); want[table] = n[2] } /%/ { sum[table] += $2; lines[table]++; if ($2 > last && seen == table) bad = 1; last = $2; seen = table }
	END { exit bad || !all || sum["Pages"] != all || sum["Blocks"] != all || lines["Blocks"] != want["Blocks"] }' "$work/counts" ||
	fail 'the tables do not agree, or are not sorted'

# Each label: executions by the line of its address, instructions by all lines up to the next label.
nm -n "$guest" | awk -v cpus="$cpus" '
	$3 ~ /^(user)?counted_[0-9]+x[0-9]+_/ {
		split($3, part, "[_x]")
		user = $3 ~ /^user/
		if (count && !ended) print from, $1, wanted, insns, name, was_user
		ended = part[2] == 0
		from = $1; wanted = part[2] * (user ? 1 : cpus); insns = part[3]; name = $3; was_user = user; count++
	}' >"$work/labels"
[ "$(wc -l <"$work/labels")" = 13 ] || fail "$(wc -l <"$work/labels") labels"
sed -n '/^Blocks/,$p' "$work/counts" | grep % >"$work/blocks"
while read -r from to wanted insns name user; do
	mode=kernel offset=0
	[ "$user" = 1 ] && mode=user offset=$((4 << 30))
	first=$(printf '%016x' $((0x$from + offset))) last=$(printf '%016x' $((0x$to + offset)))
	got=$(awk -v mode=$mode -v first="$first" -v last="$last" '
		$7 == mode && $8 "" >= first "" && $8 "" < last "" { instructions += $2; if ($8 "" == first "") executions += $3 }
		END { printf "%d %d", executions, instructions }' "$work/blocks")
	[ "$got" = "$wanted $((wanted * insns))" ] || fail "$name: executions and instructions $got, not $wanted $((wanted * insns))"
done <"$work/labels"

# What others do does not depend on being counted.
for other in "$@"; do
	run "$other" --engine dbt --cpus 1 --tb-cache none
	mv "$work/out" "$work/plain"
	run "$other" --engine dbt --cpus 1 --tb-cache none --count-blocks "$work/counts"
	[ $? = 1 ] && cmp "$work/plain" "$work/out" || fail "$other: $(cat "$work/out" "$work/err")"
	grep -q '^Blocks ([1-9]' "$work/counts" || fail "$other: nothing was counted"
done

# To stderr; and what cannot be done is said.
run "$guest" --engine dbt --count-blocks -
grep -q '^Blocks (' "$work/err" || fail 'nothing on stderr'
run "$guest" --engine interp --count-blocks -
[ $? = 1 ] && grep -q -- '--count-blocks to show; choose --engine dbt' "$work/err" || fail "interp: $(cat "$work/err")"
run "$guest" --engine dbt --count-blocks "$work/no/file"
[ $? = 1 ] && grep -q "can't be written to $work/no/file" "$work/err" || fail "no directory: $(cat "$work/err")"
exit $failed
