#!/bin/sh
# An operation of which how.def says nothing does not compile, and the error names it.
#
# usage: unclassified.sh SOURCE-DIRECTORY COMPILER...
set -u
# A cache of compilations does not see a header that stands before another of its name.
export CCACHE_DISABLE=1

source=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() {
	"$@" -std=gnu17 -fsyntax-only -I "$work" -I "$source/src" "$source/src/engine/dbt/how.c" >"$work/errors" 2>&1
}

check "$@" || {
	cat "$work/errors"
	echo 'FAIL: how.c does not compile as it is'
	exit 1
}
mkdir -p "$work/arch/x86_64"
cp "$source/src/arch/x86_64/ops.def" "$work/arch/x86_64/ops.def"
echo 'INSN_OP(ZZNEW, BASE, NONE)' >>"$work/arch/x86_64/ops.def"
check "$@" && {
	echo 'FAIL: an operation that how.def does not name compiles'
	exit 1
}
grep -q HOW_ZZNEW "$work/errors" || {
	cat "$work/errors"
	echo 'FAIL: the error does not name the operation'
	exit 1
}
