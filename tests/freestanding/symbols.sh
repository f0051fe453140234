#!/bin/sh
# The freestanding rooms may call each other, the four memory functions, and the platform: nothing else,
# so that the same code serves the Linux process and the bare-metal hypervisor.
#
# usage: symbols.sh LIBRARY.a...        (all of them at once)
set -eu

defined=$(mktemp) undefined=$(mktemp)
trap 'rm -f "$defined" "$undefined"' EXIT

nm --defined-only --extern-only --format=posix "$@" 2>/dev/null | awk 'NF > 1 { print $1 }' | sort -u >"$defined"
nm --undefined-only --format=posix "$@" 2>/dev/null | awk 'NF > 1 { print $1 }' | sort -u >"$undefined"
[ -s "$defined" ] || { echo "no symbols found in: $*"; exit 1; }

# core/platform.h and platform_vm_stopped (core/vm.h); `engines` and `engine_find` (core/engine.h) belong to
# the engine room, which is chosen at link time.
allowed='^(memcpy|memset|memmove|memcmp'
allowed="$allowed|platform_(clock_ns|wall_ns|alloc|free|wait|wake|random|discard|log|log_enabled|log_limit|bug|vm_stopped)"
allowed="$allowed|timer_(init|arm|cancel)|work_(init|post|cancel)"
allowed="$allowed|_GLOBAL_OFFSET_TABLE_)\$"

foreign=$(comm -13 "$defined" "$undefined" | grep -Ev "$allowed" || true)
[ -z "$foreign" ] && exit 0
echo "symbols that a freestanding room must not need:"
for symbol in $foreign; do
	nm --undefined-only --format=posix -A "$@" 2>/dev/null | awk -v s="$symbol" '$2 == s { print "  " s "  wanted by " $1 }'
done
exit 1
