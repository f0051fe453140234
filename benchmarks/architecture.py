"""What differs between the architectures of guests.

Example:
    arch = ARCHITECTURES["aarch64"]
    arch.compiler, arch.boards
"""
import os
from dataclasses import dataclass

QEMU_CPU = "cortex-a72"


@dataclass(frozen=True)
class Architecture:
    name: str
    # As Debian calls it.
    debian: str
    # Of the program suite, for the guest.
    compiler: str
    # Linux's serial port.
    console: str
    # QEMU's boards and what they take: the first does everything, the others are only started.
    boards: tuple
    # The groups there are (groups.py).
    groups: tuple
    # Are the bare guests (programs/bare.S) for it?
    bare: bool
    # Where recorded results are, in benchmarks/results.
    results: str


ARCHITECTURES = {
    "x86_64": Architecture(
        "x86_64", "amd64", os.environ.get("CC", "gcc"), "ttyS0", (("q35", ()), ("microvm", ())),
        ("programs", "devices", "pti", "boot", "bare", "blk", "net", "real", "smp", "idle"), True, ""),
    "aarch64": Architecture(
        "aarch64", "arm64", "aarch64-linux-gnu-gcc", "ttyAMA0", (("virt", ("-M", "gic-version=3", "-cpu", QEMU_CPU)),),
        ("programs", "devices", "boot", "blk", "net", "smp", "idle"), False, "aarch64"),
}
X86_64 = ARCHITECTURES["x86_64"]
