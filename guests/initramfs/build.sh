#!/bin/bash
# Builds the guest's initramfs from unpacked Debian packages: busybox, the modules that a virtual machine needs in
# the order in which they load, and init.
#
# usage: build.sh KERNEL_TREE BUSYBOX_TREE OUTPUT
#
# KERNEL_TREE holds lib/modules/VERSION (from dpkg-deb -x linux-image-*.deb), BUSYBOX_TREE holds bin/busybox, and, where that is not for
# this machine, bin/names: what its --list-full would print. Needs no root. The archive is not compressed: unpacking it in a guest that is interpreted costs more than reading it.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
kernel=$1 busybox=$2 output=$3
modules_wanted='virtio_mmio virtio_pci virtio_blk virtio_net virtio_console virtio_rng vmw_vsock_virtio_transport pvpanic-mmio
	virtio_balloon virtio_scsi sd_mod virtio_pmem nd_pmem virtio_mem virtio_input evdev virtiofs 9pnet_virtio 9p ahci sr_mod isofs'

stage=$(mktemp -d "${output%/*}/initramfs.XXXXXX")
trap 'rm -rf "$stage"' EXIT

mkdir -p "$stage"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,run,tmp,root,etc,mnt,lib/ruse}
chmod 755 "$stage"
cp "$busybox/bin/busybox" "$stage/bin/busybox"
# A name for each applet, where it usually is.
{ cat "$busybox/bin/names" 2>/dev/null || "$busybox/bin/busybox" --list-full; } | while read -r path; do
	[ "$path" = bin/busybox ] || ln -sf /bin/busybox "$stage/$path"
done

version=$(ls "$kernel/lib/modules")
tree=$kernel/lib/modules/$version

# The file of a module: its name with - and _ taken as the same.
declare -A file_of
while read -r path; do
	name=${path##*/}
	name=${name%.ko}
	file_of[${name//-/_}]=$path
done < <(cd "$tree" && find kernel -name '*.ko')

# What a module's .modinfo section says it needs: NUL-terminated name=value texts.
depends() {
	LC_ALL=C tr '\0' '\n' <"$1" | LC_ALL=C sed -n 's/^depends=//p' | tr ',' ' '
}

# Prints the files of a module and what it depends on, needed ones first.
order() {
	local name=${1//-/_} dependency path
	path=${file_of[$name]:-}
	# Not there: built into the kernel.
	[ -n "$path" ] || return 0
	for dependency in $(depends "$tree/$path"); do
		order "$dependency"
	done
	echo "$path"
}

for module in $modules_wanted; do
	order "$module" | awk '!seen[$0]++' | while read -r path; do
		cp "$tree/$path" "$stage/lib/ruse/"
		echo "${path##*/}"
	done >"$stage/lib/ruse/$module.order"
done

install -m 755 "$here/init" "$stage/init"
install -m 755 "$here/udhcpc.script" "$stage/etc/udhcpc.script"
echo 'root:x:0:0:root:/root:/bin/sh' >"$stage/etc/passwd"
echo 'root:x:0:' >"$stage/etc/group"
printf '127.0.0.1 localhost\n' >"$stage/etc/hosts"

(cd "$stage" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
	cpio --null --create --format=newc --owner=0:0 --reproducible --quiet) >"$output.new"
mv "$output.new" "$output"
