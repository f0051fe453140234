"""The groups of figures, and how each is measured in a round.

Example:
    bench = Bench(series, machines, guest, suite, disk, options, work, ...)
    for name in options.only:
        GROUPS[name](bench)
"""
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import namespace
import real
from figures import NATIVE
from machines import (END_MARK, LINUX_MEMORY_MIB, BenchError, Boot, Ruse, bare_memory, boot_to_init, first_instruction,
                      run_bare, run_linux)
from net import Peer
from process import processor_seconds, read_memory

BOOT_TRIES = 3
LOOP_ROUNDS, LOOP_LENGTH = 150_000_000, 4
PROMPT = "guest:~#"
SETTLE_SECONDS = 3
# A machine that is there to compare with, and takes longer for the real programs, does them once.
REAL_SECONDS = 60
TASKS = 2
STREAMS = (1, 8)


@dataclass
class Bench:
    series: object
    # Those that do everything, and those that are only started.
    machines: list
    boot_only: list
    native: bool
    guest: object
    suite: Path
    disk: Path
    peer: Peer
    options: object
    work: Path
    # Directory and image of the real programs, or None.
    tree: tuple = None
    # (machine, group) -> why it is not measured (again).
    given_up: dict = field(default_factory=dict)
    # Machines that are too slow for real programs, unless asked for.
    slow: list = field(default_factory=list)
    # (machine, group) -> how often it failed and was tried again.
    failures: dict = field(default_factory=dict)
    # Group -> how long all of its rounds took.
    seconds: dict = field(default_factory=dict)

    def each(self, group, machines, measure):
        """A machine that fails fails alone."""
        for machine in machines:
            if (machine.name, group) in self.given_up:
                continue
            try:
                measure(machine)
            except BenchError as error:
                self.given_up[machine.name, group] = str(error)


def suite_arguments(bench, groups):
    """What both groups that the suite measures need of it; a boot does for both."""
    tests = [] if "programs" in groups else ["--tests", "none"]
    return ["--time", str(bench.options.time), *tests]


def measure_suite(bench):
    chosen, peer = bench.options.only, bench.peer
    arguments, devices = suite_arguments(bench, chosen), "devices" in chosen
    ports = [str(peer.source_port), str(peer.sink_port)]
    if bench.native:
        extra = ["--disk", str(bench.disk), "--net", "127.0.0.1", *ports] if devices else []
        output = subprocess.run([bench.suite, *arguments, *extra], capture_output=True, text=True, check=True).stdout
        bench.series.add_output(NATIVE, output)

    def one(machine):
        extra = ["--disk", "/dev/vda", "--direct", "--net", "10.0.2.2", *ports] if devices else []
        command = ["/bench/suite", *arguments, *extra, "--end", END_MARK]
        memory = []
        look = {END_MARK: lambda process: memory.append(read_memory(process.pid, LINUX_MEMORY_MIB))}
        run = run_linux(machine, bench.guest, Boot(command, bench.disk, "user"), bench.work, look)
        bench.series.add_output(machine.name, run.output)
        if memory and memory[0]:
            bench.series.add("machine", "memory-linux", machine.name, memory[0].beside / 1024, "MiB")

    bench.each("programs", bench.machines, one)


def measure_pti(bench):
    """getppid in a guest with page-table isolation; natively without."""
    arguments = ["--time", str(bench.options.time), "--tests", "syscall"]
    if bench.native:
        output = subprocess.run([bench.suite, *arguments], capture_output=True, text=True, check=True).stdout
        bench.series.add_output(NATIVE, output.replace("syscall ", "syscall-pti "))

    def one(machine):
        boot = Boot(["/bench/suite", *arguments], append=" pti=on")
        run = run_linux(machine, bench.guest, boot, bench.work)
        bench.series.add_output(machine.name, run.output.replace("syscall ", "syscall-pti "))

    bench.each("pti", bench.machines, one)


def measure_start(bench):
    """From process start to the guest's init. QEMU's microvm has no clock but the PIT to calibrate by: on a busy host the
    guest's kernel fails in that, and hangs. Then it is tried again."""
    def once(machine, tb_cache):
        boot = Boot(["true"], bench.disk, "user", tb_cache=str(tb_cache))
        for left in reversed(range(BOOT_TRIES)):
            try:
                return boot_to_init(machine, bench.guest, boot, bench.work) / 1e6
            except BenchError:
                if not left:
                    raise
                bench.failures[machine.name, "boot"] = bench.failures.get((machine.name, "boot"), 0) + 1

    def one(machine):
        bench.series.add("machine", "init", machine.name, once(machine, "none"), "ms")
        if getattr(machine, "keeps_translations", False):
            kept = bench.work / f"translations-{machine.engine}"
            if not kept.exists():
                kept.mkdir()
                # To its end: that is when they may be written.
                run_linux(machine, bench.guest, Boot(["true"], bench.disk, "user", tb_cache=str(kept)), bench.work)
            bench.series.add("machine", "init-warm", machine.name, once(machine, kept), "ms")

    bench.each("boot", bench.machines + bench.boot_only, one)


def measure_bare(bench):
    def one(machine):
        images, add = bench.guest.bare, bench.series.add
        first = run_bare(machine, images["exit"])
        add("machine", "start", machine.name, first / 1e6, "ms")
        if isinstance(machine, Ruse):
            add("machine", "first", machine.name, first_instruction(machine, images["exit"]), "ms")
        add("machine", "memory", machine.name, bare_memory(machine, images["spin"]).beside / 1024, "MiB")
        loop = max(1, run_bare(machine, images["loop"]) - first)
        add("machine", "loop", machine.name, LOOP_ROUNDS * LOOP_LENGTH / loop * 1e3, "MIPS")

    bench.each("bare", bench.machines + bench.boot_only, one)


def measure_real(bench):
    if not bench.tree:
        return
    directory, image = bench.tree
    seconds = bench.options.seconds

    def add(name, figures):
        for figure, value, unit in figures:
            bench.series.add("real", figure, name, value, unit)

    if bench.native and (NATIVE, "real") not in bench.given_up:
        try:
            add(NATIVE, real.measure_native(bench.suite, directory, seconds))
        except (BenchError, OSError, subprocess.TimeoutExpired) as error:
            bench.given_up[NATIVE, "real"] = str(error)

    def one(machine):
        begin = time.monotonic()
        add(machine.name, real.measure_guest(machine, bench.guest, image, seconds, bench.work))
        taken = time.monotonic() - begin
        if taken > REAL_SECONDS and machine.name != "ruse dbt":
            bench.given_up[machine.name, "real"] = f"once only: it takes {taken:.0f} s"

    bench.each("real", [machine for machine in bench.machines if machine not in bench.slow], one)


def measure_tasks(bench):
    """Two tasks on one processor, and on two."""
    arguments = ["--tasks", str(TASKS), "--time", str(bench.options.time * 3)]
    host = sorted(os.sched_getaffinity(0))
    if len(host) < 2:
        bench.given_up["all", "smp"] = "this host has one processor"
        return
    for cpus in (1, TASKS):
        if bench.native:
            # Inherited; our own again afterwards.
            os.sched_setaffinity(0, host[:cpus])
            try:
                output = subprocess.run([bench.suite, *arguments], capture_output=True, text=True, check=True).stdout
            finally:
                os.sched_setaffinity(0, host)
            bench.series.add_tasks(NATIVE, cpus, output)

        def one(machine, cpus=cpus):
            run = run_linux(machine, bench.guest, Boot(["/bench/suite", *arguments], cpus=cpus), bench.work)
            bench.series.add_tasks(machine.name, cpus, run.output)

        bench.each("smp", bench.machines, one)


def measure_idle(bench):
    """Linux at its shell, with nothing to do."""
    def one(machine):
        found = {}

        def look(process):
            time.sleep(SETTLE_SECONDS)
            before, begin = processor_seconds(process.pid), time.monotonic()
            time.sleep(bench.options.idle_seconds)
            found["idle"] = (processor_seconds(process.pid) - before) / (time.monotonic() - begin) * 100
            found["memory"] = read_memory(process.pid, LINUX_MEMORY_MIB)
            return True

        run_linux(machine, bench.guest, Boot(disk=bench.disk, net="user"), bench.work, {PROMPT: look})
        if not found.get("memory"):
            raise BenchError(f"{machine.name}: its memory can't be read, or the guest's shell did not start")
        bench.series.add("machine", "idle", machine.name, found["idle"], "%")
        bench.series.add("machine", "memory-shell", machine.name, found["memory"].beside / 1024, "MiB")
        bench.series.add("machine", "page-tables", machine.name, found["memory"].page_tables / 1024, "MiB")

    bench.each("idle", [machine for machine in bench.machines if machine not in bench.slow], one)


def add_lines(bench, group, prefix, machine, output):
    """The program suite's lines, as figures of their own names."""
    found = [line.split() for line in output.splitlines() if line.split()[2:] in (["op/s"], ["MB/s"])]
    if not found:
        raise BenchError(f"{machine}: the program suite said nothing: {output.strip()[-500:]}")
    for name, value, unit in found:
        bench.series.add(group, f"{prefix}-{name}", machine, float(value), unit)


def measure_blk(bench):
    """A raw and a qcow2 image; the host has the raw one for both."""
    arguments = ["--tests", "none", "--time", str(bench.options.time), "--blk"]
    images = {"raw": bench.disk, "qcow2": bench.work / "disk.qcow2"}
    if not images["qcow2"].exists():
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", bench.disk, images["qcow2"]], check=True)
    for kind, image in images.items():
        prefix = f"blk-{kind}"
        if bench.native:
            output = subprocess.run([bench.suite, *arguments, bench.disk], capture_output=True, text=True, check=True).stdout
            add_lines(bench, "blk", prefix, NATIVE, output)

        def one(machine, image=image, prefix=prefix):
            run = run_linux(machine, bench.guest, Boot(["/bench/suite", "--direct", *arguments, "/dev/vda"], image), bench.work)
            add_lines(bench, "blk", prefix, machine.name, run.output)

        bench.each("blk", bench.machines, one)


def stream_commands(bench, address, ports):
    return [["--tests", "none", "--time", str(bench.options.time), "--streams", str(count), address, *map(str, ports)] for count in STREAMS]


def measure_streams(bench, prefix, address, ports, boot_of):
    """boot_of: a guest that runs a line of shell."""
    if bench.native:
        for command in stream_commands(bench, "127.0.0.1", (bench.peer.source_port, bench.peer.sink_port)):
            output = subprocess.run([bench.suite, *command], capture_output=True, text=True, check=True).stdout
            add_lines(bench, "net", prefix, NATIVE, output)

    def one(machine):
        line = " && ".join(" ".join(["/bench/suite", *command]) for command in stream_commands(bench, address, ports))
        run = run_linux(machine, bench.guest, boot_of(line), bench.work)
        add_lines(bench, "net", prefix, machine.name, run.output)

    bench.each(prefix, bench.machines, one)


def measure_net(bench):
    """One connection, and several, through NAT and through a tap."""
    measure_streams(bench, "net-user", "10.0.2.2", (bench.peer.source_port, bench.peer.sink_port),
                    lambda line: Boot(["sh", "-c", line], net="user"))
    if ("all", "net-tap") in bench.given_up:
        return
    try:
        with namespace.Namespace() as inside:
            address = f"ip addr add {namespace.GUEST}/24 dev eth0; ip link set eth0 up; "
            measure_streams(bench, "net-tap", namespace.HOST, (inside.source_port, inside.sink_port),
                            lambda line: Boot(["sh", "-c", address + line], net=namespace.TAP, enter=inside.enter))
    except BenchError as error:
        bench.given_up["all", "net-tap"] = str(error)


# In the order in which they are measured; programs and devices are one run.
GROUPS = {"programs": measure_suite, "devices": measure_suite, "pti": measure_pti, "boot": measure_start,
          "bare": measure_bare, "blk": measure_blk, "net": measure_net, "real": measure_real, "smp": measure_tasks, "idle": measure_idle}


def measure_round(bench):
    # In the order above, each function once.
    chosen = {}
    for name in GROUPS:
        if name in bench.options.only:
            chosen.setdefault(GROUPS[name], name)
    for measure, name in chosen.items():
        begin = time.monotonic()
        measure(bench)
        bench.seconds[name] = bench.seconds.get(name, 0) + time.monotonic() - begin


def copy_image(image, work):
    """What the guests write to."""
    copy = work / "real.img"
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, copy], check=True)
    return copy

