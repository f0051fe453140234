"""./bench: options, the host, the machines, and rounds; groups.py has what is measured in one. See README.md.

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
import tree
from architecture import ARCHITECTURES
from figures import NATIVE
from groups import GROUPS, LOOP_ROUNDS, Bench, copy_image, measure_round
from guest import build_guest
from machines import BenchError, Qemu, Ruse
from net import Peer

DISK_MIB = 32
# The interpreter takes minutes for real programs: only if it is asked for.
SLOW_ENGINES = ("interp",)
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

    def add_tasks(self, machine, cpus, output):
        """`suite --tasks`: tasks RATE op/s."""
        for line in output.splitlines():
            words = line.split()
            if len(words) == 3 and words[0] == "tasks" and words[2] == "op/s":
                self.add("smp", f"tasks-{cpus}", machine, float(words[1]), words[2])
                return
        raise BenchError(f"{machine}: the tasks said nothing: {output.strip()[-500:]}")

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
        "guests": options.arch.name,
        "guest_kernel": guest_version(guest.kernel),
        "ruse": first_line([program, "version"]),
        "qemu": first_line([f"qemu-system-{options.arch.name}", "--version"]),
        "rounds": options.runs,
        "milliseconds_each": options.time,
    }


def guest_version(kernel):
    """A bzImage says its version where the header points (Linux's Documentation/arch/x86/boot.rst, kernel_version), an arm64 Image only in
    its banner."""
    image = Path(kernel).read_bytes()
    if image[0x38:0x3C] == b"ARM\x64":
        banner = image.find(b"Linux version ")
        return image[banner:banner + 100].split(b" ")[2].decode(errors="replace") if banner >= 0 else "unknown"
    offset = int.from_bytes(image[0x20E:0x210], "little")
    return image[offset + 0x200:].split(b" ", 1)[0].decode(errors="replace") if offset else "unknown"


# ---- engines ----

def usable_engines(program, guests="x86_64"):
    """Names of ruse's engines that are worth measuring, and remarks about the others."""
    engines = json.loads(subprocess.run([program, "engines", "--json"], capture_output=True, text=True,
                                        check=True).stdout)
    engines = engines["engines"] if isinstance(engines, dict) else engines
    names, remarks = [], []
    for engine in engines:
        speed = engine.get("instructions_per_second") or 0
        if engine["guests"] != guests:
            continue
        if not engine["works"]:
            remarks.append(f"{engine['name']} not measured: {engine.get('why', 'does not work here')}")
        elif speed < HARDWARE_PER_SECOND:
            remarks.append(f"{engine['name']} not measured: {speed / 1e6:.1f} million instructions a second show that "
                           "there is no hardware behind it here")
        else:
            names.append(engine["name"])
    return names, remarks


# ---- all ----

def names_of(known):
    def parse_names(text):
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no {unknown[0]}: {', '.join(known)}")
        return names
    return parse_names


def parse(argv, top):
    parser = argparse.ArgumentParser(prog="bench", description="Measures ruse against the host and against QEMU's TCG.")
    parser.add_argument("--runs", type=int, help="rounds (default 5)")
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--only", metavar="GROUP,...", type=names_of(list(GROUPS)),
                        help=f"these groups, of {', '.join(GROUPS)}")
    parser.add_argument("--machines", metavar="NAME,...", type=names_of([NATIVE, "qemu", "dbt", "interp", "kvm"]),
                        help="these machines, of native, qemu, and ruse's engines")
    parser.add_argument("--ruse", type=Path, help="the program (default build/ruse, built if it is not there)")
    parser.add_argument("--results", type=Path, help="where the results go (default benchmarks/results; nowhere with "
                        "--only or --machines)")
    parser.add_argument("--arch", choices=list(ARCHITECTURES), default="x86_64", help="the guests' architecture (default x86_64)")
    options = parser.parse_args(argv)
    options.arch = ARCHITECTURES[options.arch]
    for name in options.only or []:
        if name not in options.arch.groups:
            parser.error(f"{name} is not measured for {options.arch.name}: {', '.join(options.arch.groups)} are")
    if not options.results and not options.only and not options.machines:
        options.results = top / "benchmarks" / "results" / options.arch.results
    options.runs = options.runs if options.runs is not None else 2 if options.quick else 5
    options.only = options.only or list(options.arch.groups)
    options.time = 100 if options.quick else 300
    options.seconds = 1
    options.idle_seconds = 3 if options.quick else 10
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


def choose_machines(program, options):
    """Ours and QEMU's, those that are only started, ours that are slow, and remarks about others."""
    asked = options.machines or []
    arch = options.arch
    engines, remarks = usable_engines(program, arch.name)
    machines = [Ruse(program, engine, arch) for engine in engines if engine in asked or not asked]
    slow = [machine for machine in machines if machine.engine in SLOW_ENGINES and not asked]
    remarks += [f"{machine.name}: neither real programs nor the idle guest (--machines {machine.engine} measures them)"
                for machine in slow if {"real", "idle"} & set(options.only)]
    boot_only = []
    if "qemu" in asked or not asked:
        if shutil.which(f"qemu-system-{arch.name}"):
            boards = [Qemu(board, arch) for board, _ in arch.boards]
            machines, boot_only = machines + boards[:1], boards[1:]
        else:
            remarks.append(f"QEMU not measured: qemu-system-{arch.name} is not installed (packages.txt)")
    return machines, boot_only, slow, remarks


def prepare_tree(options, top, work, suite):
    """The real programs and the disk with them, or None and why not."""
    if "real" not in options.only:
        return None, []
    say("preparing the real programs")
    try:
        directory, image = tree.build_tree(top, tree.cache_directory(), suite)
        return (directory, copy_image(image, work)), []
    except (BenchError, OSError, subprocess.CalledProcessError) as error:
        return None, [f"real programs not measured: {error}"]


def measure(options, top, work):
    program = find_program(options, top)
    machines, boot_only, slow, remarks = choose_machines(program, options)
    native = not options.machines or NATIVE in options.machines
    say("building the programs and the guest")
    guest, suite = build_guest(top, work, LOOP_ROUNDS, options.arch)
    disk = work / "disk.raw"
    disk.write_bytes(os.urandom(1 << 20) * DISK_MIB)
    real_tree, why = prepare_tree(options, top, work, suite)
    series, others = Series(), OthersWork()
    with Peer() as peer:
        bench = Bench(series, machines, boot_only, native, guest, suite, disk, peer, options, work, real_tree, slow=slow)
        for number in range(options.runs):
            say(f"round {number + 1} of {options.runs}")
            measure_round(bench)
    host = describe_host(program, options, guest)
    host["busy_with_other_work"] = round(others.share(), 3)
    host["seconds"] = {name: round(seconds) for name, seconds in bench.seconds.items()}
    host["remarks"] = remarks + why + [f"{name}, {group}: {reason}" for (name, group), reason in bench.given_up.items()]
    host["remarks"] += [f"{name} failed to reach the guest's init {count} times, and was tried again"
                        for (name, _), count in bench.failures.items()]
    return host, series.medians()


def main(top):
    options = parse(sys.argv[1:], top)
    try:
        with tempfile.TemporaryDirectory(prefix="ruse-bench.") as work:
            host, groups = measure(options, top, Path(work))
        if not groups:
            raise BenchError("nothing was measured: " + "; ".join(host["remarks"]))
        if options.results:
            report.write(options.results, host, groups)
    except (BenchError, OSError, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    print(report.text(host, groups), end="")
    return 0
