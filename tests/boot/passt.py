"""passt behind the guest's card: started by ruse, and at a socket; two cards with addresses of their own; and what the guest
sees when passt ends.

usage: passt.py RUSE SOURCE_ROOT [ENGINE]
"""
import functools
import hashlib
import http.server
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request

from guest import Guest, Talk, skip

SIZE = 3_000_000

STARTED = r"""
cat /sys/class/net/eth0/address
gateway=$(ip route | sed -n 's/^default via \([^ ]*\) .*/\1/p')
wget -q -O - http://$gateway:$1/file | sha256sum
mkdir /tmp/www
head -c $2 /dev/urandom >/tmp/www/file
sha256sum </tmp/www/file
httpd -p 8080 -h /tmp/www
echo ready
read go
"""

SOCKET = r"""
cat /sys/class/net/eth0/address /sys/class/net/eth1/address
ip route del default dev eth0
gateway=$(ip route | sed -n 's/^default via \([^ ]*\) .*/\1/p')
wget -q -O - http://$gateway:$1/file | sha256sum
echo ready
read go
echo end
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_passt(guest):
    """At a socket; it takes one connection. It goes by what this host's own network is."""
    if not shutil.which("passt"):
        skip("passt is not installed")
    # As root it becomes nobody, who must get at the socket.
    os.chmod(guest.work, 0o777)
    path = guest.path("socket")
    passt = subprocess.Popen(["passt", "--foreground", "--quiet", "--one-off", "--socket", path], stderr=subprocess.PIPE)
    guest.children.append(passt)
    end = time.monotonic() + 10
    while not os.path.exists(path):
        if passt.poll() is not None:
            skip(f"passt does not run here: {passt.stderr.read().decode().strip()}")
        if time.monotonic() > end:
            raise TimeoutError("passt makes no socket")
        time.sleep(0.02)
    return passt, path


def main():
    guest = Guest(sys.argv)
    passt, path = start_passt(guest)
    data = random.randbytes(SIZE)
    www = guest.path("www")
    os.mkdir(www)
    with open(os.path.join(www, "file"), "wb") as f:
        f.write(data)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=www))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port, wanted = str(server.server_port), hashlib.sha256(data).hexdigest()

    # At a socket, beside another card.
    child = guest.start("--no-reboot", "--net", "user", "--net", f"stream=unix:{path},mac=52:54:00:12:34:56",
                        command=["sh", "-c", SOCKET, "passt", port])
    said = (talk := Talk(child.stdout.fileno())).wait_for("ready\n").decode().split()
    guest.expect("addresses and the file by a socket", said,
                 ["52:52:75:73:65:01", "52:54:00:12:34:56", wanted, "-"])
    passt.kill()
    passt.wait()
    time.sleep(0.2)
    child.stdin.write(b"go\n")
    talk.wait_for("end\n")
    guest.expect("status without passt", child.wait(60), 0)
    guest.expect_in("what is said when passt ends", b"the guest's link is down", child.stderr.read())

    # Started by ruse.
    web = free_port()
    child = guest.start("--no-reboot", "--net", f"passt,hostfwd=tcp:{web}:8080",
                        command=["sh", "-c", STARTED, "passt", port, str(SIZE)])
    said = (talk := Talk(child.stdout.fileno())).wait_for("ready\n").decode().split()
    guest.expect("the file by passt", said[:2], ["52:52:75:73:65:01", wanted])
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/file", timeout=300) as answer:
        guest.expect("the file that the host fetched", hashlib.sha256(answer.read()).hexdigest(), said[3])
    child.stdin.write(b"go\n")
    guest.expect("status", child.wait(60), 0)
    sys.exit(guest.failed)


main()
