#!/usr/bin/env python3
"""Tests of what ./bench computes and writes, and of the guests that need no kernel. Measures nothing.

usage: test_bench.py SOURCE_ROOT RUSE
"""
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

TOP, RUSE = (Path(sys.argv.pop(1)).resolve() for _ in range(2))
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / "benchmarks"))

import guest  # noqa: E402
import machines  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402

HOST = {"date": "2026-01-01 00:00 UTC", "processor": "A & B <C>", "processors": 2, "host_kernel": "6.1",
        "guest_kernel": "6.1", "ruse": "ruse 1", "qemu": "QEMU 7", "rounds": 3, "busy_with_other_work": 0.0,
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
        self.assertAlmostEqual(report.better(groups["programs"]["integer"], "native", "ruse interp"), 305 / 11)
        self.assertEqual(report.better(groups["devices"]["disk-read"], "ruse interp", "QEMU TCG q35"), 2)
        self.assertEqual(report.better(groups["machine"]["init"], "ruse interp", "QEMU TCG q35"), 0.5)
        self.assertEqual(report.better(groups["machine"]["loop"], "ruse interp", "QEMU TCG q35"), 0.5)
        self.assertIsNone(report.better(groups["machine"]["loop"], "ruse interp", "QEMU TCG microvm"))

    def test_our_own_work_is_not_others(self):
        others = measure.OthersWork()
        begin = others.begin
        others.times = lambda: (begin[0] + 10, begin[1] + 4, begin[2] + 5)
        self.assertAlmostEqual(others.share(), 0.1)

    def test_silent_suite_is_an_error(self):
        with self.assertRaises(machines.BenchError):
            measure.Series().add_output("ruse interp", "suite: fork: Out of memory\n")

    def test_numbers(self):
        self.assertEqual([report.number(value) for value in (0, 0.01234, 1.234, 12.34, 1234.5)],
                         ["0", "0.0123", "1.23", "12.3", "1234"])
        self.assertEqual([report.with_unit(value, "ns") for value in (9.5, 9500, 9.5e6, 9.5e9)],
                         ["9.50 ns", "9.50 µs", "9.50 ms", "9.50 s"])


class Results(unittest.TestCase):
    def test_files(self):
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            report.write(directory, HOST, series())
            self.assertEqual(sorted(path.name for path in directory.iterdir()),
                             ["bench.svg", "devices.json", "host.json", "machine.json", "programs.json", "table.md"])
            table = (directory / "table.md").read_text()
            self.assertIn("| integer arithmetic | 11.0 ns | 305 ns (27.7x) | 100 ns (9.09x) | 0.328x | 727% |", table)
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
            _, bare = guest.build_programs(TOP, Path(name), 10)
            self.assertGreater(machines.run_bare(machine, bare["exit"]), 0)
            self.assertGreater(machines.run_bare(machine, bare["loop"]), 0)
            self.assertGreater(machines.first_instruction(machine, bare["exit"]), 0)
            memory = machines.bare_memory(machine, bare["spin"])
            self.assertGreater(memory.guest, 0)
            self.assertGreater(memory.beside, 0)
            with self.assertRaises(machines.BenchError):
                machines.run_bare(machine, Path(name) / "nothing")

    def test_programs_run_on_the_host(self):
        with tempfile.TemporaryDirectory() as name:
            work = Path(name)
            suite, bare = guest.build_programs(TOP, work, 10)
            (work / "disk").write_bytes(bytes(measure.DISK_MIB << 20))
            output = subprocess.run([suite, "--time", "1", "--disk", work / "disk"], capture_output=True, text=True,
                                    check=True).stdout
            result = measure.Series()
            result.add_output("native", output)
            self.assertEqual(sorted(bare), ["exit", "loop", "spin"])
        for group in ("programs", "devices"):
            for figure, entry in result.groups[group].items():
                self.assertIn(figure, report.TITLES)
                self.assertGreater(entry["values"]["native"][0], 0)
        self.assertEqual(len(result.groups["programs"]), 10)


if __name__ == "__main__":
    unittest.main()
