"""Virtio queues as Debian's kernel uses them: packed rings on every device, and data that comes through them unharmed; a queue
with an interrupt of its own for each processor; and limits that slow down what they should, and nothing else.

usage: rings.py RUSE SOURCE_ROOT [ENGINE]
"""
import functools
import hashlib
import http.server
import os
import random
import sys
import threading

from guest import Guest

SIZE = 8 << 20
VERSION_1, RING_PACKED = 32, 34

# Several writers and readers at once: chains are given back in another order than they were taken.
SCRIPT = f"""
cd /sys/bus/virtio/devices
for d in *; do echo $(cat $d/device) $(cat $d/features); done
echo
md5sum </dev/vda
for n in 0 1 2 3; do
	dd if=/dev/vda of=/dev/vdb bs=64k skip=$((n * 32)) seek=$((n * 32)) count=32 iflag=direct oflag=direct 2>/dev/null &
done
wait
md5sum </dev/vdb
wget -q -O - http://10.0.2.2:$1/disk | md5sum
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve(directory):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def features(lines):
    return {int(device, 16): {bit for bit, c in enumerate(text) if c == "1"} for device, text in map(str.split, lines)}


def packed_rings(guest):
    www = guest.path("www")
    os.mkdir(www)
    image, copy = os.path.join(www, "disk"), guest.path("copy")
    data = random.randbytes(SIZE)
    with open(image, "wb") as f:
        f.write(data)
    with open(copy, "wb") as f:
        f.truncate(SIZE)
    server = serve(www)
    done = guest.run("--cpus", "2", "--disk", image, "--disk", copy, "--net", "user",
                     command=["sh", "-c", SCRIPT, "rings", str(server.server_port)])
    guest.expect("status", (done.returncode, done.stderr), (0, b""))
    listing, _, sums = done.stdout.decode().partition("\n\n")
    found = features(listing.splitlines())
    guest.expect("devices", sorted(found), [1, 2, 3, 4])
    for device, bits in found.items():
        for bit in VERSION_1, RING_PACKED:
            if bit not in bits:
                guest.fail(f"device {device} has no feature {bit}: {sorted(bits)}")
    wanted = hashlib.md5(data).hexdigest()
    guest.expect("what was read, copied and fetched", [line.split()[0] for line in sums.splitlines()], [wanted] * 3)
    with open(copy, "rb") as f:
        guest.expect("the copy", hashlib.md5(f.read()).hexdigest(), wanted)


QUEUES = """
for disk in vda vdb; do ls /sys/block/$disk/mq | wc -l; done
for net in eth0 eth1; do ls -d /sys/class/net/$net/queues/rx-* | wc -l; ls -d /sys/class/net/$net/queues/tx-* | wc -l; done
grep -o 'virtio[0-9]*-.*' /proc/interrupts
echo
for n in 0 1; do taskset $((n + 1)) dd if=/dev/vda of=/dev/null bs=4k count=50 iflag=direct 2>/dev/null; done
grep 'virtio0-req' /proc/interrupts | awk '{ print $2 + $3 }'
"""


def several_queues(guest):
    image = guest.path("copy")
    done = guest.run("--board", "pc", "--cpus", "2", "--disk", image, "--disk", f"{image}2,queues=1", "--net", "user", "--net",
                     "user,queues=1", command=["sh", "-c", QUEUES])
    guest.expect("status with several queues", (done.returncode, done.stderr), (0, b""))
    listing, _, counts = done.stdout.decode().partition("\n\n")
    lines = listing.splitlines()
    guest.expect("queues of disks", lines[:2], ["2", "1"])
    guest.expect("queues of cards", lines[2:6], ["2", "2", "1", "1"])
    vectors = {line.strip() for line in lines[6:]}
    for name in ("0-config", "0-req.0", "0-req.1", "1-req.0", "2-input.0", "2-output.0", "2-input.1", "2-output.1", "3-input.0"):
        if "virtio" + name not in vectors:
            guest.fail(f"no interrupt virtio{name}: {sorted(vectors)}")
    for n, count in enumerate(counts.split()):
        if int(count) < 30:
            guest.fail(f"the disk's queue {n} has interrupted only {count} times")


# Reads while something else counts: the processor is not what waits.
LIMITS = """
up() { cut -d ' ' -f 1 /proc/uptime; }
up; dd if=/dev/vda of=/dev/null bs=256k count=16 iflag=direct 2>/dev/null; up
dd if=/dev/vdb of=/dev/null bs=4k count=80 iflag=direct 2>/dev/null &
n=0; while [ -d /proc/$! ]; do i=0; while [ $i -lt 500 ]; do i=$((i + 1)); done; n=$((n + 1)); done; up
wget -q -O - http://10.0.2.2:$1/copy | md5sum >/dev/null; up
echo $n
"""


def limits(guest):
    image = guest.path("copy")
    server = serve(os.path.dirname(image))
    done = guest.run("--cpus", "1", "--stats", "--disk", f"{image},rate=bytes:2M/128K", "--disk", f"{image}2,rate=ops:40/4",
                     "--net", "user,rate=bytes:4M/64K", command=["sh", "-c", LIMITS, "limits", str(server.server_port)])
    guest.expect("status with limits", done.returncode, 0)
    said = done.stdout.decode().split()
    times = [float(word) for word in said[:4]]
    for name, seconds, ideal in (("2 MiB a second", times[1] - times[0], (4 - 0.125) / 2),
                                 ("40 requests a second", times[2] - times[1], 76 / 40),
                                 ("4 MiB of network a second", times[3] - times[2], SIZE / (4 << 20))):
        print(f"{name}: {seconds:.2f} s, {ideal:.2f} s at best")
        # At least that, but for what the clock leaves out; at most what a slow host makes of it.
        if not ideal * 0.95 - 0.05 <= seconds <= 3 * ideal + 2:
            guest.fail(f"{name}: {seconds:.2f} s instead of {ideal:.2f} s")
    if int(said[4]) < 20:
        guest.fail(f"while the disk was slow the guest has counted to {said[4]} only")
    for text in b"disk pauses by rate limit: ", b"network receive pauses by rate limit: ", b"disk bytes read: ":
        guest.expect_in("figures", text, done.stderr)


def main():
    guest = Guest(sys.argv)
    packed_rings(guest)
    with open(guest.path("copy2"), "wb") as f:
        f.truncate(SIZE)
    several_queues(guest)
    limits(guest)
    sys.exit(guest.failed)


main()
