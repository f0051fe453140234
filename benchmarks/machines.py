"""The machines that are compared: how each is started, and waited for.

Example:
    machine = Ruse(Path("build/ruse"), "interp")
    run = run_linux(machine, guest, Boot(["/bench/suite"], disk=Path("disk.raw"), net="user"), work)
    run.init_ns, run.output
"""
import functools
import os
import re
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from architecture import X86_64
from process import read_memory

INIT_MARK = "bench: init"
END_MARK = "bench: end"
LINUX_MEMORY_MIB = 512
BARE_MEMORY_MIB = 128
# panic=-1: a guest that panics resets, and so ends.
APPEND = "quiet panic=-1 rdinit=/bench/init"
# What bare.S writes to isa-debug-exit, as that makes an exit status of it.
BARE_STATUS = 32 << 1 | 1
# Debian's kernel takes this long at most, on the slowest engine.
TIMEOUT = 120
# To its init, when only that is waited for.
INIT_TIMEOUT = 20


class BenchError(Exception):
    """Something that can't be measured, and why."""


@dataclass
class Guest:
    """Debian's kernel, an initramfs with our programs, and bare guests by name."""

    kernel: Path
    initrd: Path
    # The same, with the command in it that QEMU can't add.
    initrd_of: object
    bare: dict


@dataclass
class Boot:
    """What Debian's kernel is started with. No command: a shell on the serial port."""

    command: list = None
    # A name that ends in .qcow2 is what it says.
    disk: Path = None
    # "user", or a tap interface's name.
    net: str = None
    cpus: int = 1
    append: str = ""
    # Where translations are kept, for an engine that keeps them.
    tb_cache: str = "none"
    # What starts the machine where it is to run.
    enter: tuple = ()


@dataclass
class Run:
    init_ns: int = 0
    output: str = ""


def append(arch, boot):
    return f"console={arch.console} {APPEND}{boot.append}"


class Ruse:
    def __init__(self, program, engine, arch=X86_64):
        self.program, self.engine, self.arch = program, engine, arch
        self.name = f"ruse {engine}"

    @functools.cached_property
    def keeps_translations(self):
        if self.engine != "dbt" or self.arch is not X86_64:
            return False
        usage = subprocess.run([self.program, "run", "--help"], capture_output=True, text=True, check=False).stdout
        return "--tb-cache" in usage

    def linux(self, guest, boot, console, files):
        argv = [self.program, "run", "--engine", self.engine, "--memory", f"{LINUX_MEMORY_MIB}M", "--no-reboot"]
        argv += ["--kernel", guest.kernel, "--initrd", guest.initrd, "--append", append(self.arch, boot)]
        argv += ["--serial", f"file={console}", "--cpus", str(boot.cpus)]
        argv += ["--tb-cache", boot.tb_cache] if self.keeps_translations else []
        argv += ["--disk", boot.disk] if boot.disk else []
        argv += ["--net", boot.net if boot.net == "user" else f"tap={boot.net}"] if boot.net else []
        return argv + (["--", *boot.command] if boot.command else [])

    def bare(self, image):
        return [self.program, "run", "--engine", self.engine, "--memory", f"{BARE_MEMORY_MIB}M",
                "--kernel", image, "--test-devices", "--serial", "none"]


class Qemu:
    def __init__(self, board, arch=X86_64):
        self.board, self.arch = board, arch
        self.name = f"QEMU TCG {board}"

    def base(self, memory):
        return [f"qemu-system-{self.arch.name}", "-accel", "tcg", "-M", self.board, *dict(self.arch.boards)[self.board], "-m", str(memory),
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]

    def linux(self, guest, boot, console, files):
        """The same devices as ruse's, the command's ports too: the guest's init does the same."""
        bus = "device" if self.board == "microvm" else "pci"
        initrd = guest.initrd_of(boot.command) if boot.command else guest.initrd
        argv = self.base(LINUX_MEMORY_MIB) + ["-smp", str(boot.cpus)]
        argv += ["-kernel", guest.kernel, "-initrd", initrd, "-append", append(self.arch, boot)]
        argv += ["-serial", f"file:{console}", "-device", f"virtio-rng-{bus}", "-device", f"virtio-serial-{bus}"]
        argv += ["-chardev", "null,id=stdin", "-device", "virtserialport,chardev=stdin,name=ruse.stdin"]
        for port in ("stdout", "stderr", "status"):
            argv += ["-chardev", f"file,id={port},path={files}.{port}"]
            argv += ["-device", f"virtserialport,chardev={port},name=ruse.{port}"]
        if boot.disk:
            argv += ["-drive", f"file={boot.disk},if=none,id=disk,format={'qcow2' if boot.disk.suffix == '.qcow2' else 'raw'}"]
            argv += ["-device", f"virtio-blk-{bus},drive=disk"]
        if boot.net:
            backend = "user" if boot.net == "user" else f"tap,ifname={boot.net},script=no,downscript=no"
            argv += ["-netdev", f"{backend},id=net", "-device", f"virtio-net-{bus},netdev=net"]
        return argv

    def bare(self, image):
        return self.base(BARE_MEMORY_MIB) + ["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", image]


def arguments(argv):
    return [str(word) for word in argv]


def start(argv, out):
    return subprocess.Popen(arguments(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)


def stop(process):
    if process.poll() is None:
        process.kill()
    process.wait()


def watch(machine, process, serial, begin, argv, marks, limit):
    """Reads the serial port until the guest ends, or what is done at a mark says so (True)."""
    run, text, left = Run(), "", dict(marks)
    while process.poll() is None:
        if time.monotonic_ns() - begin > limit * 10**9:
            raise BenchError(f"{machine.name} is not done after {limit} s; its serial port: {text[-300:]}")
        if not select.select([serial], [], [], 0.05)[0]:
            continue
        text += os.read(serial, 65536).decode(errors="replace")
        if not run.init_ns and INIT_MARK in text:
            run.init_ns = time.monotonic_ns() - begin
        for mark in [mark for mark in left if mark in text]:
            if left.pop(mark)(process):
                return run, text
    return run, text


def run_linux(machine, guest, boot, directory, marks=None, limit=TIMEOUT):
    """Boots Debian's kernel. marks: text on its serial port -> what is then done with the process; True ends it."""
    console, files = directory / "console", directory / "guest"
    console.unlink(missing_ok=True)
    os.mkfifo(console)
    # Open for writing too: there is no end of file while nobody else has it open.
    serial = os.open(console, os.O_RDWR | os.O_NONBLOCK)
    argv = [*boot.enter, *machine.linux(guest, boot, console, files)]
    for port in ("stdout", "stderr"):
        Path(f"{files}.{port}").unlink(missing_ok=True)
    with open(directory / "output", "w+", encoding="utf-8", errors="replace") as out:
        begin = time.monotonic_ns()
        process = start(argv, out)
        try:
            run, text = watch(machine, process, serial, begin, argv, marks or {}, limit)
        finally:
            stop(process)
            os.close(serial)
        out.seek(0)
        run.output = out.read()
    for port in (Path(f"{files}.stdout"), Path(f"{files}.stderr")):
        run.output += port.read_text(errors="replace") if port.exists() else ""
    if not run.init_ns:
        raise BenchError(f"{machine.name}: the guest's init was not reached: {text[-300:]}{run.output[-300:]}")
    return run


def boot_to_init(machine, guest, boot, directory):
    """From process start to the guest's init, in ns; the guest is ended then."""
    return run_linux(machine, guest, boot, directory, {INIT_MARK: lambda process: True}, INIT_TIMEOUT).init_ns


def run_bare(machine, image):
    """Runs a bare guest to its end; how long that took in ns."""
    begin = time.monotonic_ns()
    process = start(machine.bare(image), subprocess.DEVNULL)
    try:
        process.wait(TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{machine.name} is not done after {TIMEOUT} s with {image}") from error
    finally:
        stop(process)
    taken = time.monotonic_ns() - begin
    if process.returncode != BARE_STATUS:
        raise BenchError(f"{machine.name} ended {image} with {process.returncode}")
    return taken


def first_instruction(machine, image):
    """From the start of the process to the first guest instruction in ms, as ruse itself says."""
    result = subprocess.run(arguments(machine.bare(image) + ["--stats"]), stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, timeout=TIMEOUT, check=False)
    found = re.search(r"^time to first instruction: ([0-9.]+) ms$", result.stderr, re.MULTILINE)
    if not found:
        raise BenchError(f"{machine.name} doesn't say when the first instruction was: {result.stderr[-300:]}")
    return float(found.group(1))


def bare_memory(machine, image):
    """The memory of a machine whose guest does nothing."""
    process = start(machine.bare(image), subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        memory = read_memory(process.pid, BARE_MEMORY_MIB)
    finally:
        stop(process)
    if not memory:
        raise BenchError(f"the memory of {machine.name} can't be read")
    return memory
