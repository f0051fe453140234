"""A boot CD that stays in real mode (tests/boot/pc/real_mode.asm): SeaBIOS's services, of the CD and of a SATA disk among them, and
16-bit code. What it says, what it has written to the disk, and that a key reaches it.

usage: real_mode.py RUSE SOURCE_ROOT ENGINE
"""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

from guest import Talk, skip

SECTORS = 8192
CHECKS = ["serial port (INT 14h)", "equipment (INT 11h, 12h)", "screen (INT 10h)", "VBE", "memory map (INT 15h)", "memory sizes", "A20",
          "block move", "wait", "clock (INT 1Ah)", "PCI", "disk (INT 13h)", "disk read", "disk write", "end of the disk", "El Torito",
          "CD read", "keyboard (INT 16h)", "far calls", "decimal arithmetic", "timer's vector", "protected mode", "faults"]


def make(work, root):
    tree, boot = os.path.join(work, "tree"), os.path.join(work, "tree/boot.bin")
    cd, disk = os.path.join(work, "real.iso"), os.path.join(work, "disk.img")
    os.mkdir(tree)
    subprocess.run(["nasm", "-f", "bin", "-o", boot, os.path.join(root, "tests/boot/pc/real_mode.asm")], check=True)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-b", "boot.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "16",
                    "-o", cd, tree], check=True, capture_output=True)
    with open(disk, "wb") as f:
        for n in range(SECTORS):
            f.write(struct.pack("<I", n) + bytes([n * 7 & 0xff]) * 508)
        # It would start, and hang: the CD comes first.
        f.seek(4)
        f.write(b"\xeb\xfe")
        f.seek(510)
        f.write(b"\x55\xaa")
    return cd, disk


def main():
    ruse, root, engine = sys.argv[1:4]
    for tool in ["nasm", "xorriso"]:
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    if not os.path.exists("/usr/share/seabios/bios-256k.bin"):
        skip("no seabios")
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        cd, disk = make(work, root)
        with open(disk, "rb") as f:
            before = f.read()
        child = subprocess.Popen([ruse, "run", "--engine", engine, "--memory", "256M", "--no-reboot", "--tb-cache", "none", "--net",
                                  "none", cd, "--disk", disk + ",if=ahci"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        talk = Talk(child.stdout.fileno())
        try:
            said = talk.wait_for("press a key", timeout=300)
            os.write(child.stdin.fileno(), b"k")
            said += b"press a key" + talk.rest()
            status = child.wait(timeout=300)
        finally:
            child.kill()
        # Between a name and its result is what the screen shows meanwhile.
        results = re.findall(rb"(%s)(?:.{0,200}?)(holds|FAILS)\r" % b"|".join(re.escape(name.encode()) for name in CHECKS), said, re.DOTALL)
        for name in CHECKS:
            if (name.encode(), b"holds") not in results:
                print(f"FAIL: {name}")
                failed = 1
        if failed or status != 0 or len(results) != len(CHECKS) or b"written on the screen" not in said or b"all said" not in said:
            print(f"FAIL: status {status}, {said!r} {child.stderr.read()!r}")
            failed = 1
        with open(disk, "rb") as f:
            after = f.read()
        new = bytearray(before)
        new[4 * 512:5 * 512] = b"\x57" * 512
        new[2000 * 512:2002 * 512] = b"\x57" * 1024
        if after != bytes(new):
            print("FAIL: the disk has sectors", [n for n in range(SECTORS) if after[n * 512:][:512] != new[n * 512:][:512]])
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
