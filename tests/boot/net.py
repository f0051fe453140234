"""User networking: a file fetched by the guest from the host and by the host from the guest, names, and what is not let
in.

usage: net.py RUSE SOURCE_ROOT [ENGINE]
"""
import functools
import hashlib
import http.server
import os
import random
import socket
import sys
import threading
import urllib.request

from guest import Guest, Talk

SIZE = 3_000_000
NAME = "deb.debian.org"

GUEST = r"""
ip -4 addr show eth0 | sed -n 's/ *inet \([^ ]*\).*/\1/p'
wget -q -O - http://10.0.2.2:$1/file | sha256sum
mkdir /tmp/www
head -c $2 /dev/urandom >/tmp/www/file
sha256sum </tmp/www/file
httpd -p 8080 -h /tmp/www
# The other way by a plain connection too: what comes in is summed up.
nc -l -p 8081 </dev/null >/tmp/in &
echo ready
read go
wait %1
sha256sum </tmp/in
nslookup -type=a $3 >/dev/null 2>&1 && echo name || echo 'no name'
echo end
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def host_resolves(name):
    try:
        socket.getaddrinfo(name, 80, socket.AF_INET)
        return True
    except OSError:
        return False


def main():
    guest = Guest(sys.argv)
    data = random.randbytes(SIZE)
    www = guest.path("www")
    os.mkdir(www)
    with open(os.path.join(www, "file"), "wb") as f:
        f.write(data)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=www))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    web, plain = free_port(), free_port()
    child = guest.start("--no-reboot", "--cpus", "2", "--net",
                        f"user,hostfwd=tcp:{web}:8080,hostfwd=tcp:{plain}:8081",
                        command=["sh", "-c", GUEST, "net", str(server.server_port), str(SIZE), NAME])
    talk = Talk(child.stdout.fileno())
    said = talk.wait_for("ready\n").decode().split()
    guest.expect("the guest's address", said[0], "10.0.2.15/24")
    guest.expect("the file that the guest fetched", said[1], hashlib.sha256(data).hexdigest())
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/file", timeout=300) as answer:
        guest.expect("the file that the host fetched", hashlib.sha256(answer.read()).hexdigest(), said[3])
    with socket.create_connection(("127.0.0.1", plain), timeout=300) as s:
        s.sendall(data)
    # 127.0.0.1 only.
    with open("/proc/net/tcp") as f:
        local = [line.split()[1] for line in f if line.split()[1].endswith(f":{web:04X}") and line.split()[3] == "0A"]
    guest.expect("where the forwarded port listens", local, [f"0100007F:{web:04X}"])

    # A second machine can't have the same port, and says so.
    second = guest.run("--net", f"user,hostfwd=tcp:{web}:80", command=["true"])
    guest.expect("status when the port is taken", second.returncode, 1)
    guest.expect_in("message when the port is taken", str(web).encode(), second.stderr)

    child.stdin.write(b"go\n")
    rest = talk.wait_for("end\n").decode().splitlines()
    guest.expect("what the host sent", rest[0].split()[0], hashlib.sha256(data).hexdigest())
    if host_resolves(NAME):
        guest.expect("a name that the host knows", rest[1], "name")
    else:
        print("names were not tried: this host knows none either")
    guest.expect("status", child.wait(60), 0)
    sys.exit(guest.failed)


main()
