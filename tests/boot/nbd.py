"""Disks at an NBD server (qemu-nbd): a guest makes a file system and fills it, and the host finds it whole and the same; over TCP, read-only
because the server says so; and a server that is killed, which the guest sees as I/O errors, and which keeps nothing from ending.

usage: nbd.py RUSE SOURCE_ROOT [ENGINE]
"""
import hashlib
import shutil
import socket
import subprocess
import sys
import time

from guest import Guest, Talk, skip

SIZE = 64 << 20
FILL = """
mke2fs -q /dev/vda >/dev/null || exit 1
mkdir -p /mnt && mount -t ext4 /dev/vda /mnt || exit 1
head -c 20000000 /dev/urandom >/mnt/large
mkdir /mnt/many
for n in $(seq 200); do echo "file $n" >/mnt/many/$n; done
cat /mnt/large | sha256sum
rm /mnt/many/100
umount /mnt
blockdev --flushbufs /dev/vda
cat /sys/block/vda/serial; echo
"""

LOOK = """
mkdir -p /mnt && mount -t ext4 -o ro /dev/vda /mnt || exit 1
cat /mnt/large | sha256sum
cat /mnt/many/7 /sys/block/vda/ro
"""

# Past the guest's page cache: until it fails.
WRITE = """
n=0
while dd if=/dev/urandom of=/dev/vda bs=4096 count=8 seek=$n conv=fsync 2>/dev/null; do echo wrote; n=$((n + 8)); done
echo failed
dd if=/dev/vda of=/dev/null bs=4096 count=1 skip=9000 2>/dev/null || echo failed again
"""


class Server:
    def __init__(self, guest, image, *options):
        self.guest = guest
        self.child = subprocess.Popen(["qemu-nbd", "--format=raw", "--persistent", "--shared=4", "--discard=unmap", "--export-name=disk", *options,
                                       image], stderr=subprocess.DEVNULL)
        guest.children.append(self.child)

    def wait(self, path=None, port=None):
        end = time.monotonic() + 60
        while True:
            try:
                with socket.socket(socket.AF_UNIX if path else socket.AF_INET) as client:
                    client.connect(path or ("127.0.0.1", port))
                return self
            except OSError:
                if time.monotonic() > end or self.child.poll() is not None:
                    raise
                time.sleep(0.05)

    def end(self):
        self.child.kill()
        self.child.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check_file_system(guest, image, sha256):
    """The host's own eyes."""
    checked = subprocess.run(["/sbin/e2fsck", "-fn", image], capture_output=True, text=True)
    guest.expect(f"e2fsck's status: {checked.stdout}", checked.returncode, 0)
    copy = guest.path("large")
    subprocess.run(["/sbin/debugfs", "-R", f"dump /large {copy}", image], capture_output=True, check=True)
    with open(copy, "rb") as f:
        guest.expect("the large file on the host", hashlib.sha256(f.read()).hexdigest(), sha256)
    listed = subprocess.run(["/sbin/debugfs", "-R", "cat /many/200", image], capture_output=True)
    guest.expect("a small file on the host", listed.stdout, b"file 200\n")


def fill_and_look(guest, image):
    path, port = guest.path("socket"), free_port()
    with open(image, "wb") as f:
        f.truncate(SIZE)
    server = Server(guest, image, "--socket", path).wait(path=path)
    uri = f"nbd+unix:///disk?socket={path}"
    done = guest.run("--cpus", "2", "--disk", f"{uri},serial=far-away", command=["sh", "-c", FILL])
    guest.expect(f"status of the guest that writes: {done.stderr}", done.returncode, 0)
    words = done.stdout.decode().split()
    guest.expect("serial number", words[-1], "far-away")
    copy = guest.path("copy")
    subprocess.run([guest.ruse, "disk", "convert", uri, copy], check=True)
    server.end()
    check_file_system(guest, image, words[0])
    guest.expect("the converted export", subprocess.run(["cmp", image, copy]).returncode, 0)

    Server(guest, image, "--port", str(port), "--bind", "127.0.0.1", "--read-only").wait(port=port)
    done = guest.run("--disk", f"nbd://127.0.0.1:{port}/disk", command=["sh", "-c", LOOK])
    guest.expect(f"what the next guest finds: {done.stderr}", done.stdout.decode().split(), [words[0], "-", "file", "7", "1"])


def lose_server(guest, image):
    path = guest.path("socket2")
    server = Server(guest, image, "--socket", path).wait(path=path)
    child = guest.start("--no-reboot", "--disk", f"nbd+unix:///disk?socket={path}", command=["sh", "-c", WRITE])
    talk = Talk(child.stdout.fileno())
    for _ in range(5):
        talk.wait_for("wrote\n")
    server.end()
    talk.wait_for("failed\nfailed again\n")
    guest.expect("status after the server is lost", child.wait(300), 0)
    guest.expect_in("what is said of it", b"the connection to the NBD server is lost", child.stderr.read())


def main():
    guest = Guest(sys.argv)
    if not shutil.which("qemu-nbd"):
        skip("there is no qemu-nbd")
    image = guest.path("disk")
    fill_and_look(guest, image)
    lose_server(guest, image)
    sys.exit(guest.failed)


main()
