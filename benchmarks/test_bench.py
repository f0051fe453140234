#!/usr/bin/env python3
"""Tests of what ./bench computes and writes, and of the guests that need no kernel. Measures nothing.

usage: test_bench.py SOURCE_ROOT RUSE
"""
import os
import subprocess
import sys
import tempfile
import types
import unittest
import xml.etree.ElementTree
from pathlib import Path

TOP, RUSE = (Path(sys.argv.pop(1)).resolve() for _ in range(2))
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / "benchmarks"))

import architecture  # noqa: E402
import figures  # noqa: E402
import groups  # noqa: E402
import guest  # noqa: E402
import machines  # noqa: E402
import measure  # noqa: E402
import net  # noqa: E402
import process  # noqa: E402
import real  # noqa: E402
import report  # noqa: E402
import targets  # noqa: E402
import tree  # noqa: E402

HOST = {"date": "2026-01-01 00:00 UTC", "processor": "A & B <C>", "processors": 2, "host_kernel": "6.1",
        "guests": "x86_64", "guest_kernel": "6.1", "ruse": "ruse 1", "qemu": "QEMU 7", "rounds": 3, "busy_with_other_work": 0.0,
        "remarks": ["kvm not measured: no"]}


def series():
    result = measure.Series()
    for native, interp, tcg in ((10, 300, 100), (11, 310, 90), (90, 305, 110)):
        result.add_output("native", f"integer {native} ns\ndisk-read 1000 MB/s\n")
        result.add_output("ruse interp", f"noise\ninteger {interp} ns\ndisk-read 100 MB/s\n")
        result.add_output("QEMU TCG q35", f"integer {tcg} ns\ndisk-read 50 MB/s\n")
        result.add("machine", "init", "ruse interp", 5000, "ms")
        result.add("machine", "init", "QEMU TCG q35", 2500, "ms")
        result.add("machine", "loop", "ruse interp", 700, "MIPS")
        result.add("machine", "loop", "QEMU TCG q35", 1400, "MIPS")
    return result.medians()


class Figures(unittest.TestCase):
    def test_medians(self):
        self.assertEqual(series()["programs"]["integer"]["median"],
                         {"native": 11, "ruse interp": 305, "QEMU TCG q35": 100})

    def test_better_is_above_one(self):
        groups = series()
        self.assertAlmostEqual(figures.better(groups["programs"]["integer"], "native", "ruse interp"), 305 / 11)
        self.assertEqual(figures.better(groups["devices"]["disk-read"], "ruse interp", "QEMU TCG q35"), 2)
        self.assertEqual(figures.better(groups["machine"]["init"], "ruse interp", "QEMU TCG q35"), 0.5)
        self.assertEqual(figures.better(groups["machine"]["loop"], "ruse interp", "QEMU TCG q35"), 0.5)
        self.assertIsNone(figures.better(groups["machine"]["loop"], "ruse interp", "QEMU TCG microvm"))

    def test_our_own_work_is_not_others(self):
        others = measure.OthersWork()
        begin = others.begin
        others.times = lambda: (begin[0] + 10, begin[1] + 4, begin[2] + 5)
        self.assertAlmostEqual(others.share(), 0.1)

    def test_silent_suite_is_an_error(self):
        with self.assertRaises(machines.BenchError):
            measure.Series().add_output("ruse interp", "suite: fork: Out of memory\n")

    def test_numbers(self):
        self.assertEqual([figures.number(value) for value in (0, 0.01234, 1.234, 12.34, 1234.5)],
                         ["0", "0.0123", "1.23", "12.3", "1234"])
        self.assertEqual([figures.with_unit(value, "ns") for value in (9.5, 9500, 9.5e6, 9.5e9)],
                         ["9.50 ns", "9.50 µs", "9.50 ms", "9.50 s"])


class Results(unittest.TestCase):
    def test_files(self):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            report.write(directory, HOST, series())
            self.assertEqual(sorted(path.name for path in directory.iterdir()),
                             ["bench.svg", "devices.json", "host.json", "machine.json", "programs.json", "table.md",
                              "targets.json"])
            table = (directory / "table.md").read_text()
            self.assertIn("| integer arithmetic | 11.0 ns | 305 ns (27.7x) | 100 ns (9.09x) | 27.7x | ≤ 2.5x | 0.328x | 727% |", table)
            self.assertNotIn("busy with other work", table)
            svg = xml.etree.ElementTree.parse(directory / "bench.svg")
            self.assertGreater(len(svg.findall(".//{http://www.w3.org/2000/svg}rect")), 8)

    def test_disagreement_is_said(self):
        self.assertNotIn("rounds disagree", report.text(HOST, series()))
        groups = {"programs": series()["programs"]}
        self.assertIn("rounds disagree by 727%", report.text(HOST, groups))

    def test_busy_host_is_said(self):
        self.assertIn("busy with other work: 40%", report.text({**HOST, "busy_with_other_work": 0.4}, series()))


class GuestFiles(unittest.TestCase):
    def test_archives_behind_each_other(self):
        archive = guest.cpio({"dir": (0o040755, b""), "dir/file": (0o100644, b"12345")})
        self.assertEqual(len(archive) % 4, 0)
        listed = subprocess.run(["cpio", "--quiet", "-itv"], input=archive, capture_output=True, check=True).stdout
        self.assertRegex(listed.decode(), r"-rw-r--r-- .* 5 .* dir/file")
        with tempfile.TemporaryDirectory() as name:
            joined = guest.join_archives(Path(name) / "joined", b"12345", archive).read_bytes()
        self.assertEqual(joined, b"12345\0\0\0" + archive)

    def test_bare_guests(self):
        machine = machines.Ruse(RUSE, "interp")
        with tempfile.TemporaryDirectory() as name:
            bare = guest.build_bare(TOP, Path(name), 10)
            self.assertGreater(machines.run_bare(machine, bare["exit"]), 0)
            self.assertGreater(machines.run_bare(machine, bare["loop"]), 0)
            self.assertGreater(machines.first_instruction(machine, bare["exit"]), 0)
            memory = machines.bare_memory(machine, bare["spin"])
            self.assertGreater(memory.guest, 0)
            self.assertGreater(memory.beside, 0)
            with self.assertRaises(machines.BenchError):
                machines.run_bare(machine, Path(name) / "nothing")

    def test_memory_of_every_engine(self):
        engines, _ = measure.usable_engines(RUSE)
        with tempfile.TemporaryDirectory() as name:
            bare = guest.build_bare(TOP, Path(name), 10)
            for engine in engines:
                memory = machines.bare_memory(machines.Ruse(RUSE, engine), bare["spin"])
                # A translator maps the guest's memory many times; it is the guest's each time.
                self.assertGreater(memory.guest, 0, engine)
                self.assertLess(memory.beside, 128 * 1024, engine)
                self.assertGreater(memory.page_tables, 0, engine)

    def test_programs_run_on_the_host(self):
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            suite = guest.build_suite(TOP, architecture.X86_64.compiler, work / "suite")
            (work / "disk").write_bytes(bytes(measure.DISK_MIB << 20))
            output = subprocess.run([suite, "--time", "1", "--disk", work / "disk"], capture_output=True, text=True,
                                    check=True).stdout
            result = measure.Series()
            result.add_output("native", output)
            bench = groups.Bench(measure.Series(), [], [], True, None, suite, work / "disk", None,
                                 types.SimpleNamespace(time=1), work)
            (work / "disk.qcow2").touch()
            groups.measure_blk(bench)
            with net.Peer() as bench.peer:
                groups.measure_streams(bench, "net-user", "", (), None)
        for group, count in ("blk", 12), ("net", 4):
            self.assertEqual(len(bench.series.groups[group]), count)
            for figure, entry in bench.series.groups[group].items():
                self.assertIn(figure, figures.TITLES)
                self.assertGreater(entry["values"]["native"][0], 0)
        for group in ("programs", "devices"):
            for figure, entry in result.groups[group].items():
                self.assertIn(figure, figures.TITLES)
                self.assertGreater(entry["values"]["native"][0], 0)
        self.assertEqual(set(result.groups["programs"]), {*figures.COMPUTE, "syscall", "fork", "fault", "pipe"})

    def test_parts_of_the_suite(self):
        def suite(*arguments, check=True):
            return subprocess.run([program, *arguments], capture_output=True, text=True, check=check)

        with tempfile.TemporaryDirectory() as name:
            program = guest.build_suite(TOP, architecture.X86_64.compiler, Path(name) / "suite")
            self.assertEqual([line.split()[0] for line in suite("--time", "1", "--tests", "hash,pipe").stdout.splitlines()],
                             ["hash", "pipe"])
            self.assertEqual(suite("--tests", "none").stdout, "")
            result = measure.Series()
            result.add_tasks("native", 2, suite("--tasks", "2", "--time", "50").stdout)
            self.assertGreater(result.groups["smp"]["tasks-2"]["values"]["native"][0], 0)
            said = suite("--clock", "nap", "3", "--", "sleep", "0.01").stdout.splitlines()
            self.assertEqual([line.split()[0] for line in said], ["nap-first", "nap"])
            self.assertGreater(float(said[1].split()[1]), 10e6)
            failed = suite("--clock", "no", "3", "--", "false", check=False)
            self.assertEqual((failed.returncode, failed.stderr), (1, "suite: false failed\n"))
            self.assertEqual(suite("--clock", "no", "3", check=False).returncode, 2)
            self.assertEqual(suite("--", "sh", "-c", "echo $HOME").stdout, "/tmp\n")


SMAPS = """\
7f0000000000-7f0020000000 rw-s 00000000 00:01 77                         /dev/zero (deleted)
Size:             524288 kB
Rss:               90000 kB
Pss:               50000 kB
Pss_Dirty:         50000 kB
VmFlags: rd wr
7f1000000000-7f1000100000 rw-s 00000000 00:01 77                         /dev/zero (deleted)
Size:               1024 kB
Rss:                1024 kB
Pss:                 512 kB
7f2000000000-7f2001000000 r-xs 00000000 00:01 78                         /memfd:ruse-dbt-code (deleted)
Size:              16384 kB
Rss:                8000 kB
Pss:                4000 kB
7f2001000000-7f2002000000 rw-s 00000000 00:01 78                         /memfd:ruse-dbt-code (deleted)
Size:              16384 kB
Rss:                8000 kB
Pss:                4000 kB
7f3000000000-7f3000100000 rw-p 00000000 00:00 0 
Size:               1024 kB
Rss:                 100 kB
Pss:                 100 kB
7f4000000000-7f4000200000 r-xp 00000000 fe:00 33                         /usr/lib/x86_64-linux-gnu/libc.so.6
Size:               2048 kB
Rss:                1000 kB
Pss:                  10 kB
"""


class MemoryBeside(unittest.TestCase):
    def test_guest_memory_mapped_many_times(self):
        memory = process.split_memory(process.parse_smaps(SMAPS), 512)
        self.assertEqual(memory.guest, 50512)
        # The code once, what is private, the library as if it were ours alone.
        self.assertEqual(memory.beside, 8000 + 100 + 1000)

    def test_private_guest_memory(self):
        text = SMAPS.replace("rw-s 00000000 00:01 77", "rw-p 00000000 00:00 0")
        memory = process.split_memory(process.parse_smaps(text), 512)
        self.assertEqual(memory.guest, 50000)
        self.assertEqual(memory.beside, 1024 + 8000 + 100 + 1000)

    def test_no_guest(self):
        self.assertIsNone(process.split_memory(process.parse_smaps(SMAPS), 128))

    def test_of_a_process(self):
        self.assertGreater(process.processor_seconds(os.getpid()), 0)
        self.assertIsNone(process.read_memory(os.getpid(), 12345))
        self.assertIsNone(process.read_memory(2**22 + 1, 128))


REAL_OUTPUT = """\
+DT:sha256:1:16384
+R:73659:sha256:1.010000
+F:25:sha256:1194880253.47
+F:25:AES-128-GCM:3316482048.00
+F2:2:2048:3808.000000:61107.000000
12:       6862    41  15005   6114  |      49142    41  13114   5316
----------------------------------  | ------------------------------
Avr:      6862    41  15005   6114  |      49142    41  13114   5316
Tot:              40   6957   2762
python-start-first 24000000 ns
python-start 12000000 ns
python-loop-first 12000000 ns
python-loop 12000000 ns
177041 278
gcc-first 2000000000 ns
gcc 1900000000 ns
sqlite-first 80000000 ns
sqlite 80000000 ns
"""


class RealPrograms(unittest.TestCase):
    def test_output(self):
        found = {name: (value, unit) for name, value, unit in real.parse_output("x", REAL_OUTPUT)}
        self.assertEqual(found["openssl-sha256"], (1194.88025347, "MB/s"))
        self.assertEqual(found["openssl-aes-gcm"], (3316.482048, "MB/s"))
        self.assertEqual(found["openssl-rsa-sign"], (3808, "op/s"))
        self.assertEqual(found["openssl-rsa-verify"], (61107, "op/s"))
        self.assertEqual(found["7z-compress"], (6.862, "MB/s"))
        self.assertEqual(found["7z-decompress"], (49.142, "MB/s"))
        self.assertEqual(found["gcc"], (1.9e9, "ns"))
        self.assertEqual(set(found) - set(figures.TITLES), set())
        self.assertEqual(real.FIGURES, set(targets.REAL))

    def test_what_is_missing_is_said(self):
        with self.assertRaisesRegex(machines.BenchError, "x: .* don't say gcc, sqlite"):
            real.parse_output("x", REAL_OUTPUT.replace("gcc ", "gcc: ").replace("sqlite ", "sqlite: "))

    def test_packages(self):
        text = ("NOTE: This is only a simulation!\nInst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64]) []\n"
                "Inst gcc (4:12.2.0-3 Debian:12.15/oldstable [amd64])\nConf gcc (4:12.2.0-3 Debian:12.15)\n")
        self.assertEqual(tree.parse_simulation(text), ["libc6=2.36-9+deb12u14", "gcc=4:12.2.0-3"])

    def test_no_packages_is_a_reason(self):
        options = types.SimpleNamespace(only=["real"])
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "apt-get").write_text("#!/bin/sh\necho 'no network' >&2\nexit 100\n")
            (Path(name) / "apt-get").chmod(0o755)
            before = {key: os.environ.get(key) for key in ("PATH", "RUSE_CACHE")}
            os.environ.update(PATH=f"{name}:{os.environ['PATH']}", RUSE_CACHE=name)
            try:
                found, remarks = measure.prepare_tree(options, TOP, Path(name), Path("/bin/true"))
            finally:
                for key, value in before.items():
                    os.environ.pop(key) if value is None else os.environ.update({key: value})
        self.assertIsNone(found)
        self.assertEqual(remarks, ["real programs not measured: finding Debian's packages failed: no network"])
        self.assertEqual(measure.prepare_tree(types.SimpleNamespace(only=["smp"]), TOP, None, None), (None, []))

    def test_what_they_work_on(self):
        source = tree.large_c()
        self.assertAlmostEqual(len(source.splitlines()), 3000, delta=50)
        self.assertEqual(tree.inserts_sql(50).count("INSERT"), 50)
        subprocess.run(["gcc", "-fsyntax-only", "-Wall", "-Werror", "-x", "c", "-"], input=source, text=True, check=True)
        subprocess.run([sys.executable, *sorted((TOP / "benchmarks" / "real").glob("*.py"))], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run(["sh", "-n", TOP / "benchmarks" / "real" / "work.sh"], check=True)

    def test_image(self):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name) / "tree"
            root.mkdir()
            (root / "file").write_text("here")
            tree.make_image(root, Path(name) / "image")
            listed = subprocess.run(["/sbin/debugfs", "-R", "cat file", Path(name) / "image"], capture_output=True,
                                    text=True, check=True).stdout
        self.assertEqual(listed, "here")


def entry(unit, **medians):
    names = {"native": "native", "dbt": "ruse dbt", "q35": "QEMU TCG q35", "microvm": "QEMU TCG microvm"}
    values = {names[key]: value for key, value in medians.items()}
    return {"unit": unit, "values": {name: [value] for name, value in values.items()}, "median": values}


class Targets(unittest.TestCase):
    def rows(self, groups, *machines_):
        return {row["title"]: row for row in targets.evaluate(groups, machines_ or ["ruse dbt", "QEMU TCG q35"])}

    def test_compute(self):
        programs = {figure: entry("ns", native=10, dbt=20) for figure in figures.COMPUTE}
        programs["hash"] = entry("ns", native=10, dbt=30)
        rows = self.rows({"programs": programs})
        self.assertAlmostEqual(rows["compute programs, geometric mean"]["values"]["ruse dbt"], (2**10 * 3) ** (1 / 11))
        self.assertAlmostEqual(rows["compute programs, the slowest"]["values"]["ruse dbt"], 3)
        self.assertFalse(rows["compute programs, the slowest"]["met"]["ruse dbt"])
        self.assertNotIn("QEMU TCG q35", rows["compute programs, the slowest"]["values"])
        # With one missing there is no mean.
        del programs["tree"]
        self.assertEqual(self.rows({"programs": programs}), {})

    def test_against_tcg(self):
        programs = {figure: {"unit": "ns", "median": {"native": 1, "ruse dbt": 3, "QEMU TCG virt": 10}} for figure in figures.COMPUTE}
        rows = {row["title"]: row for row in targets.evaluate({"programs": programs}, ["ruse dbt", "QEMU TCG virt"], "aarch64")}
        mean = rows["compute programs, geometric mean, against TCG"]
        self.assertAlmostEqual(mean["values"]["ruse dbt"], 0.3)
        self.assertEqual((list(mean["values"]), mean["met"]), (["ruse dbt"], {"ruse dbt": True}))
        native = rows["compute programs, geometric mean, against native"]
        self.assertEqual((native["limit"], native["met"]["ruse dbt"]), (None, None))
        self.assertFalse(rows["double floating point (48x48 matrices), against TCG"]["met"]["ruse dbt"])

    def test_rates_and_times(self):
        rows = self.rows({"real": {"openssl-sha256": entry("MB/s", native=1000, dbt=400),
                                   "gcc": entry("ns", native=2, dbt=3)}})
        self.assertEqual(rows["openssl speed sha256"]["values"]["ruse dbt"], 2.5)
        self.assertEqual(rows["openssl speed sha256"]["met"]["ruse dbt"], False)
        self.assertEqual(rows["gcc -O2 of 3,000 lines"]["met"]["ruse dbt"], True)

    def test_start_against_the_faster_tcg(self):
        rows = self.rows({"machine": {"init": entry("ms", dbt=900, q35=3600, microvm=2000),
                                      "init-warm": entry("ms", dbt=300)}})
        self.assertEqual(rows["process start to init, cold, against TCG"]["values"]["ruse dbt"], 0.45)
        self.assertFalse(rows["process start to init, cold, against TCG"]["met"]["ruse dbt"])
        self.assertEqual(rows["process start to init, warm, against TCG"]["values"], {"ruse dbt": 0.15})

    def test_more_is_better(self):
        groups_ = {"smp": {"tasks-1": entry("op/s", dbt=100, q35=50), "tasks-2": entry("op/s", dbt=190, q35=60)}}
        row = self.rows(groups_)["two processors against one, two tasks"]
        self.assertEqual(row["values"], {"ruse dbt": 1.9, "QEMU TCG q35": 1.2})
        self.assertEqual(row["met"], {"ruse dbt": True, "QEMU TCG q35": False})
        self.assertIn("| ≥ 1.80x | ≥ 1.95x | 1.90x | 1.20x | yes |", report.text(HOST, groups_))

    def test_nothing_used_is_a_value(self):
        groups_ = {"machine": {"idle": entry("%", dbt=0, q35=3)}}
        self.assertEqual(self.rows(groups_)["processor time of an idle guest"]["met"]["ruse dbt"], True)
        self.assertIn("| ≤ 1.00% | ≤ 0.200% | 0% | 3.00% | yes |", report.text(HOST, groups_))

    def test_in_the_chart(self):
        chart = report.chart(HOST, {"programs": {"syscall": entry("ns", native=100, dbt=150)}})
        self.assertIn('stroke="#c00"', chart)
        self.assertNotIn('stroke="#c00"', report.chart(HOST, {"devices": {"disk-read": entry("MB/s", native=9, dbt=3)}}))


class Scripted:
    """A machine whose guest is a shell script."""

    name = "scripted"

    def __init__(self, script):
        self.script = script

    def linux(self, _guest, _boot, console, files):
        return ["sh", "-c", self.script, "sh", console, files]


class Watching(unittest.TestCase):
    def run_script(self, script, **options):
        with tempfile.TemporaryDirectory() as name:
            return machines.run_linux(Scripted(script), None, machines.Boot(), Path(name), **options)

    def test_init_and_output(self):
        run = self.run_script("echo 'bench: init' >$1; echo said; echo port >$2.stdout; sleep 0.2")
        self.assertGreater(run.init_ns, 0)
        self.assertEqual(run.output, "said\nport\n")

    def test_a_mark_ends_it(self):
        seen = []
        self.run_script("echo 'bench: init' >$1; sleep 0.2; echo 'guest:~#' >$1; exec sleep 60",
                        marks={"guest:~#": lambda process_: seen.append(process_.pid) or True})
        self.assertEqual(len(seen), 1)

    def test_failures(self):
        with self.assertRaisesRegex(machines.BenchError, "init was not reached: .*oops"):
            self.run_script("echo oops")
        with self.assertRaisesRegex(machines.BenchError, "not done after 0.1 s"):
            self.run_script("exec sleep 60", limit=0.1)

    def test_one_that_fails_fails_alone_and_once(self):
        bench = groups.Bench(*[None] * 10)
        done = []

        def one(machine):
            if machine.name == "bad":
                raise machines.BenchError("no")
            done.append(machine.name)

        for _ in range(2):
            bench.each("smp", [types.SimpleNamespace(name=name) for name in ("bad", "good")], one)
        self.assertEqual(done, ["good", "good"])
        self.assertEqual(bench.given_up, {("bad", "smp"): "no"})


class Rounds(unittest.TestCase):
    def test_each_function_once_and_timed(self):
        done = []
        bench = groups.Bench(*[None] * 10)
        bench.options = types.SimpleNamespace(only=["idle", "devices", "programs", "smp"])
        before = dict(groups.GROUPS)
        try:
            for name in ("programs", "smp", "idle"):
                groups.GROUPS[name] = lambda _, name=name: done.append(name)
            groups.GROUPS["devices"] = groups.GROUPS["programs"]
            groups.measure_round(bench)
        finally:
            groups.GROUPS.update(before)
        self.assertEqual(done, ["programs", "smp", "idle"])
        self.assertEqual(list(bench.seconds), done)


class Options(unittest.TestCase):
    def test_defaults(self):
        options = measure.parse([], TOP)
        self.assertEqual((options.runs, options.only), (5, list(groups.GROUPS)))
        self.assertEqual(list(groups.GROUPS), list(options.arch.groups))
        self.assertEqual(options.results, TOP / "benchmarks" / "results")

    def test_a_part_is_not_recorded(self):
        self.assertIsNone(measure.parse(["--only", "smp,idle"], TOP).results)
        self.assertIsNone(measure.parse(["--machines", "dbt"], TOP).results)
        self.assertEqual(measure.parse(["--machines", "dbt", "--results", "/x"], TOP).results, Path("/x"))

    def test_other_guests(self):
        options = measure.parse(["--arch", "aarch64"], TOP)
        self.assertEqual(options.results, TOP / "benchmarks" / "results" / "aarch64")
        self.assertNotIn("bare", options.only)
        names = [machine.name for machine in measure.choose_machines(RUSE, options)[0]]
        self.assertEqual(names, ["ruse dbt", "ruse interp", "QEMU TCG virt"])
        argv = machines.Qemu("virt", options.arch).linux(machines.Guest("k", "i", None, {}), machines.Boot(), "c", "f")
        self.assertEqual(argv[0], "qemu-system-aarch64")
        self.assertIn("console=ttyAMA0", " ".join(map(str, argv)))

    def test_unknown_names(self):
        with open(os.devnull, "w", encoding="ascii") as sys.stderr:
            try:
                for argv in (["--only", "everything"], ["--machines", "bochs"], ["--runs", "0"], ["--arch", "aarch64", "--only", "pti"]):
                    with self.assertRaises(SystemExit):
                        measure.parse(argv, TOP)
            finally:
                sys.stderr = sys.__stderr__

    def test_machines(self):
        def choose(*argv):
            found, boot_only, slow, _ = measure.choose_machines(RUSE, measure.parse(list(argv), TOP))
            return [machine.name for machine in found + boot_only], [machine.name for machine in slow]

        self.assertEqual(choose("--machines", "native,interp"), (["ruse interp"], []))
        names, slow = choose()
        self.assertIn("ruse interp", names)
        self.assertEqual(slow, ["ruse interp"])

    def test_translations_are_kept_where_they_can_be(self):
        with tempfile.TemporaryDirectory() as name:
            program = Path(name) / "ruse"
            program.write_text("#!/bin/sh\necho '  --tb-cache DIR|none'\n")
            program.chmod(0o755)
            guest_ = machines.Guest(Path("k"), Path("i"), None, {})
            argv = machines.Ruse(program, "dbt").linux(guest_, machines.Boot(tb_cache="/there", cpus=2), "c", "f")
            self.assertIn("--tb-cache /there", " ".join(map(str, argv)))
            self.assertIn("--cpus 2", " ".join(map(str, argv)))
            self.assertFalse(machines.Ruse(program, "interp").keeps_translations)


if __name__ == "__main__":
    unittest.main()
