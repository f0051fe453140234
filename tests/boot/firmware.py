"""Debian's SeaBIOS on the board pc: its banner on the serial port and at the debug port, and a disk that it boots, whose boot
sector uses BIOS services (text, disk, memory map, clock) and powers the machine off. Then the same disk as a compressed
qcow2 image and as an overlay on that, with nothing else given: `ruse run DISK.qcow2`.

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


def boot_qcow2_alone(ruse, engine, raw, work):
    """What the disk holds, not its format, says which firmware it wants. How many failed."""
    base, overlay = os.path.join(work, "base.qcow2"), os.path.join(work, "overlay.qcow2")
    subprocess.run([ruse, "disk", "convert", "--compress", raw, base], check=True)
    subprocess.run([ruse, "disk", "create", overlay, "64M", "--backing", base], check=True)
    failed = 0
    for image in [base, overlay]:
        done = subprocess.run([ruse, "run", image, "--engine", engine, "--tb-cache", "none"], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=300)
        missing = [line for line in LINES if b"boot sector: " + line + b"\r\n" not in done.stdout]
        if missing or BANNER not in done.stdout or b"FAILED" in done.stdout or done.returncode != 0:
            print(f"FAIL: {image} alone: no {missing}, status {done.returncode}, {done.stdout!r} {done.stderr!r}")
            failed += 1
    return failed


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
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
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
        failed += boot_qcow2_alone(ruse, engine, image, work)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
