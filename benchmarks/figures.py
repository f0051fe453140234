"""What the figures are called, and how two of them compare.

A group is {figure: {"unit": ..., "values": {machine: [...]}, "median": {machine: ...}}}.

Example:
    better(groups["programs"]["integer"], "native", "ruse dbt")      1.3: natively it takes so much less
"""
import math

NATIVE = "native"
TITLES = {
    "integer": "integer arithmetic",
    "calls": "recursive calls (fibonacci(12))",
    "sort": "quicksort of 4096",
    "tree": "binary search tree of 4096",
    "double": "double floating point (48x48 matrices)",
    "libm": "libm: sin, cos, exp, log, pow, atan2",
    "hash": "hash of 64 KiB, by bytes",
    "copy": "memory copy of 1 MiB",
    "chase-l1": "pointer chase through 16 KiB",
    "chase-l3": "pointer chase through 16 MiB",
    "bytecode": "interpreter loop with indirect branches",
    "syscall": "system call (getppid)",
    "syscall-pti": "system call, guest with pti=on",
    "fork": "fork, exit, wait",
    "fault": "page fault",
    "pipe": "pipe round trip",
    "disk-write": "disk: write, 256 KiB blocks",
    "disk-read": "disk: read, 256 KiB blocks",
    "disk-4k-read": "disk: read, 4 KiB blocks at random",
    "disk-4k-write": "disk: write, 4 KiB blocks at random",
    "net-receive": "network: host to guest",
    "net-send": "network: guest to host",
    "blk-raw-randread-1": "raw: 4 KiB reads at random",
    "blk-raw-randread-32": "raw: 4 KiB reads at random, 32 at a time",
    "blk-raw-randwrite-1": "raw: 4 KiB writes at random",
    "blk-raw-randwrite-32": "raw: 4 KiB writes at random, 32 at a time",
    "blk-raw-read": "raw: read in order, 1 MiB blocks",
    "blk-raw-write": "raw: write in order, 1 MiB blocks",
    "blk-qcow2-randread-1": "qcow2: 4 KiB reads at random",
    "blk-qcow2-randread-32": "qcow2: 4 KiB reads at random, 32 at a time",
    "blk-qcow2-randwrite-1": "qcow2: 4 KiB writes at random",
    "blk-qcow2-randwrite-32": "qcow2: 4 KiB writes at random, 32 at a time",
    "blk-qcow2-read": "qcow2: read in order, 1 MiB blocks",
    "blk-qcow2-write": "qcow2: write in order, 1 MiB blocks",
    "net-user-receive-1": "user: host to guest, one connection",
    "net-user-send-1": "user: guest to host, one connection",
    "net-user-receive-8": "user: host to guest, eight",
    "net-user-send-8": "user: guest to host, eight",
    "net-tap-receive-1": "tap: host to guest, one connection",
    "net-tap-send-1": "tap: guest to host, one connection",
    "net-tap-receive-8": "tap: host to guest, eight",
    "net-tap-send-8": "tap: guest to host, eight",
    "init": "process start to the guest's init",
    "init-warm": "the same, translations kept from before",
    "start": "process start to exit of a one-instruction guest",
    "first": "process start to the first guest instruction",
    "memory": "memory beside the guest's, idle machine",
    "memory-linux": "memory beside the guest's, Linux after the suite",
    "memory-shell": "memory beside the guest's, Linux idle at its shell",
    "page-tables": "the host's page tables for that process",
    "idle": "processor time of an idle guest",
    "loop": "integer loop, million instructions a second",
    "tasks-1": "two independent tasks, one processor",
    "tasks-2": "two independent tasks, two processors",
    "openssl-sha256": "openssl speed sha256",
    "openssl-aes-gcm": "openssl speed aes-128-gcm",
    "openssl-rsa-sign": "openssl speed rsa2048, signing",
    "openssl-rsa-verify": "openssl speed rsa2048, verifying",
    "7z-compress": "7-Zip's benchmark, compressing",
    "7z-decompress": "7-Zip's benchmark, decompressing",
    "python-start": "python3: start",
    "python-loop": "python3: a loop",
    "gcc": "gcc -O2 of 3,000 lines",
    "sqlite": "sqlite3: 20,000 inserts",
    "python-start-first": "python3: start, first time",
    "python-loop-first": "python3: a loop, first time",
    "gcc-first": "gcc -O2 of 3,000 lines, first time",
    "sqlite-first": "sqlite3: 20,000 inserts, first time",
}
COMPUTE = ("integer", "calls", "sort", "tree", "double", "libm", "hash", "copy", "chase-l1", "chase-l3", "bytecode")
# Of these more is better.
RATES = ("MB/s", "MIPS", "op/s")


def title(figure):
    return TITLES.get(figure, figure)


def better(entry, machine, other):
    """How many times better machine is than other; None if one of them wasn't measured."""
    a, b = entry["median"].get(machine), entry["median"].get(other)
    if not a or not b:
        return None
    return a / b if entry["unit"] in RATES else b / a


def slowdown(groups, group, figure, machine, other=NATIVE):
    """How many times slower (or larger) machine is than the other; None if one of them wasn't measured."""
    entry = groups.get(group, {}).get(figure)
    return better(entry, other, machine) if entry else None


def median(groups, group, figure, machine):
    return groups.get(group, {}).get(figure, {"median": {}})["median"].get(machine)


def geometric_mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values))


def number(value):
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def with_unit(value, unit):
    if unit == "ns":
        for limit, name in ((1e3, "ns"), (1e6, "µs"), (1e9, "ms")):
            if value < limit:
                return f"{number(value / limit * 1e3)} {name}"
        return f"{number(value / 1e9)} s"
    return f"{number(value)}{'' if unit in ('%', 'x') else ' '}{unit}"


def machines_of(figures):
    names = []
    for entry in figures.values():
        names += [name for name in entry["median"] if name not in names]
    return names


def subject_of(names):
    """The machine that it is about: the translator if it was measured, else the first of ours."""
    ours = [name for name in names if name.startswith("ruse ")]
    return "ruse dbt" if "ruse dbt" in ours else ours[0] if ours else None
