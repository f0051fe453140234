"""Memory of Debian's guest beside what it starts with: what it gives back (the balloon, free pages by themselves), what is plugged and
unplugged while it runs, files of the host.

usage: memory.py RUSE SOURCE_ROOT [ENGINE]
"""
import hashlib
import json
import os
import random
import subprocess
import sys
import time

from guest import APPEND, Guest, Talk, connect

MIB = 1 << 20


class Vm:
    """A guest with a shell on its serial port, and `ruse ctl` for it."""

    def __init__(self, guest, *options, append=APPEND):
        self.guest = guest
        path = guest.path("serial")
        self.child = guest.start("--name", "vm", "--serial", "unix=" + path, *options, append=append)
        self.client = connect(path)
        self.talk = Talk(self.client.fileno())
        self.talk.wait_for("guest:~# ")

    def ctl(self, *words):
        done = subprocess.run([self.guest.ruse, "ctl", str(self.child.pid), *words, "--json"], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            self.guest.fail(f"ctl {words}: {done.stderr!r}")
            return {}
        return json.loads(done.stdout)

    def refused(self, text, *words):
        done = subprocess.run([self.guest.ruse, "ctl", str(self.child.pid), *words], capture_output=True, text=True, timeout=300)
        if done.returncode == 0 or text not in done.stderr:
            self.guest.fail(f"ctl {words}: {done.returncode} {done.stderr!r}")

    def until(self, what, condition, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.guest.fail(what)
                return
            time.sleep(0.1)

    def resident(self):
        """Bytes of memory of the process, each page once however often it is mapped."""
        with open(f"/proc/{self.child.pid}/smaps_rollup") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))

    def free(self):
        """MemFree and MemTotal, by the guest."""
        text = self.talk.command("grep -e MemTotal -e MemFree /proc/meminfo").decode()
        words = text.split()
        return int(words[words.index("MemFree:") + 1]) * 1024, int(words[words.index("MemTotal:") + 1]) * 1024

    def end(self):
        self.talk.say("poweroff -f\n")
        self.guest.expect("status after switching off", self.child.wait(timeout=300), 0)
        self.client.close()


def balloon(guest):
    vm = Vm(guest, "--memory", "512M", "--balloon", "16M")
    vm.until("the first wish is fulfilled", lambda: vm.ctl("status")["balloon"]["size"] == 16 * MIB)
    # What is used once and freed is reported, and goes back to the host.
    before = vm.resident()
    heard = vm.talk.command("dd if=/dev/urandom of=/dev/shm/x bs=1M count=200 2>/dev/null; sha256sum /dev/shm/x; rm /dev/shm/x")
    if len(heard.split()) < 2:
        guest.fail(f"no checksum: {heard!r}")
    used = vm.resident()
    if used < before + 120 * MIB:
        guest.fail(f"the guest's use of 200 MiB does not show: {before >> 20} MiB before, {used >> 20} after")
    vm.until("free memory is not given back", lambda: vm.resident() < before + 60 * MIB)
    # The balloon takes memory from the guest, and gives it back; what stays is as it was.
    vm.talk.command("head -c 40000000 /dev/urandom >/dev/shm/y; cp /dev/shm/y /dev/shm/z")
    free, _ = vm.free()
    vm.ctl("balloon", "256M")
    vm.until("the balloon does not grow", lambda: vm.ctl("status")["balloon"]["size"] == 256 * MIB)
    less, _ = vm.free()
    if less > free - 200 * MIB:
        guest.fail(f"the balloon took {free - less} bytes from the guest")
    guest.expect_in("what the guest kept", b"same", vm.talk.command("cmp /dev/shm/y /dev/shm/z && echo sa''me"))
    vm.ctl("balloon", "0")
    vm.until("the balloon does not shrink", lambda: vm.ctl("status")["balloon"]["size"] == 0)
    again, _ = vm.free()
    if again < free - 16 * MIB:
        guest.fail(f"after the balloon {again} bytes are free instead of {free}")
    # Statistics.
    vm.ctl("statistics")
    vm.until("no statistics come", lambda: int(vm.ctl("statistics").get("guest memory total", "0")) > 400 * MIB)
    figures = vm.ctl("statistics")
    guest.expect("memory is counted", 0 < int(figures["guest memory free"]) < int(figures["guest memory total"]), True)
    # All pages that were away, used again, by code too.
    guest.expect_in("after all", b"same", vm.talk.command("cat /dev/shm/y /dev/shm/y /dev/shm/y >/dev/shm/w; rm /dev/shm/w; cmp /dev/shm/y /dev/shm/z && echo sa''me"))
    vm.refused("can't take all", "balloon", "512M")
    vm.end()


def on_pc(guest):
    """The same by PCI, all in one."""
    path = guest.path("pc-file")
    with open(path, "wb") as f:
        f.write(b"x" * 4 * MIB)
    vm = Vm(guest, "--board", "pc", "--memory", "256M,max=512M", "--balloon", "on", "--pmem", path)
    free, _ = vm.free()
    vm.ctl("balloon", "64M")
    vm.until("the balloon does not grow", lambda: vm.ctl("status")["balloon"]["size"] == 64 * MIB)
    less, _ = vm.free()
    if less > free - 48 * MIB:
        guest.fail(f"the balloon took {free - less} bytes from the guest")
    vm.ctl("memory", "512M")
    vm.until("memory is not plugged", lambda: vm.ctl("status")["pluggable"]["plugged"] == 256 * MIB)
    guest.expect_in("the file", hashlib.sha256(b"x" * 4 * MIB).hexdigest().encode(), vm.talk.command("sha256sum /dev/pmem0"))
    vm.talk.command("dd if=/dev/zero of=/dev/pmem0 bs=1M seek=1 count=1 conv=fsync")
    with open(path, "rb") as f:
        guest.expect("what was flushed is there", f.read() == b"x" * MIB + bytes(MIB) + b"x" * 2 * MIB, True)
    vm.end()


def pluggable(guest):
    """Memory that comes and goes while the guest runs, and after a restart."""
    vm = Vm(guest, "--memory", "256M,max=768M", append="console=ttyS0 quiet panic=-1 memhp_default_state=online_movable")
    _, total = vm.free()
    vm.ctl("memory", "768M")
    vm.until("memory is not plugged", lambda: vm.ctl("status")["pluggable"]["plugged"] == 512 * MIB)
    _, more = vm.free()
    guest.expect("the guest has it", more - total, 512 * MIB)
    # It is used, and keeps what is put there; unplugged it goes back to the host.
    heard = vm.talk.command("mount -o remount,size=90% /dev/shm; head -c 400000000 /dev/zero | tr '\\0' x >/dev/shm/x; tr -d x </dev/shm/x | wc -c; rm /dev/shm/x")
    guest.expect("what was put there", heard.split()[-1:], [b"0"])
    used = vm.resident()
    if used < 400 * MIB:
        guest.fail(f"the plugged memory does not show: {used >> 20} MiB")
    vm.ctl("memory", "256M")
    vm.until("memory is not unplugged", lambda: vm.ctl("status")["pluggable"]["plugged"] == 0)
    guest.expect("the guest has it no more", vm.free()[1], total)
    if vm.resident() > used - 150 * MIB:
        guest.fail(f"unplugged memory is not given back: {used >> 20} MiB before, {vm.resident() >> 20} MiB after")
    vm.ctl("memory", "384M")
    vm.until("memory is not plugged again", lambda: vm.ctl("status")["memory"] == 384 * MIB)
    vm.refused("no less", "memory", "128M")
    vm.refused("no more", "memory", "1G")
    vm.refused("steps of 2 MiB", "memory", "385M")
    # The next kernel begins with what the machine has, and asks for the rest.
    vm.talk.command("reboot -f")
    vm.until("after a restart", lambda: vm.ctl("status")["memory"] == 384 * MIB)
    guest.expect("after a restart the guest has it", vm.free()[1], total + 128 * MIB)
    vm.end()


PMEM = """
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/pmem0 ] && [ -e /dev/pmem1 ] && break; sleep 0.1; done
sha256sum </dev/pmem0
sha256sum </dev/pmem1
dd if=/dev/pmem1 of=/dev/pmem0 bs=1M seek=1 count=1 conv=fsync 2>/dev/null; echo $?
dd if=/dev/zero of=/dev/pmem1 bs=1M count=1 conv=fsync 2>/dev/null; echo $?
"""


def pmem(guest, board):
    """Files that are memory: read, written and flushed; read-only ones stay as they are."""
    first, second = (random.Random(seed).randbytes(4 * MIB) for seed in (7, 8))
    paths = [guest.path(name) for name in ("first", "second")]
    for path, data in zip(paths, (first, second)):
        with open(path, "wb") as f:
            f.write(data)
    done = guest.run("--board", board, "--pmem", paths[0], "--pmem", paths[1] + ",ro", command=["sh", "-c", PMEM])
    guest.expect(f"{board}: status of the guest", done.returncode, 0)
    guest.expect(f"{board}: files as memory", done.stdout.decode().split(),
                 [hashlib.sha256(first).hexdigest(), "-", hashlib.sha256(second).hexdigest(), "-", "0", "0"])
    with open(paths[0], "rb") as f:
        guest.expect("the file that was written", f.read() == first[:MIB] + second[:MIB] + first[2 * MIB:], True)
    with open(paths[1], "rb") as f:
        guest.expect("the file that was only read", f.read() == second, True)


def pmem_sharing(guest):
    """Who has a file as memory has it alone, unless all say that they share it."""
    path, odd = guest.path("shared"), guest.path("odd")
    for name, size in ((path, 4 * MIB), (odd, 4 * MIB + 512)):
        with open(name, "wb") as f:
            f.truncate(size)
    vm = Vm(guest, "--pmem", path + ",shared")
    for option, accepted in ((path, False), (path + ",shared", True), (path + ",ro", True)):
        other = guest.run("--pmem", option, command=["true"])
        guest.expect(f"a second VM with {option}", (other.returncode == 0, b"is in use" in other.stderr), (accepted, not accepted))
    vm.end()
    for what, text in ((odd, b"not a multiple of 2 MiB"), (guest.path("none"), b"doesn't exist"), ("/dev/null", b"neither a file")):
        refused = guest.run("--pmem", what, command=["true"])
        guest.expect_in(f"refused: {what}", text, refused.stderr)
        guest.expect(f"lines about {what}", (refused.returncode, refused.stderr.count(b"\n")), (1, 1))


def main():
    guest = Guest(sys.argv)
    os.environ["XDG_RUNTIME_DIR"] = guest.work
    balloon(guest)
    if not guest.failed:
        on_pc(guest)
        pluggable(guest)
        pmem(guest, "microvm")
        pmem_sharing(guest)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
