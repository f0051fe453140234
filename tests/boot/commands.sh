#!/bin/bash
# Debian's kernel boots, and runs commands for us: standard streams, exit status, arguments, processors, and what is
# said when the guest dies first.
#
# usage: commands.sh RUSE SOURCE_ROOT [ENGINE]
set -u

ruse=$1 root=$2 engine=${3:-auto}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

if ! guest=$("$root/guests/fetch.sh" 2>"$work/fetch"); then
	echo "SKIP: the Debian guest can't be fetched: $(tail -n 1 "$work/fetch")"
	exit 77
fi

if [ "$engine" != auto ] && ! "$ruse" engines | grep -A 1 "^$engine " | grep -q 'works here'; then
	echo "SKIP: $("$ruse" engines | grep -A 1 "^$engine ")"
	exit 77
fi

# guest OPTION... -- COMMAND...: the way ./run does it.
guest() {
	timeout 400 "$ruse" run --kernel "${guest%%$'\n'*}" --initrd "${guest#*$'\n'}" --engine "$engine" --no-reboot \
		--append 'console=ttyS0 quiet panic=-1' "$@" >"$work/out" 2>"$work/err"
}

expect() {
	[ "$2" = "$3" ] && return
	echo "FAIL: $1: '$2' instead of '$3'"
	cat "$work/err"
	failed=1
}

# One boot: streams kept apart, arguments unharmed, more bytes than any buffer holds, status.
head -c 300000 /dev/urandom >"$work/in"
guest -- sh -c 'md5sum; echo to stderr >&2; printf "<%s>" "$@"; exit 7' name "it's" 'two  words' '$HOME "x" \n' '' <"$work/in"
expect 'exit status' $? 7
expect stdout "$(cat "$work/out")" "$(md5sum <"$work/in")"$'\n'"<it's><two  words><\$HOME \"x\" \\n><>"
expect stderr "$(cat "$work/err")" 'to stderr'

guest --cpus 4 --stats -- sh -c 'nproc; head -c 2000000 /dev/zero | tr "\0" "x"' </dev/null
expect 'status with four processors' $? 0
expect 'four processors' "$(head -n 1 "$work/out")" 4
expect 'length of a long output' "$(tail -n +2 "$work/out" | wc -c)" 2000000
if grep -qx 'engine: dbt' "$work/err"; then
	for text in 'translated blocks: [0-9]\{4,\}' 'fault entry filled: [0-9]\{3,\}\( (interpreted [0-9]*)\)\?' 'delivered #PF: [0-9]\{3,\}' 'table fills: [0-9]\{3,\}' \
		'interpreted instructions: [0-9]\{3,\}' 'left for indirect branch: [0-9]\{3,\}' 'helped HLT: [0-9]*' \
		'interpreted [A-Z_0-9]*: [0-9]* (after faults [0-9]*)' 'time in translated code: [0-9.]* ms ([0-9.]*%)'; do
		grep -qx "$text" "$work/err" || { echo "FAIL: --stats does not say '$text'"; cat "$work/err"; failed=1; }
	done
fi

guest -- no-such-command </dev/null
expect 'status of a missing command' $? 127

guest -- sh -c 'sync; echo c >/proc/sysrq-trigger; sleep 60' </dev/null
expect 'status of a panic' $? 3
grep -q 'sysrq triggered crash' "$work/err" || { echo 'FAIL: the panic is not shown'; failed=1; }
grep -q "before the command's exit status was known" "$work/err" || { echo 'FAIL: nothing is said of the status'; failed=1; }

guest -- sh -c 'poweroff -f; sleep 60' </dev/null
expect 'status of a guest that powers off' $? 3

exit $failed
