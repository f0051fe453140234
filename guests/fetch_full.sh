#!/bin/bash
# Takes Debian's full kernel, with the modules that its cloud kernel lacks (9p, SATA), from Debian's packages, once, and builds an initramfs for it.
# Nothing is installed. Prints two lines: the path of the kernel, and of the initramfs.
#
# usage: fetch_full.sh
#
# All is kept in $RUSE_CACHE (~/.cache/ruse). Needs the network only when something is missing, and root only when apt has no package
# lists.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=${RUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ruse}
# Made again when this file has changed.
tree=$cache/full-$(sha256sum <"$0" | cut -c 1-16)
work=

. "$here/steps.sh"
. "$here/packages.sh"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

# Busybox comes from there.
"$here/fetch.sh" >/dev/null
if [ ! -f "$tree/vmlinuz" ]; then
	exec 9>"$cache/lock"
	flock 9
	if [ ! -f "$tree/vmlinuz" ]; then
		work=$(mktemp -d "$cache/tmp.XXXXXX")
		image=$(kernel_package linux-image-amd64)
		say "fetching $image ..."
		unpack_package "$image" "$work/kernel"
		mkdir -p "$work/tree"
		cp "$work"/kernel/boot/vmlinuz-* "$work/tree/vmlinuz"
		# Of its 300 MB of modules those that build.sh may want.
		(cd "$work/kernel" && find lib/modules -path '*/kernel/*' \( -path '*/fs/9p/*' -o -path '*/fs/netfs/*' -o -path '*/fs/fscache/*' \
			-o -path '*/net/9p/*' -o -path '*/net/vmw_vsock/*' -o -path '*/net/core/*' -o -path '*/drivers/virtio/*' \
			-o -path '*/drivers/block/virtio_blk*' -o -path '*/drivers/net/virtio_net*' -o -path '*/drivers/net/net_failover*' \
			-o -path '*/drivers/ata/*ahci*' -o -path '*/drivers/ata/libata*' -o -path '*/drivers/scsi/s[dr]_mod*' \
			-o -path '*/drivers/scsi/scsi_mod*' -o -path '*/drivers/scsi/scsi_common*' -o -path '*/drivers/cdrom/*' -o -path '*/fs/isofs/*' \
			-o -path '*/block/t10-pi*' -o -path '*/lib/crc*' -o -path '*/crypto/crc*' -o -path '*/drivers/char/*' -o -path '*/drivers/misc/pvpanic/*' \) -name '*.ko' -print0 |
			cpio --null --create --format=newc --quiet) | (cd "$work/tree" && cpio --extract --make-directories --quiet)
		# In place as a whole or not at all.
		rm -rf "$cache"/9p "$cache"/full-*
		mv -T "$work/tree" "$tree"
	fi
	exec 9>&-
fi

# Built again when what goes into it has changed.
initrd=$tree/initrd-$(cat "$here"/initramfs/* | sha256sum | cut -c 1-16)
[ -f "$initrd" ] || step "building the initramfs" "$here/initramfs/build.sh" "$tree" "$cache/guest" "$initrd"
echo "$tree/vmlinuz"
echo "$initrd"
