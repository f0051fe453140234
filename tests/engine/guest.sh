#!/bin/sh
# Runs a bare-metal guest on an engine. It passes when it says so itself, and says the same on the interpreter.
#
# usage: guest.sh RUSE ENGINE CPUS GUEST.elf [OPTION]...
#
# 77 (skipped) and the reason when the engine can't run here.
set -u

ruse=$1 engine=$2 cpus=$3 guest=$4
shift 4
name=$(basename "$guest" .elf)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
	echo "SKIP: $name on $engine: $*"
	exit 77
}

# value FIELD: of this engine for x86-64 guests, from `ruse engines --json` (one field a line).
value() {
	"$ruse" engines --json | awk -v engine="\"$engine\"," -v field="\"$1\":" '
		$1 == "\"name\":" { ours = $2 == engine }
		$1 == "\"guests\":" && $2 != "\"x86_64\"," { ours = 0 }
		ours && $1 == field { sub(/^[^:]*: */, ""); sub(/,$/, ""); print }'
}

# run ENGINE [OPTION]...: standard output in $work/ENGINE; prints the exit status.
run() {
	on=$1
	shift
	timeout 400 "$ruse" run --kernel "$guest" --test-devices --engine "$on" --no-reboot --cpus "$cpus" --memory 64M --tb-cache none "$@" \
		>"$work/$on" 2>"$work/$on.err" </dev/null
	echo $?
}

[ "$engine" = interp ] || [ "$(value works)" = true ] || skip "$(value why)"
if [ "$engine" = kvm ]; then
	# A KVM without hardware behind it (nested as a paravirtual guest) emulates much, and not exactly: stores
	# across pages are not atomic, some instructions end the guest. `devices` and `smp` need nothing of that.
	speed=$(value instructions_per_second)
	[ "$name" = devices ] || [ "$name" = smp ] || [ "${speed%%.*}" -ge 20000000 ] ||
		skip "/dev/kvm has no hardware behind it (${speed%%.*} instructions a second): its results are its own"
fi

# isa-debug-exit: 2n + 1 for the guest's n.
status=$(run "$engine" "$@")
cat "$work/$engine" "$work/$engine.err"
# 1 is also what ruse says when it could not start.
[ "$status" = 1 ] && grep -q "^$name: .* 0 failed" "$work/$engine" || { echo "FAIL: exit status $status"; exit 1; }
[ "$engine" = interp ] && exit 0
[ "$(run interp "$@")" = 1 ] && cmp "$work/interp" "$work/$engine" && exit 0
echo "FAIL: the interpreter says:"
cat "$work/interp" "$work/interp.err"
exit 1
