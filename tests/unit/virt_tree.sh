#!/bin/sh
# The virt board's device tree as dtc sees it: nothing to warn of, and what must be in it.
#
# usage: virt_tree.sh TEST_VIRT
command -v dtc >/dev/null || { echo "dtc is not installed (device-tree-compiler)"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
"$1" tree >"$dir/tree" || exit 1
dtc -I dtb -O dts -o "$dir/dts" "$dir/tree" 2>"$dir/said" || { cat "$dir/said"; exit 1; }
if grep Warning "$dir/said"; then exit 1; fi
for line in 'bootargs = "console=ttyAMA0"' 'stdout-path = "/pl011@9000000"' 'linux,initrd-start = <0x00 0x40400000>' \
	'linux,initrd-end = <0x00 0x40400064>' 'memory@40000000' 'reg = <0x00 0x40000000 0x00 0x4000000>' 'method = "hvc"' \
	'cpu@101 {' 'reg = <0x101>' 'reg = <0x00 0x8000000 0x00 0x10000 0x00 0x80a0000 0x00 0x240000>' 'compatible = "arm,gic-v3"' 'msi-controller@8080000' 'pcie@3f000000' 'msi-map = <0x00 0x04 0x00 0x10000>' \
	'interrupts = <0x01 0x0d 0x04 0x01 0x0e 0x04 0x01 0x0b 0x04 0x01 0x0a 0x04>' 'virtio_mmio@a000600' \
	'interrupts = <0x00 0x13 0x01>' 'compatible = "qemu,fw-cfg-mmio"' 'gpios = <0x03 0x03 0x00>'; do
	grep -qF "$line" "$dir/dts" || { echo "not there: $line"; cat "$dir/dts"; exit 1; }
done
if grep -q virtio_mmio@a000800 "$dir/dts"; then echo "a device that isn't there"; exit 1; fi
