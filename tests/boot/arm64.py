"""Debian's arm64 kernel under ruse, on the board virt.

usage: arm64.py RUSE SOURCE_ROOT [ENGINE]
"""
import gzip
import hashlib
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from guest import Guest, Talk

STRESS = """
i=0
while [ $i -lt 30 ]; do
	[ "$(echo $i | cat)" = $i ] || echo wrong
	i=$((i + 1))
done
awk 'BEGIN { for (i = 1; i <= 1000; i++) s += 1 / i; printf "%.9f\\n", s }'
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"page of the host\n" * 1000)

    def log_message(self, *_):
        pass


def test_machine(guest):
    done = guest.run("--cpus", "4", command=["sh", "-c", "uname -m; nproc; grep -c ^processor /proc/cpuinfo; exit 7"])
    guest.expect("four processors", done.stdout.split(), [b"aarch64", b"4", b"4"])
    guest.expect("status", done.returncode, 7)
    done = guest.run("--cpus", "2", command=["sh", "-c", STRESS])
    guest.expect("processes and numbers", done.stdout, b"7.485470861\n")


def test_kernel_forms(guest):
    """The board is chosen by the kernel, which may be compressed."""
    packed = guest.path("Image.gz")
    with open(guest.kernel, "rb") as plain, gzip.open(packed, "wb", 1) as out:
        out.write(plain.read())
    done = guest.run("--memory", "256M", kernel=packed, command=["cat", "/proc/device-tree/model"])
    guest.expect("a compressed kernel", done.stdout.rstrip(b"\0"), b"ruse virt")


def test_devices(guest):
    disk = guest.path("disk")
    data = os.urandom(1 << 20)
    with open(disk, "wb") as f:
        f.write(data)
        f.truncate(2 << 20)
    server = HTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script = f"""
head -c 1048576 /dev/vda | sha256sum
echo written | dd of=/dev/vda bs=512 seek=2048 conv=fsync 2>/dev/null
wget -q -O - http://10.0.2.2:{server.server_port}/ | wc -c
dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c
cat /sys/class/rtc/rtc0/name
poweroff -f
"""
    done = guest.run("--disk", disk, "--net", "user", command=["sh", "-c", script])
    guest.expect("devices", done.stdout.splitlines()[:4], [hashlib.sha256(data).hexdigest().encode() + b"  -", b"17000", b"16",
                                                           b"rtc-pl031 9010000.pl031"])
    with open(disk, "rb") as f:
        f.seek(1 << 20)
        guest.expect("the disk", f.read(8), b"written\n")


def test_console(guest):
    """A shell at the serial port, a restart by PSCI, the power key."""
    child = guest.start(append="console=ttyAMA0 loglevel=3")
    talk = Talk(child.stdout.fileno())
    talk.say = lambda text: child.stdin.write(text.encode())
    talk.wait_for("guest:~# ")
    child.stdin.write(b"reboot -f\n")
    talk.wait_for("guest:~# ")
    child.stdin.write(b"dmesg | grep -c 'smp: Brought up 1 node, 1 CPU'; poweroff -f\n")
    talk.wait_for("\n1\r\n")
    guest.expect("status", child.wait(timeout=300), 0)


test_guest = Guest(sys.argv, "arm64")
test_machine(test_guest)
test_kernel_forms(test_guest)
test_devices(test_guest)
test_console(test_guest)
sys.exit(test_guest.failed)
