"""What is measured, in which order; see README.md.

Rounds: everything is measured once a round, one after the other, so that what disturbs the host disturbs all alike;
each figure is the median of its rounds.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from guest import build_guest
from machines import BenchError, Qemu, Ruse, bare_memory, first_instruction, run_bare, run_linux
from net import Peer

NATIVE = "native"
DISK_MIB = 32
BOOT_TRIES = 3
LOOP_ROUNDS, LOOP_LENGTH = 150_000_000, 4
# A /dev/kvm that is slower has no hardware behind it: it interprets.
HARDWARE_PER_SECOND = 20e6


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Series:
    """group -> figure -> machine -> values, one a round."""

    def __init__(self):
        self.groups = {}

    def add(self, group, figure, machine, value, unit):
        entry = self.groups.setdefault(group, {}).setdefault(figure, {"unit": unit, "values": {}})
        entry["values"].setdefault(machine, []).append(value)

    def add_output(self, machine, output):
        """The program suite's lines: NAME VALUE UNIT."""
        found = 0
        for line in output.splitlines():
            words = line.split()
            if len(words) == 3 and words[2] in ("ns", "MB/s"):
                self.add("programs" if words[2] == "ns" else "devices", words[0], machine, float(words[1]), words[2])
                found += 1
        if not found:
            raise BenchError(f"{machine}: the program suite said nothing: {output.strip()[-500:]}")

    def medians(self):
        for figures in self.groups.values():
            for entry in figures.values():
                entry["median"] = {machine: statistics.median(values) for machine, values in entry["values"].items()}
        return self.groups


# ---- the host ----

class OthersWork:
    """The share of the host's processors that others use (or a host's host takes) since it was made."""

    def __init__(self):
        self.begin = self.times()

    @staticmethod
    def times():
        """Processor time in seconds: all, idle, ours with the children that were waited for."""
        fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        ticks = os.sysconf("SC_CLK_TCK")
        return sum(fields) / ticks, (fields[3] + fields[4]) / ticks, sum(os.times()[:4])

    def share(self):
        whole, idle, ours = (end - begin for begin, end in zip(self.begin, self.times()))
        return max(0.0, (whole - idle - ours) / whole) if whole > 0 else 0.0


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def first_line(argv):
    try:
        return subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "not there"


def describe_host(program, options, guest):
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": processor(),
        "processors": os.cpu_count(),
        "host_kernel": platform.release(),
        "guest_kernel": guest_version(guest.kernel),
        "ruse": first_line([program, "version"]),
        "qemu": first_line(["qemu-system-x86_64", "--version"]),
        "rounds": options.runs,
        "milliseconds_each": options.time,
    }


def guest_version(kernel):
    """A bzImage says its version where the header points (Linux's Documentation/arch/x86/boot.rst, kernel_version)."""
    image = Path(kernel).read_bytes()
    offset = int.from_bytes(image[0x20E:0x210], "little")
    return image[offset + 0x200:].split(b" ", 1)[0].decode(errors="replace") if offset else "unknown"


# ---- engines ----

def usable_engines(program):
    """Names of ruse's engines that are worth measuring, and remarks about the others."""
    engines = json.loads(subprocess.run([program, "engines", "--json"], capture_output=True, text=True,
                                        check=True).stdout)
    engines = engines["engines"] if isinstance(engines, dict) else engines
    names, remarks = [], []
    for engine in engines:
        speed = engine.get("instructions_per_second") or 0
        if not engine["works"]:
            remarks.append(f"{engine['name']} not measured: {engine.get('why', 'does not work here')}")
        elif speed < HARDWARE_PER_SECOND:
            remarks.append(f"{engine['name']} not measured: {speed / 1e6:.1f} million instructions a second show that "
                           "there is no hardware behind it here")
        else:
            names.append(engine["name"])
    return names, remarks


# ---- one round ----

def measure_native(series, suite, disk, peer, options):
    output = subprocess.run([suite, "--time", str(options.time), "--disk", disk,
                             "--net", "127.0.0.1", str(peer.source_port), str(peer.sink_port)],
                            capture_output=True, text=True, check=True).stdout
    series.add_output(NATIVE, output)


def measure_linux(series, machine, guest, disk, peer, options, work):
    command = ["/bench/suite", "--time", str(options.time), "--disk", "/dev/vda", "--direct",
               "--net", "10.0.2.2", str(peer.source_port), str(peer.sink_port), "--end", "bench: end"]
    run = run_linux(machine, guest, command, disk, True, work)
    series.add("machine", "init", machine.name, run.init_ns / 1e6, "ms")
    series.add_output(machine.name, run.output)
    if run.memory:
        series.add("machine", "memory-linux", machine.name, run.memory.beside / 1024, "MiB")


def measure_boot(series, machine, guest, disk, failures, work):
    """QEMU's microvm has no clock but the PIT to calibrate by: on a busy host the guest's kernel fails in that, and
    hangs. Then it is tried again."""
    for _ in range(BOOT_TRIES):
        try:
            run = run_linux(machine, guest, ["true"], disk, True, work, init_only=True)
        except BenchError:
            failures[machine.name] = failures.get(machine.name, 0) + 1
            continue
        series.add("machine", "init", machine.name, run.init_ns / 1e6, "ms")
        return


def measure_bare(series, machine, guest):
    first = run_bare(machine, guest.bare["exit"])
    series.add("machine", "start", machine.name, first / 1e6, "ms")
    if isinstance(machine, Ruse):
        series.add("machine", "first", machine.name, first_instruction(machine, guest.bare["exit"]), "ms")
    series.add("machine", "memory", machine.name, bare_memory(machine, guest.bare["spin"]).beside / 1024, "MiB")
    loop = run_bare(machine, guest.bare["loop"]) - first
    series.add("machine", "loop", machine.name, LOOP_ROUNDS * LOOP_LENGTH / loop * 1e3, "MIPS")


def measure_round(series, machines, boot_only, guest, suite, disk, peer, options, failures, work):
    measure_native(series, suite, disk, peer, options)
    for machine in machines:
        measure_linux(series, machine, guest, disk, peer, options, work)
        measure_bare(series, machine, guest)
    for machine in boot_only:
        measure_boot(series, machine, guest, disk, failures, work)
        measure_bare(series, machine, guest)


# ---- all ----

def parse(argv, top):
    parser = argparse.ArgumentParser(prog="bench", description="Measures ruse against the host and against QEMU's TCG.")
    parser.add_argument("--runs", type=int, help="rounds (default 5)")
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--ruse", type=Path, help="the program (default build/ruse, built if it is not there)")
    parser.add_argument("--results", type=Path, default=top / "benchmarks" / "results", help="where the results go")
    options = parser.parse_args(argv)
    options.runs = options.runs or (2 if options.quick else 5)
    options.time = 100 if options.quick else 300
    if options.runs < 1:
        parser.error("--runs needs at least 1")
    return options


def find_program(options, top):
    if options.ruse:
        if not os.access(options.ruse, os.X_OK):
            raise BenchError(f"{options.ruse} is not a program: give the path of ruse")
        return options.ruse.resolve()
    build = top / "build"
    for argv in ([] if (build / "build.ninja").exists() else [["meson", "setup", build, top]]) + [
            ["ninja", "-C", build, "ruse"]]:
        if subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode:
            raise BenchError(f"building failed: {' '.join(map(str, argv))}")
    return build / "ruse"


def measure(options, top, work):
    program = find_program(options, top)
    engines, remarks = usable_engines(program)
    machines, boot_only = [Ruse(program, engine) for engine in engines], []
    if shutil.which("qemu-system-x86_64"):
        machines.append(Qemu("q35"))
        boot_only.append(Qemu("microvm"))
    else:
        remarks.append("QEMU not measured: qemu-system-x86_64 is not installed (packages.txt)")
    say("building the programs and the guest")
    guest, suite = build_guest(top, work, LOOP_ROUNDS)
    disk = work / "disk.raw"
    disk.write_bytes(os.urandom(1 << 20) * DISK_MIB)
    series, others, failures = Series(), OthersWork(), {}
    with Peer() as peer:
        for number in range(options.runs):
            say(f"round {number + 1} of {options.runs}")
            measure_round(series, machines, boot_only, guest, suite, disk, peer, options, failures, work)
    host = describe_host(program, options, guest)
    host["busy_with_other_work"] = round(others.share(), 3)
    host["remarks"] = remarks + [f"{name} failed to reach the guest's init {count} times, and was tried again"
                                 for name, count in failures.items()]
    return host, series.medians()


def main(top):
    options = parse(sys.argv[1:], top)
    try:
        with tempfile.TemporaryDirectory(prefix="ruse-bench.") as work:
            host, groups = measure(options, top, Path(work))
        report.write(options.results, host, groups)
    except (BenchError, OSError, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    print((options.results / "table.md").read_text(), end="")
    return 0
