#!/bin/bash
# The first part of Debian's boot in lock-step with the interpreter: as many blocks as a minute has room for, none of which may
# differ. (All of it takes far longer, and is for a quiet machine: ./run --engine dbt --tb-cache none --check interp.)
#
# usage: check.sh RUSE SOURCE_ROOT
set -u

ruse=$1 root=$2
if ! guest=$("$root/guests/fetch.sh" 2>/dev/null); then
	echo "SKIP: the Debian guest can't be fetched"
	exit 77
fi
if ! "$ruse" engines | grep -A 1 '^dbt ' | grep -q 'works here'; then
	echo "SKIP: $("$ruse" engines | grep -A 1 '^dbt ')"
	exit 77
fi
# Once it is there it ends by itself.
out=$(timeout 400 "$ruse" run --kernel "${guest%%$'\n'*}" --initrd "${guest#*$'\n'}" --engine dbt --check interp --stats --no-reboot \
	--append 'console=ttyS0 quiet panic=-1' -- true 2>&1 </dev/null)
echo "$out"
if grep -q 'differs from the interpreter' <<<"$out"; then
	echo "FAIL: see above"
	exit 1
fi
checked=$(sed -n 's/^blocks checked: //p' <<<"$out")
[ "${checked:-0}" -ge 1000000 ] || { echo "FAIL: $checked blocks were compared"; exit 1; }
