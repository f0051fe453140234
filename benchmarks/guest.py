"""Builds what the guests run: the program suite, the bare guests, and archives behind the initramfs of ./run.

Example:
    guest, suite = build_guest(top, work)
"""
import os
import shlex
import subprocess
from pathlib import Path

from machines import INIT_MARK, BenchError, Guest

# Says that it is there, and goes on as ./run's guest does.
INIT = f"#!/bin/busybox sh\necho '{INIT_MARK}'\nexec /init\n"
BARE = {"exit": "EXIT", "spin": "SPIN"}
CFLAGS = ["-O2", "-std=gnu17", "-Wall", "-Wextra", "-fno-math-errno", "-static"]


def run(argv, what):
    result = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    if result.returncode:
        raise BenchError(f"{what} failed: {result.stderr.strip()[-500:]}")
    return result.stdout


def cpio_entry(name, mode, data):
    """newc, as Linux's Documentation/driver-api/early-userspace/buffer-format.rst has it."""
    encoded = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % value for value in fields) + encoded
    return header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)


def cpio(files):
    """files: name -> (mode, content). Directories have no content."""
    entries = [cpio_entry(name, mode, data) for name, (mode, data) in files.items()]
    return b"".join(entries) + cpio_entry("TRAILER!!!", 0, b"")


def join_archives(path, *archives):
    """Archives one behind the other, each at a multiple of four bytes."""
    with open(path, "wb") as out:
        for archive in archives:
            out.write(archive + bytes(-len(archive) % 4))
    return path


def build_programs(top, work, loops):
    programs = top / "benchmarks" / "programs"
    compiler = os.environ.get("CC", "gcc")
    suite = work / "suite"
    run([compiler, *CFLAGS, "-o", suite, *sorted(programs.glob("*.c")), "-lm"], "compiling the program suite")
    bare = {}
    for name, define in {**BARE, "loop": f"LOOP={loops}"}.items():
        bare[name] = work / f"bare-{name}"
        run([compiler, "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments",
             f"-Wl,-T,{top}/guests/lib/guest.ld", f"-D{define}", "-o", bare[name], programs / "bare.S"],
            "building a bare guest")
    return suite, bare


def build_guest(top, work, loops):
    suite, bare = build_programs(top, work, loops)
    kernel, initrd = (Path(line) for line in run([top / "guests" / "fetch.sh"], "fetching the guest").split("\n")[:2])
    base = initrd.read_bytes()
    ours = cpio({"bench": (0o040755, b""), "bench/init": (0o100755, INIT.encode()),
                 "bench/suite": (0o100755, suite.read_bytes())})

    def initrd_of(command):
        """With the command where ruse puts it (src/host/linux/command.c)."""
        line = f"set -- {shlex.join(command)}\n"
        archive = cpio({"etc": (0o040755, b""), "etc/ruse": (0o040755, b""),
                        "etc/ruse/command": (0o100644, line.encode())})
        return join_archives(work / "initrd-command", base, ours, archive)

    return Guest(kernel, join_archives(work / "initrd", base, ours), initrd_of, bare), suite
