#!/usr/bin/env python3
"""A guest of two processors that compiles, forks and runs JITs for as long as is asked, each round's results compared with those
of the same programs on the host; and what the host's process grows by meanwhile.

usage: soak.py RUSE SOURCE_ROOT [ENGINE] [SECONDS]      30 minutes of dbt if nothing else is said

    tests/soak/soak.py build/ruse . dbt 600       # see README.md

It wants luajit, tcc, gcc and node (those that the host has) and takes them along with their libraries in the guest's
initramfs. A line a minute says how far it is; the last one, how many rounds were made.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "boot"))
from guest import Guest, skip  # noqa: E402

PROGRAMS = ["luajit", "node", "gcc", "tcc"]
CPUS = 2
MEMORY = "768M"
APPEND = "console=ttyS0 quiet panic=-1"
# Rounds may take as long as this, and the process may grow by so much after the first ones: a processor's caches may take 192 MiB of
# code, 96 MiB of what is known of it and 32 MiB of records before they begin anew, of which the first rounds fill a part.
SILENCE = 240
GROWTH_KIB = CPUS * 160 * 1024
DESCRIPTORS = 4

# Each worker works in a directory of its own until the time is over.
GUEST = r"""
export LC_ALL=C
worker() {
	mkdir -p /tmp/$1
	while [ "$(cut -d . -f 1 /proc/uptime)" -lt $2 ]; do
		rm -rf /tmp/$1/*
		out=$(sh /soak/work.sh /tmp/$1)
		# At once: the other writes there too.
		echo "$(echo "$out" | tr '\n' '|')" | sed "s/^/round $1 /"
	done
}
for n in $(seq $2); do
	worker $n $1 &
done
wait
echo over
"""


def libraries(path):
    """The shared libraries of a program, and its loader."""
    out = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    return set(re.findall(r"(/\S+) \(0x", out))


def files():
    """What goes into the guest: paths on the host, the same there."""
    wanted = set()
    for name in PROGRAMS:
        path = shutil.which(name)
        if not path:
            print(f"no {name} on this host: the guest runs none", flush=True)
            continue
        wanted.add(path)
    if "gcc" in (os.path.basename(path) for path in wanted):
        for part in ("cc1", "as"):
            wanted.add(subprocess.run(["gcc", f"-print-prog-name={part}"], capture_output=True, text=True).stdout.strip())
        wanted = {path if os.path.isabs(path) else shutil.which(path) for path in wanted}
    for path in list(wanted):
        wanted |= libraries(path)
    return wanted


def initrd(guest):
    """The guest's own initramfs with another behind it."""
    stage = guest.path("stage")
    for path in files():
        to = stage + path
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy(path, to)
    os.makedirs(stage + "/soak")
    for name in ("work.sh", "work.lua", "work.js", "program.c"):
        shutil.copy(os.path.join(HERE, name), stage + "/soak")
    # The libraries' directories as Debian has them; the guest's own has no usr/lib.
    listing = subprocess.run(["find", ".", "-mindepth", "1"], cwd=stage, capture_output=True).stdout
    archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=stage, input=listing, capture_output=True).stdout
    path = guest.path("initrd")
    with open(guest.initrd, "rb") as own, open(path, "wb") as out:
        shutil.copyfileobj(own, out)
        out.write(b"\0" * (-out.tell() % 4))
        out.write(archive)
    shutil.rmtree(stage)
    return path


def expected(guest):
    """The same work here."""
    work = guest.path("work")
    os.mkdir(work)
    found = subprocess.run(["busybox", "sh", os.path.join(HERE, "work.sh"), work], capture_output=True, text=True,
                           env={**os.environ, "LC_ALL": "C"})
    if found.returncode != 0:
        skip(f"the work can't be done on this host: {found.stdout} {found.stderr}")
    return found.stdout.replace("\n", "|").rstrip("|")


def process_size(pid):
    """KiB of the process but for guest memory, and its descriptors."""
    with open(f"/proc/{pid}/status") as f:
        anonymous = next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))
    return anonymous, len(os.listdir(f"/proc/{pid}/fd"))


class Watcher(threading.Thread):
    """Says what the process has grown by since the first rounds."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid = pid
        self.first = self.last = None

    def look(self):
        self.last = process_size(self.pid)
        if self.first is None:
            self.first = self.last

    def run(self):
        while self.first is None:
            time.sleep(0.5)
        while True:
            time.sleep(5)
            try:
                self.last = process_size(self.pid)
            except OSError:
                return


def main():
    seconds = int(sys.argv.pop(4)) if len(sys.argv) > 4 else 1800
    if len(sys.argv) == 3:
        sys.argv.append("dbt")
    guest = Guest(sys.argv)
    # The guest must not outlive us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = expected(guest)
    guest.initrd = initrd(guest)
    print(f"expected: {wanted}", flush=True)
    child = guest.start("--no-reboot", "--cpus", str(CPUS), "--memory", MEMORY,
                        command=["sh", "-c", GUEST, "soak", str(seconds), str(CPUS)], stderr=None,
                        stdin=subprocess.DEVNULL, append=APPEND)
    watcher = Watcher(child.pid)
    watcher.start()
    rounds, said, over = {}, time.monotonic(), False
    silent = threading.Timer(SILENCE, child.kill)
    silent.start()
    for line in os.fdopen(os.dup(child.stdout.fileno()), errors="replace"):
        silent.cancel()
        silent = threading.Timer(SILENCE, child.kill)
        silent.start()
        if line.startswith("over"):
            over = True
            continue
        _, worker, result = line.rstrip("\n").split(" ", 2)
        rounds[worker] = rounds.get(worker, 0) + 1
        if result.rstrip("|") != wanted:
            guest.fail(f"round {rounds[worker]} of worker {worker}: {result}")
        # By then each has begun its caches.
        if watcher.first is None and sum(rounds.values()) >= 2 * CPUS:
            watcher.look()
        if time.monotonic() - said > 60:
            said = time.monotonic()
            print(f"{sum(rounds.values())} rounds; KiB and descriptors {watcher.first} at first, {watcher.last} now", flush=True)
    silent.cancel()
    guest.expect("status", child.wait(), 0)
    if not over:
        guest.fail(f"it ended, or was silent for {SILENCE} seconds")
    if watcher.last:
        if watcher.last[0] - watcher.first[0] > GROWTH_KIB:
            guest.fail(f"memory grew from {watcher.first[0]} to {watcher.last[0]} KiB")
        if watcher.last[1] - watcher.first[1] > DESCRIPTORS:
            guest.fail(f"descriptors grew from {watcher.first[1]} to {watcher.last[1]}")
    print(f"{sum(rounds.values())} rounds by {len(rounds)} workers; KiB and descriptors {watcher.first} at first, "
          f"{watcher.last} at last", flush=True)
    sys.exit(guest.failed)


main()
