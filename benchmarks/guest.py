"""Builds what the guests run: the program suite, the bare guests, and archives behind the initramfs of ./run.

Example:
    guest, suite = build_guest(top, work, loops)
"""
import shlex
import subprocess
from pathlib import Path

from architecture import X86_64
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


def build_suite(top, compiler, suite):
    programs = sorted((top / "benchmarks" / "programs").glob("*.c"))
    run([*shlex.split(compiler), *CFLAGS, "-o", suite, *programs, "-lm"], f"compiling the program suite by {compiler}")
    return suite


def build_bare(top, work, loops):
    programs = top / "benchmarks" / "programs"
    bare = {}
    for name, define in {**BARE, "loop": f"LOOP={loops}"}.items():
        bare[name] = work / f"bare-{name}"
        run([*shlex.split(X86_64.compiler), "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments",
             f"-Wl,-T,{top}/guests/lib/guest.ld", f"-D{define}", "-o", bare[name], programs / "bare.S"],
            "building a bare guest")
    return bare


def build_guest(top, work, loops, arch=X86_64):
    """The guest, and the suite for the host, which is the same file where both have one architecture."""
    suite = build_suite(top, X86_64.compiler, work / "suite")
    guest_suite = suite if arch is X86_64 else build_suite(top, arch.compiler, work / f"suite-{arch.name}")
    bare = build_bare(top, work, loops) if arch.bare else {}
    kernel, initrd = (Path(line) for line in run([top / "guests" / "fetch.sh", arch.debian], "fetching the guest").split("\n")[:2])
    base = initrd.read_bytes()
    ours = cpio({"bench": (0o040755, b""), "bench/init": (0o100755, INIT.encode()),
                 "bench/suite": (0o100755, guest_suite.read_bytes())})

    def initrd_of(command):
        """With the command where ruse puts it (src/host/linux/command.c)."""
        line = f"set -- {shlex.join(command)}\n"
        archive = cpio({"etc": (0o040755, b""), "etc/ruse": (0o040755, b""),
                        "etc/ruse/command": (0o100644, line.encode())})
        return join_archives(work / "initrd-command", base, ours, archive)

    return Guest(kernel, join_archives(work / "initrd", base, ours), initrd_of, bare), suite
