"""A tap interface behind the guest's card, in a network namespace of the test's own: ping and TCP both ways, the segments of
TCP whole (offload), a queue of the interface for each pair of the card's, and what the guest sees when the interface goes away.

usage: tap.py RUSE SOURCE_ROOT [ENGINE]
"""
import functools
import hashlib
import http.server
import os
import random
import shutil
import subprocess
import sys
import threading
import urllib.request

from guest import Guest, Talk, skip

SIZE = 8_000_000
HOST, ADDRESS = "10.9.0.1", "10.9.0.2"

GUEST = r"""
ip addr add 10.9.0.2/24 dev eth0
cat /sys/class/net/eth0/address
ping -c 3 -i 0.2 -q 10.9.0.1 | grep -c ' 0% packet loss'
wget -q -O - http://10.9.0.1:8000/file | sha256sum
mkdir /tmp/www
head -c $1 /dev/urandom >/tmp/www/file
sha256sum </tmp/www/file
httpd -p 8080 -h /tmp/www
echo ready
read go
"""

# Each processor fetches, and is interrupted, by its own pair.
QUEUES = r"""
ip addr add 10.9.0.2/24 dev eth0
ls -d /sys/class/net/eth0/queues/rx-* | wc -l
count() { grep $(basename $(readlink /sys/class/net/eth0/device))-input /proc/interrupts | awk '{ print $2 + $3 }'; }
fetch() { taskset $1 wget -q -O - http://10.9.0.1:8000/file | sha256sum | cut -d ' ' -f 1; }
ping -c 1 -q 10.9.0.1 >/dev/null
for mask in 1 2; do count; fetch $mask; done
count
echo ready
read go
fetch 1 >/tmp/one & fetch 2 >/tmp/two & wait
cat /tmp/one /tmp/two
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def enter_namespace():
    """Starts this program again where interfaces can be made."""
    if os.environ.get("TAP_PY_INSIDE"):
        return
    probe = ["unshare", "--map-root-user", "--net", "sh", "-c", "ip tuntap add dev probe mode tap"]
    if not shutil.which("unshare") or not shutil.which("ip"):
        skip("unshare or ip is not installed")
    made = subprocess.run(probe, capture_output=True, text=True)
    if made.returncode != 0:
        skip(f"this host allows no network namespace with a tap: {made.stderr.strip()}")
    os.environ["TAP_PY_INSIDE"] = "yes"
    os.execvp("unshare", ["unshare", "--map-root-user", "--net", sys.executable, "-B", *sys.argv])


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def mean_frame(direction):
    """Bytes of a frame since the interface was made."""
    def read(what):
        with open(f"/proc/net/dev") as f:
            line = next(line for line in f if line.strip().startswith("tap0:"))
        return int(line.split(":")[1].split()[{"rx": 0, "tx": 8}[direction] + {"bytes": 0, "packets": 1}[what]])
    return read("bytes") / max(read("packets"), 1)


def make_tap(*flags):
    ip("tuntap", "add", "dev", "tap0", "mode", "tap", *flags)
    ip("addr", "add", f"{HOST}/24", "dev", "tap0")
    ip("link", "set", "tap0", "up")


def one_queue(guest, wanted):
    child = guest.start("--no-reboot", "--cpus", "2", "--net", "tap=tap0,mac=52:54:00:12:34:56",
                        command=["sh", "-c", GUEST, "tap", str(SIZE)])
    said = Talk(child.stdout.fileno()).wait_for("ready\n").decode().split()
    guest.expect("address, ping and the file that the guest fetched", said[:3], ["52:54:00:12:34:56", "1", wanted])
    to_guest = mean_frame("tx")
    guest.expect("ping from the host", subprocess.run([guest.busybox, "ping", "-c", "2", "-q", ADDRESS],
                                                      capture_output=True).returncode, 0)
    with urllib.request.urlopen(f"http://{ADDRESS}:8080/file", timeout=300) as answer:
        guest.expect("the file that the host fetched", hashlib.sha256(answer.read()).hexdigest(), said[4])
    from_guest = mean_frame("rx")
    print(f"bytes of a frame: {to_guest:.0f} to the guest, {from_guest:.0f} from it")
    for way, size in ("to", to_guest), ("from", from_guest):
        if size < 3000:
            guest.fail(f"the segments that come {way} the guest are cut up: {size:.0f} bytes")
    ip("link", "del", "tap0")
    child.stdin.write(b"go\n")
    guest.expect("status without the interface", child.wait(60), 0)
    guest.expect_in("what is said when the interface goes", b"the guest's link is down", child.stderr.read())


def several_queues(guest, wanted):
    make_tap("multi_queue")
    child = guest.start("--no-reboot", "--board", "pc", "--cpus", "2", "--net", "tap=tap0", command=["sh", "-c", QUEUES])
    talk = Talk(child.stdout.fileno())
    said = talk.wait_for("ready\n").decode().split()
    guest.expect("pairs", said[0], "2")
    guest.expect_in("the interface's queues", " numqueues 2 ",
                    subprocess.run(["ip", "-d", "link", "show", "tap0"], capture_output=True, text=True).stdout)
    before, between, after = ([int(n) for n in said[at:at + 2]] for at in (1, 4, 7))
    guest.expect("the files that each processor fetched", [said[3], said[6]], [wanted] * 2)
    print(f"interrupts of the pairs: {before}, {between}, {after}")
    for mine, other, counts in (0, 1, [b - a for a, b in zip(before, between)]), (1, 0, [b - a for a, b in zip(between, after)]):
        if counts[mine] < 5 or counts[mine] < 3 * counts[other]:
            guest.fail(f"what came for processor {mine} has interrupted {counts}")
    child.stdin.write(b"go\n")
    guest.expect("status with several queues", child.wait(60), 0)
    guest.expect("the files that both fetched at once", talk.rest().decode().split(), [wanted] * 2)
    ip("link", "del", "tap0")


def main():
    enter_namespace()
    guest = Guest(sys.argv)
    ip("link", "set", "lo", "up")
    make_tap()
    data = random.randbytes(SIZE)
    www = guest.path("www")
    os.mkdir(www)
    with open(os.path.join(www, "file"), "wb") as f:
        f.write(data)
    server = http.server.ThreadingHTTPServer(("", 8000), functools.partial(Quiet, directory=www))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    done = guest.run("--net", "tap=tap9", command=["true"])
    guest.expect("status without an interface", done.returncode, 1)
    guest.expect_in("message without an interface", b"there is no interface tap9", done.stderr)
    one_queue(guest, hashlib.sha256(data).hexdigest())
    several_queues(guest, hashlib.sha256(data).hexdigest())
    sys.exit(guest.failed)


main()
