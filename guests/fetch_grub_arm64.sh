#!/bin/bash
# Takes GRUB for AArch64's UEFI from Debian's package, once: the image with all modules in it, which reads EFI/debian/grub.cfg of the partition that it
# was started from. Nothing is installed. Prints its path.
#
# usage: fetch_grub_arm64.sh
#
# It is kept in $RUSE_CACHE (~/.cache/ruse). Needs the network only when it is missing.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=${RUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ruse}
file=$cache/grubaa64.efi
work=

. "$here/steps.sh"
. "$here/packages.sh"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

mkdir -p "$cache"
if [ ! -f "$file" ]; then
	work=$(mktemp -d "$cache/tmp.XXXXXX")
	packages_of arm64 "$work/apt"
	say "fetching grub-efi-arm64-bin ..."
	unpack_package grub-efi-arm64-bin "$work/tree" ./usr/lib/grub/arm64-efi/monolithic
	mv "$work/tree/usr/lib/grub/arm64-efi/monolithic/grubaa64.efi" "$file"
fi
echo "$file"
