#!/bin/bash
# The kvm engine on virtual AMD-V: QEMU's TCG boots Debian with an emulated SVM and nested paging, and ruse boots Debian
# in that. So the kvm engine is tested on hosts whose own KVM is not there or not exact.
#
# usage: nested_kvm.sh RUSE SOURCE_ROOT GUEST.elf...
#
# Each GUEST.elf (guests/) must pass there, too. 77 (skipped) and the reason when something is missing.
set -u

ruse=$1 root=$2
shift 2
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
cat >"$stage/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in irqbypass kvm kvm-amd; do
	$b insmod /modules/$module.ko || echo "no-module $module"
done
for guest in /guests/*.elf; do
	[ -f "$guest" ] || continue
	$b timeout -s KILL 20 /bin/ruse run --engine kvm --kernel "$guest" --test-devices --no-reboot --memory 64M </dev/null 2>&1
	echo "guest $guest status $?"
done
/bin/ruse run --engine kvm --cpus 2 --kernel /vmlinuz --initrd /initrd --no-reboot \
	--append 'console=ttyS0 quiet panic=-1' -- \
	sh -c 'echo "processors $(nproc)"; dmesg | grep WARNING; exit 42' </dev/null 2>&1
echo "nested status $?"
# A kernel whose init restarts the machine, until the second time.
$b timeout -s KILL 25 /bin/ruse run --engine kvm --kernel /vmlinuz --initrd /initrd \
	--append 'console=ttyS0 quiet rdinit=/bin/busybox -- reboot -f' </dev/null 2>&1 |
	$b grep -m 2 'Restarting system' | $b wc -l | $b sed 's/^/restarts /'
$b dmesg | $b grep kvm
$b poweroff -f
INIT
chmod 755 "$stage/init"
(cd "$stage" && find . -mindepth 1 -print0 | cpio --null --create --format=newc --owner=0:0 --quiet) >"$work/outer"

# Without XSAVE: there XSETBV does not leave the nested guest, so KVM's CPUID leaf 0xd does not follow XCR0.
timeout 180 "$qemu" -accel tcg -cpu max,+svm,+npt,-xsave -M q35 -m 2G -display none -serial stdio -monitor none -no-reboot \
	-kernel "$kernel" -initrd "$work/outer" -append 'console=ttyS0 panic=-1 quiet' </dev/null >"$work/out" 2>&1
tr -d '\r' <"$work/out" >"$work/text"
cat "$work/text"
grep -q 'no-module' "$work/text" && skip "this QEMU's virtual AMD-V is not enough for kvm-amd"

failed=0
expect() {
	grep -qx -- "$1" "$work/text" || { echo "FAIL: no line '$1'"; failed=1; }
}
for file; do
	expect "guest /guests/${file##*/} status 1"
done
expect 'processors 2'
expect 'nested status 42'
expect 'restarts 2'
grep -q 'WARNING: ' "$work/text" && { echo 'FAIL: the nested kernel warns'; failed=1; }
exit $failed
