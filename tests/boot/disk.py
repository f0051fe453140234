"""Disks: nothing that a guest was told is flushed is lost when ruse is killed; read-only disks, serial numbers, and one
image in two machines.

The guest writes blocks of random data, each one flushed before its number is printed; ruse is killed in the middle.
Every number that came out must be in the image, in this process's eyes and in the next guest's. First in a raw image, then more often in
qcow2 images, which must be sound each time as well.

usage: disk.py RUSE SOURCE_ROOT [ENGINE]
"""
import hashlib
import os
import random
import shutil
import subprocess
import sys
import time

from guest import Guest, Talk

BLOCK = 16384
BLOCKS = 512
ROUNDS = 4
QCOW2_ROUNDS = 20

# fullblock: a pipe gives what it has.
WRITE = f"""
for n in "$@"; do
	dd of=/dev/vda bs={BLOCK} count=1 seek=$n iflag=fullblock conv=notrunc,fsync 2>/tmp/why || {{ cat /tmp/why >&2; exit 1; }}
	echo $n
done
"""

READ = f"""
cat /sys/block/vda/serial; echo
cat /sys/block/vdb/serial; echo
cat /sys/block/vda/ro /sys/block/vdb/ro
sha256sum </dev/vda
# Not through the kernel's own refusal: the device must refuse too.
blockdev --setrw /dev/vdb 2>/dev/null
head -c 65536 /dev/urandom | dd of=/dev/vdb bs=65536 conv=notrunc,fsync 2>/dev/null && echo written || echo refused
sha256sum </dev/vda
echo ready
read go
"""


def read_block(image, n):
    with open(image, "rb") as f:
        f.seek(n * BLOCK)
        return f.read(BLOCK)


def plain(guest, image):
    """A raw file with what the image shows, which is sound."""
    if not image.endswith(".qcow2"):
        return image
    checks = [([guest.ruse, "disk", "check", image], (0, 3))]
    if shutil.which("qemu-img"):
        checks.append((["qemu-img", "check", image], (0, 3)))
    for command, good in checks:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in good:
            guest.fail(f"{' '.join(command)}: status {done.returncode}: {done.stdout}{done.stderr}")
    subprocess.run([guest.ruse, "disk", "convert", "--force", image, image + ".raw"], check=True)
    return image + ".raw"


def kill_round(guest, image, rng, allowed, longest=1.5):
    """allowed: for each block the contents that it may have; the last one acknowledged, or one under way."""
    order = [rng.randrange(BLOCKS) for _ in range(400)]
    data = [rng.randbytes(BLOCK) for _ in order]
    feed = guest.path("feed")
    with open(feed, "wb") as f:
        f.write(b"".join(data))
    with open(feed, "rb") as stdin:
        child = guest.start("--no-reboot", "--disk", image, "--cpus", str(rng.choice([1, 2])),
                            command=["sh", "-c", WRITE, "write", *map(str, order)], stdin=stdin)
    talk = Talk(child.stdout.fileno())
    try:
        heard = talk.wait_for("\n") + b"\n"
        time.sleep(rng.uniform(0, longest))
    except (EOFError, TimeoutError) as why:
        child.kill()
        return guest.fail(f"no block was written: {why} {child.stderr.read()!r}")
    child.kill()
    child.wait()
    os.set_blocking(child.stdout.fileno(), True)
    heard += talk.heard + child.stdout.read()
    # The last line may have been cut.
    done = [int(n) for n in heard.split(b"\n")[:-1]]
    guest.expect("numbers that came out", done, order[: len(done)])
    for n, content in zip(order, data[: len(done)]):
        allowed[n] = [content]
    # Those after the last one acknowledged: written or not, and several if what came out lags behind.
    for n, content in list(zip(order, data))[len(done) :]:
        allowed[n].append(content)
    shows = plain(guest, image)
    lost = [n for n in range(BLOCKS) if read_block(shows, n) not in allowed[n]]
    # A block that was under way may be half there; one that nobody touched since it was acknowledged may not.
    torn = [n for n in lost if len(allowed[n]) > 1]
    lost = [n for n in lost if len(allowed[n]) == 1]
    if lost or len(torn) > 1:
        guest.fail(f"of {len(done)} acknowledged blocks these are lost: {lost}, torn: {torn}")
    for n in range(BLOCKS):
        allowed[n] = [read_block(shows, n)]
    return len(done)


def kill_with_qcow2(guest, base, rng):
    """Overlays over the raw image, a new one now and then."""
    counts = []
    for i in range(QCOW2_ROUNDS):
        if i % 6 == 0:
            image = guest.path(f"over{i}.qcow2")
            subprocess.run([guest.ruse, "disk", "create", image, "--backing", base, "--backing-format", "raw", "--cluster-size",
                            rng.choice(["64K", "16K", "4K", "1M"])], check=True)
            allowed = [[read_block(base, n)] for n in range(BLOCKS)]
        counts.append(kill_round(guest, image, rng, allowed, longest=0.6))
    return counts


def sha256(path):
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


def main():
    guest = Guest(sys.argv)
    seed = int(os.environ.get("RUSE_TEST_SEED", time.time_ns() % 1000000))
    print(f"seed {seed}; RUSE_TEST_SEED repeats it")
    rng = random.Random(seed)
    image, fixed = guest.path("disk"), guest.path("fixed")
    for path in image, fixed:
        with open(path, "wb") as f:
            f.write(rng.randbytes(BLOCK * BLOCKS))
    allowed = [[read_block(image, n)] for n in range(BLOCKS)]
    rounds = [kill_round(guest, image, rng, allowed) for _ in range(ROUNDS)]
    print(f"blocks acknowledged before the kill: {rounds}")
    print(f"the same with qcow2: {kill_with_qcow2(guest, image, rng)}")

    before, fixed_before = sha256(image), sha256(fixed)
    child = guest.start("--no-reboot", "--disk", f"{image},serial=our-disk", "--disk", f"{fixed},ro,serial=12345678901234567890",
                        command=["sh", "-c", READ])
    talk = Talk(child.stdout.fileno())
    said = talk.wait_for("ready").decode().split()
    # While that one runs, nobody else may write the image, and a reader of the other one may come.
    for option, kind in (image, "writer"), (f"{image},ro", "reader of what is written"), (f"{fixed}", "writer of what is read"):
        second = guest.run("--disk", option, command=["true"])
        guest.expect(f"status of a second VM, {kind}", second.returncode, 1)
        guest.expect_in(f"message of a second VM, {kind}", option.partition(",")[0].encode(), second.stderr)
        guest.expect("lines of the message", second.stderr.count(b"\n"), 1)
    child.stdin.write(b"go\n")
    guest.expect("status of the reader", child.wait(60), 0)
    guest.expect("what the next guest finds", said,
                 ["our-disk", "12345678901234567890", "0", "1", before, "-", "refused", before, "-"])
    guest.expect("the read-only image", sha256(fixed), fixed_before)
    guest.expect("the image that was only read", sha256(image), before)
    shared = guest.run("--disk", f"{fixed},ro", "--dry-run", command=["true"])
    guest.expect("status of a dry run", shared.returncode, 0)
    sys.exit(guest.failed)


main()
