"""A 32-bit program under Debian's 64-bit kernel: it prints what its 64-bit form prints here.

usage: narrow.py RUSE SOURCE_ROOT [ENGINE]
"""
import os
import re
import subprocess
import sys

from guest import Guest, skip

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "narrow.c")
OPTIONS = ["-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-pic", "-no-pie", "-fno-stack-protector", "-fno-builtin",
           "-ffp-contract=off", "-msse2", "-mfpmath=sse"]


def build(guest, bits):
    program = guest.path(f"narrow{bits}")
    done = subprocess.run([os.environ.get("CC", "cc"), f"-m{bits}", *OPTIONS, SOURCE, "-o", program], capture_output=True, text=True)
    if done.returncode != 0:
        skip(f"the compiler makes no {bits}-bit programs: {done.stderr.strip().splitlines()[-1]}")
    return program


def main():
    guest = Guest(sys.argv)
    narrow = open(build(guest, 32), "rb").read()
    wanted = subprocess.run([build(guest, 64)], capture_output=True, text=True, check=True).stdout
    guest.expect("lines here", len(wanted.splitlines()), 5)
    for cpus in ["1"] if guest.engine == "interp" else ["1", "2"]:
        done = guest.run("--cpus", cpus, "--stats", command=["sh", "-c", "cat >/tmp/program; chmod +x /tmp/program; /tmp/program"],
                         stdin=narrow)
        guest.expect(f"{cpus} processors: status", done.returncode, 0)
        guest.expect(f"{cpus} processors: output", done.stdout.decode(), wanted)
        if guest.engine == "dbt":
            steps = re.search(r"left for interpreter: (\d+)", done.stderr.decode())
            if not steps or int(steps[1]) > 100000:
                guest.fail(f"not translated: {steps and steps[0]}")
    sys.exit(guest.failed)


main()
