#!/bin/bash
# Takes Xen and a kernel that can be its Dom0 from Debian's packages, once. Nothing is installed. Prints two lines: the path of the
# hypervisor (an ELF file, not compressed), and of the kernel.
#
# usage: fetch_xen.sh
#
# All is kept in $RUSE_CACHE (~/.cache/ruse). Needs the network only when something is missing, and root only when apt has no package
# lists.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=${RUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ruse}
xen_package=xen-hypervisor-4.17-amd64
work=

. "$here/steps.sh"
. "$here/packages.sh"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

if [ ! -f "$cache/xen/vmlinuz" ]; then
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	if [ ! -f "$cache/xen/vmlinuz" ]; then
		work=$(mktemp -d "$cache/tmp.XXXXXX")
		# The kernel for clouds can't be a Dom0.
		image=$(kernel_package linux-image-amd64)
		say "fetching $xen_package and $image ..."
		unpack_package "$xen_package" "$work/xen" ./boot
		unpack_package "$image" "$work/kernel" ./boot
		mkdir "$work/both"
		gzip -dc "$work"/xen/boot/xen-4.17-amd64.gz >"$work/both/xen"
		cp "$work"/kernel/boot/vmlinuz-* "$work/both/vmlinuz"
		# In place as a whole or not at all.
		mv -T "$work/both" "$cache/xen"
	fi
	exec 9>&-
fi
echo "$cache/xen/xen"
echo "$cache/xen/vmlinuz"
