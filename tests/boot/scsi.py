"""Debian's kernel and disks behind the virtio SCSI adapter: found, named, read, written, discarded, on both boards.

usage: scsi.py RUSE SOURCE_ROOT [ENGINE]
"""
import hashlib
import os
import random
import sys

from guest import Guest

LOOK = """
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/sda ] && [ -e /dev/sdb ] && break; sleep 0.1; done
cat /sys/block/sda/device/vendor /sys/block/sda/device/model | tr -d ' \\n'; echo
cat /sys/block/sda/size /sys/block/sdb/size /sys/block/sdb/ro /sys/block/sda/queue/physical_block_size | tr '\\n' ' '; echo
cat /sys/block/sda/queue/write_cache
tail -c +5 /sys/block/sda/device/vpd_pg80; echo
sha256sum </dev/sda
sha256sum </dev/sdb
dd if=/dev/sdb of=/dev/sda bs=1M seek=2 conv=notrunc,fsync 2>/dev/null; echo $?
dd if=/dev/zero of=/dev/sdb bs=512 count=1 2>/dev/null; echo $?
[ "$(cat /sys/block/sda/queue/discard_max_bytes)" != 0 ]; echo $?
blkdiscard -o 4194304 -l 1048576 /dev/sda; echo $?
sha256sum </dev/vda
ls -d /sys/block/sd? | wc -l
dmesg -r | sed -n 's/^<[0-3]>//p' | grep -v 'RETBleed\\|Spectre\\|MDS\\|L1TF\\|PCI: Fatal' >&2
true
"""
MIB = 1 << 20


def sha256(data):
    return hashlib.sha256(data).hexdigest() + " -"


def check(guest, board):
    first, second, plain = (random.Random(seed).randbytes(size * MIB) for seed, size in ((1, 6), (2, 1), (3, 1)))
    paths = [guest.path(name) for name in ("first", "second", "plain")]
    for path, data in zip(paths, (first, second, plain)):
        with open(path, "wb") as f:
            f.write(data)
    # A disk of another kind in between: it is not numbered with them.
    done = guest.run("--board", board, "--disk", paths[0] + ",if=scsi,serial=the-serial", "--disk", paths[2], "--disk", paths[1] + ",ro,if=scsi",
                     command=["sh", "-c", LOOK])
    guest.expect("status", done.returncode, 0)
    guest.expect(board, [" ".join(line.split()) for line in done.stdout.decode().splitlines()],
                 ["RUSEDISK", f"{6 * MIB // 512} {MIB // 512} 1 4096", "write back", "the-serial", sha256(first), sha256(second),
                  "0", "1", "0", "0", sha256(plain), "2"])
    guest.expect("what the kernel complains of", done.stderr, b"")
    wanted = bytearray(first)
    wanted[2 * MIB:3 * MIB] = second
    wanted[4 * MIB:5 * MIB] = bytes(MIB)
    with open(paths[0], "rb") as f:
        guest.expect("the disk that was written", hashlib.sha256(f.read()).hexdigest(), hashlib.sha256(wanted).hexdigest())
    with open(paths[1], "rb") as f:
        guest.expect("the disk that was only read", f.read() == second, True)
    guest.expect("what was discarded takes no room", os.stat(paths[0]).st_blocks * 512 <= 5 * MIB + 65536, True)


def main():
    guest = Guest(sys.argv)
    for board in ("microvm", "pc"):
        check(guest, board)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
