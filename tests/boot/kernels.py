"""Debian's kernel as a bzImage and, taken out of it, as an ELF file with and without its PVH note; with few and many processors,
from little memory to more than fits below 4 GiB.

usage: kernels.py RUSE SOURCE_ROOT [ENGINE]
"""
import re
import shutil
import struct
import subprocess
import sys

from guest import Guest, skip

# How the bzImage's payload begins, and what unpacks it.
PACKERS = {
    b"\x02\x21\x4c\x18": ["lz4", "-dc"],
    b"\x28\xb5\x2f\xfd": ["zstd", "-dc"],
    b"\xfd7zX": ["xz", "-dc"],
    b"\x1f\x8b": ["gzip", "-dc"],
    b"BZh": ["bzip2", "-dc"],
    b"\x7fELF": ["cat"],
}


def extract(bzimage):
    """The ELF file in a bzImage (Documentation/x86/boot.rst: payload_offset, payload_length)."""
    image = open(bzimage, "rb").read()
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1F1] or 4) + 1) * 512 + offset
    payload = image[start : start + length]
    packer = next((p for magic, p in PACKERS.items() if payload.startswith(magic)), None)
    if not packer:
        skip(f"the kernel is packed in a way that is not known here: {payload[:4].hex()}")
    if not shutil.which(packer[0]):
        skip(f"the kernel is packed by {packer[0]}, which is not installed")
    # The unpacked size follows the packed data; some tools complain about it.
    done = subprocess.run(packer, input=payload[: None if packer == ["cat"] else -4], capture_output=True)
    if not done.stdout.startswith(b"\x7fELF"):
        skip(f"{packer[0]} can't unpack the kernel: {done.stderr.decode().strip()}")
    return done.stdout




def without_notes(elf):
    """Without its last program header, the notes, it is a plain 64-bit ELF file."""
    headers = struct.unpack_from("<H", elf, 56)[0]
    return elf[:56] + struct.pack("<H", headers - 1) + elf[58:]


# Through a pipe and back: all that was unpacked is sound. Then what only the kernel knows of how it was started.
LOOK = r"""
nproc
cat /proc/sys/kernel/bootloader_type
sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
grep 'System RAM' /proc/iomem | tail -n 1
cat /proc/cmdline
head -c 20000000 /dev/zero >/tmp/zeros && md5sum </tmp/zeros
dmesg | grep -cE 'WARNING|BUG|Oops|Call Trace|clocksource.*unstable|not responding'
"""

MIB = 1 << 20
PVH_LOADER = 11  # Linux, arch/x86/platform/pvh/enlighten.c


def check(guest, kind, kernel, cpus, memory):
    name = f"{kind}, {cpus} processors, {memory} MiB"
    done = guest.run("--cpus", str(cpus), "--memory", f"{memory}M", kernel=kernel, command=["sh", "-c", LOOK])
    if done.returncode != 0 and done.returncode != 1:
        return guest.fail(f"{name}: status {done.returncode}, {done.stderr.decode()}")
    lines = done.stdout.decode().splitlines()
    if len(lines) != 7:
        return guest.fail(f"{name}: {done.stdout!r} {done.stderr!r}")
    guest.expect(f"{name}: processors", lines[0], str(cpus))
    guest.expect(f"{name}: started by PVH", int(lines[1]) >> 4 == PVH_LOADER, kind == "PVH")
    total = int(lines[2]) / 1024
    if not memory * 0.97 - 48 <= total <= memory:
        guest.fail(f"{name}: MemTotal is {total} MiB")
    last = int(re.match(r" *[0-9a-f]+-([0-9a-f]+)", lines[3]).group(1), 16) + 1
    if memory < 3072:
        guest.expect(f"{name}: end of memory", last, memory * MIB)
    elif not 4096 * MIB < last:
        guest.fail(f"{name}: memory ends at {last:#x}, none is above 4 GiB")
    guest.expect(f"{name}: command line", lines[4], "console=ttyS0 quiet panic=-1")
    guest.expect(f"{name}: 20 MB of zeros", lines[5].split()[0], "10e4462c9d0b08e7f0b304c4fbfeafa3")
    guest.expect(f"{name}: complaints of the kernel", lines[6], "0")


def main():
    guest = Guest(sys.argv)
    vmlinux, plain = guest.path("vmlinux"), guest.path("plain")
    elf = extract(guest.kernel)
    open(vmlinux, "wb").write(elf)
    open(plain, "wb").write(without_notes(elf))
    check(guest, "bzImage", guest.kernel, 1, 128)
    check(guest, "bzImage", guest.kernel, 4, 5120)
    check(guest, "PVH", vmlinux, 1, 4096)
    check(guest, "PVH", vmlinux, 4, 2048)
    check(guest, "ELF", plain, 1, 256)
    sys.exit(guest.failed)


main()
