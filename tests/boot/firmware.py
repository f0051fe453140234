"""Debian's SeaBIOS on the board pc: its banner on the serial port and at the debug port, and a disk that it boots, whose boot
sector uses BIOS services (text, disk, memory map, clock) and powers the machine off.

usage: firmware.py RUSE SOURCE_ROOT ENGINE
"""
import os
import shutil
import subprocess
import sys
import tempfile

SEABIOS = "/usr/share/seabios/bios-256k.bin"
BANNER = b"SeaBIOS (version "
LINES = [b"running", b"second sector", b"memory map", b"timer ticks", b"power off"]


def main():
    ruse, root, engine = sys.argv[1:4]
    if not os.path.exists(SEABIOS) or not shutil.which("nasm"):
        print("SKIP: no seabios or no nasm")
        return 77
    failed = 0
    with tempfile.TemporaryDirectory() as work:
        image, log = os.path.join(work, "disk.img"), os.path.join(work, "log")
        subprocess.run(["nasm", "-f", "bin", "-o", image, os.path.join(root, "tests/boot/pc/boot_sector.asm")], check=True)
        for cpus in ["1", "2"]:
            done = subprocess.run([ruse, "run", "--board", "pc", "--firmware", "seabios", "--engine", engine, "--cpus", cpus,
                                   "--disk", image, "--firmware-log", "file=" + log, "--tb-cache", "none"],
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
            with open(log, "rb") as f:
                said = f.read()
            wanted = [(done.stdout, BANNER), (said, BANNER), (said, b"Found %s cpu(s)" % cpus.encode())]
            wanted += [(done.stdout, b"boot sector: " + line + b"\r\n") for line in LINES]
            for text, part in wanted:
                if part not in text:
                    print(f"FAIL: {cpus} cpus: no {part!r} in {text!r}")
                    failed = 1
            if done.returncode != 0 or b"FAILED" in done.stdout:
                print(f"FAIL: {cpus} cpus: status {done.returncode}, {done.stdout!r} {done.stderr!r}")
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
