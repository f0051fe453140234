"""Shared directories: Debian's kernel mounts them by 9p, reads, writes, lists, renames, locks; a read-only one; and a guest that tries to
get out while the host swaps directories for links under it.

usage: share.py RUSE SOURCE_ROOT [ENGINE]
"""
import ctypes
import hashlib
import os
import subprocess
import sys
import threading
import time

from guest import Guest, Talk, skip

CANARY = "what nobody may see"
RENAME_EXCHANGE = 2
MOUNT = "mount -t 9p -o trans=virtio,version=9p2000.L"

WORK = f"""
set -e
mkdir /tmp/a /tmp/b
{MOUNT} work /tmp/a
{MOUNT} share /tmp/b
cd /tmp/a
cat from-host
ls many | wc -l
ls many | sort | md5sum | cut -c 1-32
md5sum <big-from-host | cut -c 1-32
# Much data back, in pieces and at an offset.
dd if=big-from-host of=big-from-guest bs=37777 2>/dev/null
dd if=/dev/zero of=sparse bs=1 count=1 seek=100000000 2>/dev/null
echo one >log; echo two >>log; echo three >>log
mkdir -p deep/er/est
echo moved >deep/er/est/file
mv deep/er other
mv other/est/file other/renamed
exec 3<other/renamed
mv other finally
cat <&3
rm -r deep
ln finally/renamed hard
ln -s finally/renamed soft
cat soft hard | sort -u
readlink soft
chmod 4751 hard
stat -c %a hard
touch -d @86400 log
stat -c %Y log
truncate -s 5 hard 2>/dev/null || dd if=/dev/null of=hard bs=1 seek=5 2>/dev/null
wc -c <hard
rm soft
mknod pipe p
mknod null c 1 3 2>/dev/null && echo device || echo "no device"
sync
# The other one is to be read.
cat /tmp/b/fixed
echo x 2>/dev/null >/tmp/b/fixed && echo written || echo "read-only"
touch /tmp/b/new 2>/dev/null && echo made || echo "read-only"
rm /tmp/b/fixed 2>/dev/null && echo removed || echo "read-only"
umount /tmp/b
"""

ATTACK = f"""
mkdir /tmp/a /outside
{MOUNT} work /tmp/a
cd /tmp/a
# What the guest follows leads to its own files.
cat /tmp/a/../../outside/secret out/secret absolute/secret 2>/dev/null
ln -s /proc/1/root made; cat made/../outside/secret 2>/dev/null
ln -s ../outside made2; cat made2/secret 2>/dev/null
ls /tmp/a/.. | grep -q a || echo "no parent"
echo attacking
end=$(($(date +%s) + 6))
while [ $(date +%s) -lt $end ]; do
	cat dir/secret file dir/../dir/secret
	echo x >dir/secret
	echo y >file
	mkdir dir/made; rmdir dir/made
	echo z >dir/new; mv dir/new dir/newer; rm dir/newer
	chmod 777 dir/secret
	ln dir/secret hard; cat hard; rm hard
	true >file
done >/tmp/seen 2>/dev/null
grep -c . /tmp/seen >/dev/null && echo "some were read"
grep -q nobody /tmp/seen && echo "THE CANARY"
umount -l /tmp/a
echo over
"""


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def read(path):
    with open(path) as f:
        return f.read()


def md5(data):
    return hashlib.md5(data).hexdigest()


def work(guest):
    a, b = guest.path("a"), guest.path("b")
    os.mkdir(a)
    os.mkdir(b)
    big = os.urandom(7_000_001)
    with open(f"{a}/big-from-host", "wb") as f:
        f.write(big)
    write(f"{a}/from-host", "hello from the host\n")
    write(f"{b}/fixed", "fixed\n")
    os.mkdir(f"{a}/many")
    names = [f"a file with number {i}" for i in range(500)]
    for name in names:
        write(f"{a}/many/{name}", "")
    done = guest.run("--cpus", "2", "--share", f"{a},tag=work", "--share", f"{b},ro", command=["sh", "-c", WORK])
    wanted = ["hello from the host", "500", md5("".join(sorted(f"{name}\n" for name in names)).encode()), md5(big), "moved", "moved",
              "finally/renamed", "751", "86400", "5", "no device", "fixed", "read-only", "read-only", "read-only"]
    guest.expect("what the guest says", done.stdout.decode().splitlines(), wanted)
    guest.expect("messages", done.stderr, b"")
    guest.expect("status", done.returncode, 0)
    with open(f"{a}/big-from-guest", "rb") as f:
        guest.expect("what the guest wrote", md5(f.read()), md5(big))
    guest.expect("a sparse file", os.stat(f"{a}/sparse").st_size, 100000001)
    guest.expect("a file that was added to", read(f"{a}/log"), "one\ntwo\nthree\n")
    guest.expect("a file that was moved", read(f"{a}/finally/renamed"), "moved")
    guest.expect("what is left", sorted(os.listdir(a)),
                 ["big-from-guest", "big-from-host", "finally", "from-host", "hard", "log", "many", "pipe", "sparse"])
    guest.expect("its permissions", os.stat(f"{a}/hard").st_mode, 0o100751)
    guest.expect("its owner", os.stat(f"{a}/hard").st_uid, os.getuid())
    guest.expect("the other directory", os.listdir(b), ["fixed"])
    guest.expect("its file", read(f"{b}/fixed"), "fixed\n")


def race(base, stop):
    """Swaps a directory and a file for links that lead out, until told to stop."""
    libc = ctypes.CDLL(None, use_errno=True)

    def exchange(one, other):
        libc.renameat2(-100, f"{base}/{one}".encode(), -100, f"{base}/{other}".encode(), RENAME_EXCHANGE)

    while not stop.is_set():
        exchange("dir", "dir-link")
        exchange("file", "file-link")
        time.sleep(0)


def attack(guest):
    share, outside = guest.path("share"), guest.path("outside")
    os.makedirs(f"{share}/dir")
    os.mkdir(outside)
    write(f"{outside}/secret", CANARY)
    write(f"{share}/dir/secret", "inner\n")
    write(f"{share}/file", "plain\n")
    os.symlink("../outside", f"{share}/out")
    os.symlink(outside, f"{share}/absolute")
    os.symlink("../outside", f"{share}/dir-link")
    os.symlink("../outside/secret", f"{share}/file-link")
    before = os.stat(f"{outside}/secret")
    child = guest.start("--no-reboot", "--share", f"{share},tag=work", command=["sh", "-c", ATTACK])
    talk = Talk(child.stdout.fileno())
    guest.expect("what the guest has read before", talk.wait_for("attacking\n", 60), b"")
    stop = threading.Event()
    racer = threading.Thread(target=race, args=[share, stop])
    racer.start()
    try:
        said = talk.wait_for("over\n", 60).decode()
    except EOFError:
        said = f"an end too early: {child.stderr.read()}"
    finally:
        stop.set()
        racer.join()
    guest.expect("what the guest has read", said, "some were read\n")
    guest.expect("status", child.wait(60), 0)
    guest.expect("messages", child.stderr.read(), b"")
    after = os.stat(f"{outside}/secret")
    guest.expect("the canary", read(f"{outside}/secret"), CANARY)
    guest.expect("its attributes", (after.st_mode, after.st_nlink, after.st_ino, after.st_mtime_ns),
                 (before.st_mode, before.st_nlink, before.st_ino, before.st_mtime_ns))
    guest.expect("what is outside", os.listdir(outside), ["secret"])


def refusals(guest):
    for option, text in ("/nonexistent", b"/nonexistent can't be shared"), ("/etc/passwd", b"/etc/passwd can't be shared"):
        done = guest.run("--share", option, command=["true"])
        guest.expect("status", done.returncode, 1)
        guest.expect_in("message", text, done.stderr)


def main():
    guest = Guest(sys.argv)
    fetched = subprocess.run([os.path.join(sys.argv[2], "guests/fetch_full.sh")], capture_output=True, text=True)
    if fetched.returncode != 0:
        skip(f"the kernel with 9p can't be fetched: {(fetched.stderr.strip().splitlines() or ['?'])[-1]}")
    guest.kernel, guest.initrd = fetched.stdout.splitlines()
    try:
        work(guest)
        attack(guest)
        refusals(guest)
    except (EOFError, TimeoutError, OSError) as why:
        guest.fail(f"{type(why).__name__} {why}")
    sys.exit(guest.failed)


main()
