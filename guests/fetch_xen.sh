#!/bin/bash
# Takes Xen and a kernel that can be its Dom0 from Debian's packages, once. Nothing is installed. Prints three lines: the path of the
# hypervisor (an ELF file, not compressed), of the kernel, and of an initramfs that goes on with Debian's disk (debian_disk.sh).
#
# usage: fetch_xen.sh
#
# All is kept in $RUSE_CACHE (~/.cache/ruse). Needs the network only when something is missing, and root only when apt has no package
# lists.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=${RUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ruse}
# Made again when these files have changed.
tree=$cache/xen-$(cat "$0" "$here/dom0_init" | sha256sum | cut -c 1-16)
xen_package=xen-hypervisor-4.17-amd64
# In the order in which they load.
modules='drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci_modern_dev
	drivers/virtio/virtio_pci drivers/block/virtio_blk lib/crc16 crypto/crc32c_generic lib/libcrc32c fs/mbcache fs/jbd2/jbd2 fs/ext4/ext4'
work=

. "$here/steps.sh"
. "$here/packages.sh"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

# make_initrd MODULES OUTPUT
make_initrd() {
	local stage=$work/stage module
	mkdir -p "$stage"/{bin,dev,proc,mnt,modules}
	cp "$cache/guest/bin/busybox" "$stage/bin"
	install -m 755 "$here/dom0_init" "$stage/init"
	for module in $modules; do
		cp "$1/kernel/$module.ko" "$stage/modules"
		echo "${module##*/}" >>"$stage/modules/order"
	done
	(cd "$stage" && find . -mindepth 1 -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$2"
}

build() {
	local image
	work=$(mktemp -d "$cache/tmp.XXXXXX")
	# The kernel for clouds can't be a Dom0.
	image=$(kernel_package linux-image-amd64)
	say "fetching $xen_package and $image ..."
	unpack_package "$xen_package" "$work/xen" ./boot
	unpack_package "$image" "$work/kernel" ./boot ./lib
	mkdir "$work/tree"
	gzip -dc "$work"/xen/boot/xen-4.17-amd64.gz >"$work/tree/xen"
	cp "$work"/kernel/boot/vmlinuz-* "$work/tree/vmlinuz"
	make_initrd "$work"/kernel/lib/modules/* "$work/tree/initrd"
	rm -rf "$cache"/xen "$cache"/xen-*
	# In place as a whole or not at all.
	mv -T "$work/tree" "$tree"
}

# Busybox comes from there.
"$here/fetch.sh" >/dev/null
if [ ! -d "$tree" ]; then
	exec 9>"$cache/lock"
	flock 9
	[ -d "$tree" ] || build
	exec 9>&-
fi
echo "$tree/xen"
echo "$tree/vmlinuz"
echo "$tree/initrd"
