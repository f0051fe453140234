"""Devices of other processes: Debian's virtiofsd serves a directory that both sides read and write, and a card's frames go
through a back end of ours to passt; over two lives of the guest's kernel; and what the guest sees when they end.

usage: vhost.py RUSE SOURCE_ROOT ENGINE BRIDGE
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
import time

from guest import Guest, Talk, skip

SIZE = 3_000_000
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"

FILES = r"""
mount -t virtiofs home /mnt && echo mounted
cat /mnt/greeting
sha256sum </mnt/data
head -c $1 /dev/urandom >/mnt/answer
sha256sum </mnt/answer
mkdir -p /mnt/a/b/c
for i in $(seq 200); do echo $i >/mnt/a/b/c/$i; done
ls /mnt/a/b/c | wc -l
mv /mnt/a/b/c /mnt/moved && rm -r /mnt/a
cat /mnt/moved/200
umount /mnt
echo ready
read go
"""

CARD = r"""
cat /sys/class/net/eth0/address
gateway=$(ip route | sed -n 's/^default via \([^ ]*\) .*/\1/p')
wget -q -O - http://$gateway:$1/file | sha256sum
cat /sys/class/net/eth0/carrier
echo ready
read go
cat /sys/class/net/eth0/carrier
echo end
"""

TWICE = r"""
mount -t virtiofs home /mnt
echo x >>/mnt/lives
[ $(wc -l </mnt/lives) = 2 ] || reboot -f
umount /mnt
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def wait_for_socket(path, child):
    end = time.monotonic() + 10
    while not os.path.exists(path):
        if child.poll() is not None:
            return False
        if time.monotonic() > end:
            raise TimeoutError(f"{child.args[0]} makes no socket")
        time.sleep(0.02)
    return True


def serve_directory(guest, directory):
    path = guest.path("fs.socket")
    if os.path.exists(path):
        os.unlink(path)
    daemon = subprocess.Popen([VIRTIOFSD, f"--socket-path={path}", "-o", f"source={directory}", "-o", "sandbox=namespace"],
                              stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    guest.children.append(daemon)
    if not wait_for_socket(path, daemon):
        skip(f"virtiofsd does not run here: {daemon.stderr.read().decode().strip()}")
    return daemon, path


def digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def files(guest):
    shared = guest.path("shared")
    os.mkdir(shared)
    with open(os.path.join(shared, "greeting"), "w") as f:
        f.write("hello\n")
    with open(os.path.join(shared, "data"), "wb") as f:
        f.write(random.randbytes(SIZE))
    daemon, path = serve_directory(guest, shared)
    child = guest.start("--no-reboot", "--cpus", "2", "--fs", f"socket={path},tag=home",
                        command=["sh", "-c", FILES, "files", str(SIZE)])
    said = (talk := Talk(child.stdout.fileno())).wait_for("ready\n").decode().splitlines()
    guest.expect("the mount", said[:2], ["mounted", "hello"])
    guest.expect("what the guest read", said[2].split()[0], digest(os.path.join(shared, "data")))
    guest.expect("what the guest wrote", said[3].split()[0], digest(os.path.join(shared, "answer")))
    guest.expect("names", said[4:], ["200", "200"])
    guest.expect("names on the host", sorted(os.listdir(shared)), ["answer", "data", "greeting", "moved"])
    daemon.kill()
    daemon.wait()
    time.sleep(0.2)
    child.stdin.write(b"go\n")
    guest.expect("status without virtiofsd", child.wait(60), 0)
    guest.expect_in("what is said when virtiofsd ends", b"its device is dead", child.stderr.read())

    # The kernel starts anew: the queues are another driver's then.
    _, path = serve_directory(guest, shared)
    done = guest.start("--fs", f"socket={path},tag=home", command=["sh", "-c", TWICE])
    guest.expect("status after two lives", done.wait(60), 0)
    with open(os.path.join(shared, "lives")) as f:
        guest.expect("lives", f.read(), "x\nx\n")

    # Nobody there.
    done = guest.run("--fs", f"socket={guest.path('nothing')},tag=home", command=["true"])
    guest.expect("status without a socket", done.returncode, 1)
    guest.expect_in("message without a socket", b"no vhost-user back end answers at", done.stderr)


def card(guest, bridge):
    if not shutil.which("passt"):
        print("the card was not tried: passt is not installed")
        return
    data = random.randbytes(SIZE)
    www = guest.path("www")
    os.mkdir(www)
    with open(os.path.join(www, "file"), "wb") as f:
        f.write(data)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=www))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # As root it becomes nobody, who must get at the socket.
    os.chmod(guest.work, 0o777)
    path = guest.path("passt.socket")
    passt = subprocess.Popen(["passt", "--foreground", "--quiet", "--one-off", "--socket", path], stderr=subprocess.PIPE)
    guest.children.append(passt)
    if not wait_for_socket(path, passt):
        print(f"the card was not tried: passt does not run here: {passt.stderr.read().decode().strip()}")
        return
    far = subprocess.Popen([bridge, guest.path("net.socket"), path])
    guest.children.append(far)
    wait_for_socket(guest.path("net.socket"), far)
    time.sleep(0.1)
    child = guest.start("--no-reboot", "--net", f"vhost-user={guest.path('net.socket')},mac=52:54:00:12:34:56",
                        command=["sh", "-c", CARD, "card", str(server.server_port)])
    said = (talk := Talk(child.stdout.fileno())).wait_for("ready\n").decode().split()
    guest.expect("the file by vhost-user", said, ["52:54:00:12:34:56", hashlib.sha256(data).hexdigest(), "-", "1"])
    far.kill()
    far.wait()
    time.sleep(0.2)
    child.stdin.write(b"go\n")
    guest.expect("the link without its back end", talk.wait_for("end\n").strip(), b"0")
    guest.expect("status without the back end", child.wait(60), 0)
    guest.expect_in("what is said when the back end ends", b"its device is dead", child.stderr.read())


def main():
    guest = Guest(sys.argv)
    card(guest, sys.argv[4])
    if not os.access(VIRTIOFSD, os.X_OK):
        skip("virtiofsd is not installed: it is in Debian's qemu-system-common")
    files(guest)
    sys.exit(guest.failed)


main()
