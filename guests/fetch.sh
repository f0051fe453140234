#!/bin/bash
# Takes the Linux guest from Debian's packages, once: the cloud kernel with its modules, and busybox, of which an
# initramfs is built. Nothing is installed. Prints two lines: the path of the kernel, and of the initramfs.
#
# usage: fetch.sh [amd64|arm64]
#
# All is kept in $RUSE_CACHE (~/.cache/ruse). Needs the network only when something is missing, and root only when apt
# has no package lists.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=${RUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ruse}
busybox_package=busybox-static
arch=${1:-amd64}
guest=$cache/guest
[ "$arch" = amd64 ] || guest=$cache/guest-$arch
work=

. "$here/steps.sh"
. "$here/packages.sh"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

fetch_guest() {
	local image
	command -v dpkg-deb >/dev/null && command -v apt-get >/dev/null ||
		die "the guest comes from Debian's packages, and there is no apt here: give --kernel and --initrd"
	case $arch in
	amd64 | arm64) ;;
	*) die "there is no guest for $arch: amd64 and arm64 are there" ;;
	esac
	work=$(mktemp -d "$cache/tmp.XXXXXX")
	# The names of busybox's commands, which only one that runs here can tell.
	unpack_package "$busybox_package" "$work/names"
	[ "$(dpkg --print-architecture)" = "$arch" ] || packages_of "$arch" "$work/apt"
	image=$(kernel_package "linux-image-cloud-$arch")
	say "fetching $image ..."
	unpack_package "$image" "$work/kernel"
	say "fetching $busybox_package ..."
	unpack_package "$busybox_package" "$work/busybox"
	mkdir "$work/guest" "$work/guest/bin"
	cp "$work"/kernel/boot/vmlinuz-* "$work/guest/vmlinuz"
	cp -r "$work/kernel/lib" "$work/guest/lib"
	cp "$work/busybox/bin/busybox" "$work/guest/bin/busybox"
	"$work/names/bin/busybox" --list-full >"$work/guest/bin/names"
	# In place as a whole or not at all.
	mv -T "$work/guest" "$guest"
}

if [ ! -f "$guest/vmlinuz" ]; then
	mkdir -p "$cache"
	# Two at once: one fetches, the other waits.
	exec 9>"$cache/lock"
	flock 9
	# Left over from one that was killed; nobody else is here now.
	rm -rf "$cache"/tmp.*
	[ -f "$guest/vmlinuz" ] || fetch_guest
	exec 9>&-
fi

# The initramfs is built again when what goes into it has changed.
initrd=$guest/initrd-$(cat "$here"/initramfs/* | sha256sum | cut -c 1-16)
[ -f "$initrd" ] ||
	step "building the initramfs" "$here/initramfs/build.sh" "$guest" "$guest" "$initrd"
echo "$guest/vmlinuz"
echo "$initrd"
