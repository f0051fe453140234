"""Devices that come and go while Debian's kernel runs on the board pc: a disk and network cards are attached, used and detached, the
link of a card goes down and up.

usage: plug.py RUSE SOURCE_ROOT [ENGINE]
"""
import json
import os
import shutil
import subprocess
import sys

from guest import Guest, Talk, connect


class Session:
    def __init__(self, guest):
        self.guest = guest
        path = guest.path("serial")
        self.child = guest.start("--board", "pc", "--cpus", "2", "--name", "plugged", "--disk", guest.path("first"), "--net", "user",
                                 "--serial", "unix=" + path)
        self.client = connect(path)
        self.talk = Talk(self.client.fileno())
        self.talk.wait_for("guest:~# ")

    def ctl(self, *words):
        return subprocess.run([self.guest.ruse, "ctl", "plugged", *words], capture_output=True, text=True, timeout=300)

    def accepted(self, *words):
        done = self.ctl(*words)
        if done.returncode != 0 or done.stderr:
            self.guest.fail(f"ctl {words}: status {done.returncode}, {done.stderr!r}")
        return done.stdout

    def refused(self, text, *words, status=1):
        done = self.ctl(*words)
        if done.returncode != status or text not in done.stderr:
            self.guest.fail(f"ctl {words}: status {done.returncode}, {done.stderr!r}, where {text!r} was to be said")

    def ask(self, line):
        return self.talk.command(line).decode(errors="replace")

    def until(self, what, condition):
        """The guest sees it soon."""
        heard = self.ask(f"for i in $(seq 150); do if {condition}; then echo it''s so; break; fi; usleep 100000; done")
        if "its so" not in heard:
            self.guest.fail(f"{what}: {heard!r}")


def disks(guest, session):
    image, qcow2 = guest.path("late"), guest.path("late.qcow2")
    with open(image, "wb") as f:
        f.write(b"here since before\n".ljust(512, b"."))
        f.truncate(4 << 20)
    guest.expect("id", session.accepted("attach", "disk", image + ",serial=late"), "id: disk1\n")
    guest.expect("devices", session.accepted("devices"), "disk1\n")
    session.until("the disk comes", "[ -b /dev/vdb ]")
    guest.expect_in("its serial", "late", session.ask("cat /sys/block/vdb/serial; echo"))
    guest.expect_in("it is read", "here since before", session.ask("head -c 17 /dev/vdb; echo"))
    session.refused("in use by another machine", "attach", "disk", image)
    session.ask("echo written by the guest | dd of=/dev/vdb bs=512 seek=8 conv=sync,fsync 2>/dev/null")
    session.accepted("detach", "disk1")
    session.until("the disk goes", "[ ! -b /dev/vdb ]")
    guest.expect("devices", session.accepted("devices"), "")
    with open(image, "rb") as f:
        f.seek(8 * 512)
        guest.expect("what was written", f.read(20), b"written by the guest")
    session.refused("has no device disk1", "detach", "disk1")
    session.refused("was there from the start", "detach", "disk0")
    # An overlay over what was written.
    subprocess.run([guest.ruse, "disk", "create", qcow2, "--backing", image, "--backing-format", "raw"], check=True, stdout=subprocess.DEVNULL)
    guest.expect("id", session.accepted("attach", "disk", qcow2), "id: disk1\n")
    session.until("the overlay comes", "[ -b /dev/vdb ]")
    guest.expect_in("through its backing file", "written by the guest", session.ask("dd if=/dev/vdb bs=512 skip=8 count=1 2>/dev/null | head -c 20; echo"))
    session.ask("echo above | dd of=/dev/vdb bs=512 conv=sync,fsync 2>/dev/null")
    session.accepted("detach", "disk1")
    session.until("the overlay goes", "[ ! -b /dev/vdb ]")
    guest.expect("the overlay is sound", subprocess.run([guest.ruse, "disk", "check", qcow2], stdout=subprocess.DEVNULL).returncode, 0)
    # Slowly, and by one queue where there would be two: 3 MiB at one a second, of which the first goes at once.
    guest.expect("id", session.accepted("attach", "disk", image + ",ro,queues=1,rate=bytes:1M"), "id: disk1\n")
    session.until("the slow disk comes", "[ -b /dev/vdb ]")
    guest.expect_in("its queues", "queues 1\r\n", session.ask("echo queues $(ls /sys/block/vdb/mq | wc -l)"))
    guest.expect_in("how long it takes", "slowly\r\n", session.ask(
        "s=$(date +%s); head -c 4194304 /dev/vdb >/dev/null; [ $(($(date +%s) - s)) -ge 2 ] && echo slow''ly"))
    session.accepted("detach", "disk1")
    session.until("the slow disk goes", "[ ! -b /dev/vdb ]")
    # All ports.
    for i in range(4):
        guest.expect("id", session.accepted("attach", "disk", image + ",ro"), f"id: disk{i + 1}\n")
    session.refused("all 4 ports of this VM are taken", "attach", "disk", image + ",ro")
    session.until("four disks", "[ $(ls /sys/block | grep -c 'vd[b-e]') = 4 ]")
    # The guest takes five seconds, in which one may think better of it.
    leaving = [subprocess.Popen([guest.ruse, "ctl", "plugged", "detach", f"disk{i + 1}"]) for i in range(4)]
    guest.expect("they leave together", [child.wait(timeout=300) for child in leaving], [0] * 4)
    session.until("none of them", "[ $(ls /sys/block | grep -c 'vd[b-e]') = 0 ]")
    session.refused("doesn't exist", "attach", "disk", guest.path("nothing"))
    session.refused("another cache= than none", "attach", "disk", image + ",cache=none")
    session.refused("is a virtio disk", "attach", "disk", image + ",if=scsi")
    session.refused("can't be attached while the VM runs", "attach", "disk", "nbd://localhost/disk")


def networks(guest, session):
    guest.expect("id", session.accepted("attach", "net", "user,mac=52:54:00:ab:cd:ef,queues=1,rate=bytes:10M"), "id: net1\n")
    session.until("the card comes", "[ -d /sys/class/net/eth1 ]")
    guest.expect_in("its address", "52:54:00:ab:cd:ef", session.ask("cat /sys/class/net/eth1/address"))
    guest.expect_in("its pairs", "pairs 1\r\n", session.ask("echo pairs $(ls -d /sys/class/net/eth1/queues/rx-* | wc -l)"))
    guest.expect_in("an address", "10.0.2.", session.ask(
        "ip addr flush dev eth0; ip link set eth0 down; ip link set eth1 up; udhcpc -i eth1 -n -q -t 10 2>&1 | grep -o 'lease of [0-9.]*'"))
    session.until("a link", "grep -qs 1 /sys/class/net/eth1/carrier")
    session.accepted("link", "net1", "down")
    session.until("the link goes", "grep -qs 0 /sys/class/net/eth1/carrier")
    session.accepted("link", "net1", "up")
    session.until("the link comes", "grep -qs 1 /sys/class/net/eth1/carrier")
    session.refused("is no network card", "link", "disk0", "down")
    session.refused("has no device net7", "link", "net7", "down")
    session.accepted("detach", "net1")
    session.until("the card goes", "[ ! -d /sys/class/net/eth1 ]")


def tap(guest, session):
    """Where the host lets us make an interface."""
    name = f"ruse{os.getpid() % 100000}"
    if not shutil.which("ip") or subprocess.run(["ip", "tuntap", "add", "dev", name, "mode", "tap"], stderr=subprocess.DEVNULL).returncode:
        return
    try:
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        guest.expect("id", session.accepted("attach", "net", "tap=" + name), "id: net1\n")
        session.until("the card comes", "[ -d /sys/class/net/eth1 ]")
        session.ask("ip link set eth1 up")
        session.accepted("detach", "net1")
        session.until("the card goes", "[ ! -d /sys/class/net/eth1 ]")
    finally:
        subprocess.run(["ip", "tuntap", "del", "dev", name, "mode", "tap"])


def main():
    guest = Guest(sys.argv)
    os.environ["XDG_RUNTIME_DIR"] = guest.work
    with open(guest.path("first"), "wb") as f:
        f.truncate(1 << 20)
    session = Session(guest)
    disks(guest, session)
    networks(guest, session)
    tap(guest, session)
    # What is plugged in is there after a restart, too.
    session.accepted("attach", "disk", guest.path("late") + ",ro")
    session.until("the disk comes", "[ -b /dev/vdb ]")
    session.ask("reboot -f")
    session.until("it is still there", "[ -b /dev/vdb ]")
    guest.expect_in("it is read", "here since before", session.ask("head -c 17 /dev/vdb; echo"))
    # Taken out without asking: Linux's driver waits for this card for ever, so it can't be switched off any more.
    session.accepted("detach", "disk1", "now")
    session.until("the disk goes", "[ ! -b /dev/vdb ]")
    heard = session.ask("dmesg -r | sed -n 's/^<[0-3]>//p' | grep -v 'RETBleed\\|Spectre\\|MDS\\|L1TF'; echo")
    guest.expect("statistics", json.loads(session.accepted("statistics", "--json")) != {}, True)
    session.accepted("quit")
    guest.expect("status", session.child.wait(timeout=300), 0)
    if guest.failed:
        print(heard)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
