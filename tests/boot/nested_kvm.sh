#!/bin/bash
# The kvm engine on virtual AMD-V: QEMU's TCG boots Debian with an emulated SVM and nested paging, and ruse boots Debian
# in that. So the kvm engine is tested on hosts whose own KVM is not there or not exact.
#
# usage: nested_kvm.sh RUSE SOURCE_ROOT guests GUEST.elf... | linux | restarts | sector | grub
#
#     guests    each GUEST.elf (guests/) must pass there, too
#     linux     Debian's kernel on the board pc with two processors
#     restarts  a guest that restarts the machine
#     sector    SeaBIOS starts a boot sector that uses its services
#     grub      SeaBIOS starts a disk with GRUB and Debian's kernel, up to its shell
#
# (With OVMF in there QEMU 7.2 fails an assertion of its own, in tcg_handle_interrupt.) 77 (skipped) and the reason when something is
# missing.
set -u

ruse=$1 root=$2 part=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
	echo "SKIP: $*"
	exit 77
}

qemu=$(command -v qemu-system-x86_64) || skip "there is no qemu-system-x86_64: install qemu-system-x86"
guest=$("$root/guests/fetch.sh" 2>"$work/fetch") || skip "the Debian guest can't be fetched: $(tail -n 1 "$work/fetch")"
kernel=${guest%%$'\n'*} initrd=${guest#*$'\n'}
tree=${kernel%/*}

stage=$work/stage
mkdir -p "$stage"/{bin,dev,proc,sys,tmp,modules,guests}
cp "$tree/bin/busybox" "$stage/bin/"
for module in irqbypass kvm kvm-amd; do
	file=$(find "$tree/lib/modules" -name "$module.ko")
	[ -n "$file" ] || skip "Debian's kernel has no $module.ko"
	cp "$file" "$stage/modules/"
done
cp "$ruse" "$stage/bin/ruse"
ldd "$ruse" | grep -o '/[^ ]*' | while read -r library; do
	mkdir -p "$stage/${library%/*}"
	cp "$library" "$stage$library"
done
cp "$kernel" "$stage/vmlinuz"
cp "$initrd" "$stage/initrd"
[ $# = 0 ] || cp "$@" "$stage/guests/"

# need_seabios TOOL...: SeaBIOS, and the tools that make what it boots.
need_seabios() {
	for tool; do
		command -v "$tool" >/dev/null || skip "there is no $tool"
	done
	[ -f /usr/share/seabios/bios-256k.bin ] || skip "there is no SeaBIOS: install seabios"
	mkdir -p "$stage/usr/share/seabios"
	cp -L /usr/share/seabios/*.bin "$stage/usr/share/seabios"
}

make_grub_disk() {
	mkdir -p "$work/tree/boot/grub"
	cp "$kernel" "$work/tree/boot/vmlinuz"
	cp "$initrd" "$work/tree/boot/initrd"
	cat >"$work/tree/boot/grub/grub.cfg" <<'CONFIG'
serial --unit=0
terminal_output serial
set timeout=0
menuentry debian {
	linux /boot/vmlinuz console=ttyS0 quiet panic=-1 by=grub
	initrd /boot/initrd
}
CONFIG
	grub-mkrescue -d /usr/lib/grub/i386-pc -o "$stage/grub.img" "$work/tree" >"$work/grub" 2>&1 || skip "grub-mkrescue: $(tail -n 1 "$work/grub")"
}

case $part in
guests | linux | restarts) ;;
sector)
	need_seabios nasm
	nasm -f bin -o "$stage/sector.img" "$root/tests/boot/pc/boot_sector.asm"
	;;
grub)
	need_seabios grub-mkrescue xorriso mformat
	make_grub_disk
	;;
*)
	echo "nested_kvm.sh has no part '$part'"
	exit 1
	;;
esac

cat >"$stage/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in irqbypass kvm kvm-amd; do
	$b insmod /modules/$module.ko || echo "no-module $module"
done
# wait_for COUNT TEXT FILE: until so many lines of FILE have it, or ten minutes have passed.
wait_for() {
	tries=0
	until [ "$($b grep -c "$2" "$3")" -ge "$1" ] || [ $tries -ge 3000 ]; do
		$b sleep 0.2
		tries=$((tries + 1))
	done
}
guests() {
	for guest in /guests/*.elf; do
		$b timeout -s KILL 120 /bin/ruse run --engine kvm --kernel "$guest" --test-devices --no-reboot --memory 64M </dev/null 2>&1
		echo "guest $guest status $?"
	done
}
linux() {
	/bin/ruse run --engine kvm --board pc --cpus 2 --kernel /vmlinuz --initrd /initrd --no-reboot \
		--append 'console=ttyS0 quiet panic=-1' -- \
		sh -c 'echo "processors $(nproc)"; grep -c uncachable /proc/mtrr; dmesg | grep WARNING; exit 42' </dev/null 2>&1
	echo "nested status $?"
}
# A kernel whose init restarts the machine, until the second time.
restarts() {
	/bin/ruse run --engine kvm --kernel /vmlinuz --initrd /initrd \
		--append 'console=ttyS0 quiet rdinit=/bin/busybox -- reboot -f' </dev/null >/tmp/restarts 2>&1 &
	wait_for 2 'Restarting system' /tmp/restarts
	kill $!
	echo "restarts $($b grep -c -m 2 'Restarting system' /tmp/restarts)"
}
sector() {
	/bin/ruse run --engine kvm --board pc --firmware seabios --disk /sector.img --no-reboot </dev/null 2>&1
	echo "sector status $?"
}
grub() {
	$b mkfifo /tmp/in
	/bin/ruse run --engine kvm --board pc --firmware seabios --disk /grub.img,ro --memory 256M --no-reboot </tmp/in >/tmp/out 2>&1 &
	exec 3>/tmp/in
	wait_for 1 'guest:~# ' /tmp/out
	# The shell prints its prompt first and sets its terminal then: what comes in between is lost. So it is told until it has heard.
	times=0
	until $b grep -q '^by=grub' /tmp/out || [ $times -ge 50 ]; do
		echo 'dmesg | grep WARNING; grep -o "by=.*" /proc/cmdline; poweroff -f' >&3
		$b sleep 10
		times=$((times + 1))
	done
	wait $!
	echo "grub status $?"
	$b cat /tmp/out
	echo
}
while echo alive >/dev/ttyS1; do $b sleep 2; done &
$($b cat /part)
$b dmesg | $b grep kvm
$b poweroff -f
INIT
chmod 755 "$stage/init"
echo "$part" >"$stage/part"
(cd "$stage" && find . -mindepth 1 -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$work/outer"

# Without XSAVE: there XSETBV does not leave the nested guest, so KVM's CPUID leaf 0xd does not follow XCR0.
# The outer guest says by its second serial port that it is alive. Now and then all of it stops, its processor idle for good: that is
# QEMU's affair, and tried again. If it is alive and ruse does not come to its end, that is a failure.
start_qemu() {
	: >"$work/beat"
	timeout 1000 "$qemu" -accel tcg -cpu max,+svm,+npt,-xsave -M q35 -m 2G -display none -serial stdio -serial "file:$work/beat" -monitor none \
		-no-reboot -kernel "$kernel" -initrd "$work/outer" -append 'console=ttyS0 panic=-1 quiet' </dev/null >"$work/out" 2>&1 &
	running=$!
}
for try in 1 2 3; do
	start_qemu
	silent=0 heard=0
	while kill -0 $running 2>/dev/null && [ $silent -lt 180 ]; do
		sleep 1
		size=$(stat -c %s "$work/beat")
		silent=$((size == heard ? silent + 1 : 0)) heard=$size
	done
	[ $silent -lt 180 ] && break
	kill $running
	echo "QEMU's guest has been silent for three minutes (try $try)"
done
wait $running
tr -d '\r' <"$work/out" >"$work/text"
cat "$work/text"
grep -q 'no-module' "$work/text" && skip "this QEMU's virtual AMD-V is not enough for kvm-amd"

failed=0
expect() {
	grep -qx -- "$1" "$work/text" || { echo "FAIL: no line '$1'"; failed=1; }
}
case $part in
guests)
	for file; do
		expect "guest /guests/${file##*/} status 1"
	done
	;;
linux)
	expect 'processors 2'
	expect 'nested status 42'
	expect 1 # of /proc/mtrr
	;;
restarts) expect 'restarts 2' ;;
sector)
	expect 'boot sector: power off'
	expect 'sector status 0'
	;;
grub)
	expect 'by=grub'
	expect 'grub status 0'
	;;
esac
grep -q 'WARNING: ' "$work/text" && { echo 'FAIL: the nested kernel warns'; failed=1; }
exit $failed
