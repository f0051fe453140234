#!/bin/bash
# Builds a disk with Debian 12 on it, once: debootstrap, an MBR with GRUB for BIOS and for UEFI, an EFI system partition and ext4 with
# systemd, a login on the serial port (root, password "ruse") and DHCP. Prints its path: a raw image that is not to be written.
#
# usage: debian_disk.sh
#
# All is kept in $RUSE_CACHE (~/.cache/ruse). Needs root (for the chroot that debootstrap works in) and the network, when it is missing.
# Nothing is mounted, and no loop device is used.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
cache=${RUSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ruse}
# Another disk is built when this file has changed.
disk=$cache/debian-$(sha256sum <"$0" | cut -c 1-16).img
suite=bookworm
size_mib=2560
esp_first=2048   # sectors
esp_sectors=65536
root_first=$((esp_first + esp_sectors))
work=

. "$here/steps.sh"
trap '[ -z "$work" ] || rm -rf "$work"' EXIT

# Where this host's apt has Debian from.
mirror() {
	apt-get indextargets --format '$(CODENAME) $(LABEL) $(REPO_URI)' | awk -v suite="$suite" '$1 == suite && $2 == "Debian" { print $3; exit }'
}

# The system is its owner's in numbers that only root can give: all of this runs as root.
fill_root() {
	local root=$1 from=$2
	debootstrap --variant=minbase --include=systemd-sysv,udev,dbus,linux-image-cloud-amd64,iproute2 "$suite" "$root" "$from"
	echo guest >"$root/etc/hostname"
	echo "127.0.0.1 localhost guest" >"$root/etc/hosts"
	echo "LABEL=root / ext4 defaults 0 1" >"$root/etc/fstab"
	echo root:ruse | chroot "$root" chpasswd
	cat >"$root/etc/systemd/network/wired.network" <<-END
		[Match]
		Name=en*

		[Network]
		DHCP=yes
	END
	# (systemd-resolved is a package of its own.)
	echo "nameserver 10.0.2.3" >"$root/etc/resolv.conf"
	chroot "$root" systemctl enable systemd-networkd
	mkdir -p "$root/boot/grub/i386-pc"
	cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst "$root/boot/grub/i386-pc"
	cat >"$root/boot/grub/grub.cfg" <<-END
		serial --unit=0 --speed=115200
		terminal_input serial console
		terminal_output serial console
		set timeout=1
		menuentry "Debian" {
			linux /vmlinuz root=LABEL=root ro console=ttyS0 quiet
			initrd /initrd.img
		}
	END
	rm -rf "$root"/var/cache/apt/archives/*.deb
}

# BIOS: the boot sector loads sector 1, GRUB's core, which fits in front of the first partition.
install_bios_grub() {
	local image=$1 core=$work/core.img
	grub-mkimage -O i386-pc -o "$core" -p '(hd0,msdos2)/boot/grub' biosdisk part_msdos ext2
	[ "$(stat -c %s "$core")" -lt $(((esp_first - 1) * 512)) ]
	dd if=/usr/lib/grub/i386-pc/boot.img of="$image" bs=440 count=1 conv=notrunc
	dd if="$core" of="$image" bs=512 seek=1 conv=notrunc
}

make_esp() {
	local image=$1 config=$work/early.cfg
	printf 'search.fs_label root root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n' >"$config"
	grub-mkimage -O x86_64-efi -o "$work/boot.efi" -p /boot/grub -c "$config" \
		part_msdos fat ext2 search_label configfile normal linux serial terminal echo
	mformat -i "$work/esp" -C -T "$esp_sectors" -h 16 -s 63 -v EFI ::
	mmd -i "$work/esp" ::EFI ::EFI/BOOT
	mcopy -i "$work/esp" "$work/boot.efi" ::EFI/BOOT/BOOTX64.EFI
	dd if="$work/esp" of="$image" bs=512 seek="$esp_first" conv=notrunc,sparse
}

make_disk() {
	local root=$1 image=$2
	truncate -s "${size_mib}M" "$image"
	sfdisk --no-tell-kernel "$image" <<-END
		label: dos
		start=$esp_first, size=$esp_sectors, type=ef
		start=$root_first, type=83, bootable
	END
	install_bios_grub "$image"
	make_esp "$image"
	mke2fs -q -F -t ext4 -L root -d "$root" -E "offset=$((root_first * 512))" "$image" $((size_mib * 1024 - root_first / 2))
}

build() {
	local from
	[ "$(id -u)" = 0 ] || die "the Debian disk is built in a chroot: run as root once"
	for tool in debootstrap grub-mkimage mformat sfdisk mke2fs; do
		[ -x "$(PATH=$PATH:/usr/sbin:/sbin command -v $tool)" ] || die "$tool is missing: ./test installs it (packages.txt)"
	done
	from=$(mirror)
	[ -n "$from" ] || die "this host's apt knows no Debian $suite: check /etc/apt/sources.list"
	work=$(mktemp -d "$cache/tmp.XXXXXX")
	say "installing Debian into a directory (a minute) ..."
	fill_root "$work/root" "$from" >"$work/log" 2>&1 </dev/null || { tail -n 20 "$work/log" >&2; die "debootstrap failed"; }
	say "making the disk ..."
	make_disk "$work/root" "$work/disk" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; die "the disk can't be made"; }
	rm -f "$cache"/debian-*.img
	mv "$work/disk" "$disk"
}

PATH=$PATH:/usr/sbin:/sbin
if [ ! -f "$disk" ]; then
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	[ -f "$disk" ] || build
	exec 9>&-
fi
echo "$disk"
