#!/usr/bin/env python3
"""Our images under QEMU's tools, and theirs under ours.

Example: interop.py RUSE DISK_IO [FIRST-SEED COUNT]

Images of random shape are used in turns by disk_io (our code) and qemu-io, over chains of backing files; after each turn both checks
must find nothing, and both conversions must give what the model says.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

RUSE, DISK_IO = sys.argv[1:3]
SIZE_UNIT = 512


def run(*command, status=0, text=None):
    done = subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True)
    if done.returncode != status:
        raise SystemExit(f"{' '.join(map(str, command))}: status {done.returncode}, not {status}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def convert_and_compare(path, model, what):
    for tool in ("qemu", "ruse"):
        out = f"{path}.{tool}.raw"
        if tool == "qemu":
            run("qemu-img", "convert", "-O", "raw", path, out)
        else:
            run(RUSE, "disk", "convert", path, out, "--format", "qcow2")
        with open(out, "rb") as file:
            data = file.read()
        os.unlink(out)
        if data != bytes(model):
            at = next(i for i in range(len(model)) if i >= len(data) or data[i] != model[i])
            raise SystemExit(f"{what}: {tool} reads other data at {at} (lengths {len(data)}, {len(model)})")


def check(path, what):
    # qemu-img check: 0 sound, 2 corruption, 3 leaks.
    done = subprocess.run(["qemu-img", "check", path], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{what}: qemu-img check: {done.stdout}{done.stderr}")
    run(RUSE, "disk", "check", path, "--format", "qcow2")


class Image:
    def __init__(self, rng, directory, version, cluster, size):
        self.rng, self.directory, self.layers = rng, directory, []
        self.version, self.cluster, self.model = version, cluster, bytearray(size)
        self.add_layer()

    def path(self):
        return self.layers[-1]

    def add_layer(self):
        path = f"{self.directory}/layer{len(self.layers)}.qcow2"
        theirs, backing = self.rng.random() < 0.5, self.layers[-1] if self.layers else None
        name = os.path.basename(backing) if backing and self.rng.random() < 0.5 else backing
        if theirs:
            run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={self.cluster},compat={'1.1' if self.version == 3 else '0.10'}",
                *(["-F", "qcow2", "-b", name] if backing else []), path, *([] if backing else [len(self.model)]))
        else:
            run(RUSE, "disk", "create", path, *([] if backing else [len(self.model)]), "--version", self.version, "--cluster-size",
                self.cluster, *(["--backing", name] if backing else []))
        self.layers.append(path)

    def use(self, count):
        ours, lines = self.rng.random() < 0.6, []
        for _ in range(count):
            at = self.rng.randrange(len(self.model) // SIZE_UNIT) * SIZE_UNIT
            length = min(len(self.model) - at, SIZE_UNIT * self.rng.choice([1, 8, 100, 128, 700]))
            kind = self.rng.choice(["write", "write", "write", "zero"])
            unmap = self.rng.random() < 0.5
            value = self.rng.randrange(1, 256) if kind == "write" else 0
            self.model[at:at + length] = bytes([value]) * length
            if ours:
                lines.append(f"write {at} {length} {value}" if kind == "write" else f"zero {at} {length} {int(unmap)}")
            else:
                lines.append(f"write -P {value} {at} {length}" if kind == "write" else f"write -z {'-u ' if unmap else ''}{at} {length}")
        if ours:
            run(DISK_IO, self.path(), "qcow2", text="\n".join(lines) + "\n")
        else:
            run("qemu-io", "-f", "qcow2", self.path(), *[word for line in lines for word in ("-c", line)])
        return "ours" if ours else "theirs"

    def resize(self):
        if self.rng.random() < 0.3 and len(self.layers) == 1:
            size = self.rng.randrange(1, len(self.model) // SIZE_UNIT + 1) * SIZE_UNIT
        else:
            size = len(self.model) + self.rng.randrange(1, 3000) * SIZE_UNIT
        shrinks = size < len(self.model)
        if self.rng.random() < 0.5:
            run("qemu-img", "resize", "-q", "-f", "qcow2", *(["--shrink"] if shrinks else []), self.path(), size)
        else:
            run(RUSE, "disk", "resize", self.path(), size, *(["--shrink"] if shrinks else []))
        self.model = self.model[:size] + bytearray(max(0, size - len(self.model)))

    def commit(self):
        if self.rng.random() < 0.5:
            run("qemu-img", "commit", "-q", "-f", "qcow2", self.path())
        else:
            run(RUSE, "disk", "commit", self.path())
        check(self.layers[-2], "the backing file after a commit")
        convert_and_compare(self.layers[-2], self.model, "the backing file after a commit")

    def compress(self):
        path = self.path() + ".small.qcow2"
        kind = self.rng.choice(["zlib", "zstd"]) if self.version == 3 else "zlib"
        ours = self.rng.random() < 0.5
        if ours:
            run(RUSE, "disk", "convert", "-c", self.path(), path, "--compression", kind, "--version", self.version, "--cluster-size",
                max(self.cluster, 4096))
        else:
            run("qemu-img", "convert", "-q", "-c", "-O", "qcow2", "-o",
                f"compat={'1.1' if self.version == 3 else '0.10'}" + (f",compression_type={kind}" if self.version == 3 else ""), self.path(), path)
        os.rename(path, f"{self.directory}/layer0.qcow2")
        for layer in self.layers[1:]:
            os.unlink(layer)
        del self.layers[1:]
        return "ours" if ours else "theirs"

    def snapshot(self):
        """What a snapshot holds stays when we write."""
        run("qemu-img", "snapshot", "-c", "then", self.path())
        held = bytes(self.model)
        while self.use(4) == "theirs":
            pass
        check(self.path(), "after writing beside a snapshot")
        out = self.path() + ".then.raw"
        run("qemu-img", "convert", "-l", "snapshot.name=then", "-O", "raw", self.path(), out)
        with open(out, "rb") as file:
            if file.read() != held:
                raise SystemExit("a snapshot has changed")
        os.unlink(out)
        run("qemu-img", "snapshot", "-d", "then", self.path())


def play(seed, directory):
    rng = random.Random(seed)
    version = 2 if rng.random() < 0.2 else 3
    cluster = rng.choice([512, 1024, 4096, 65536, 65536, 262144])
    image = Image(rng, directory, version, cluster, SIZE_UNIT * rng.randrange(8, 6000))
    for turn in range(7):
        what = rng.choice(["use", "use", "use", "layer", "resize", "commit", "compress", "snapshot"])
        if what == "layer" and len(image.layers) < 4:
            image.add_layer()
        elif what == "resize":
            image.resize()
        elif what == "commit" and len(image.layers) > 1:
            image.commit()
        elif what == "compress":
            what += " " + image.compress()
        elif what == "snapshot":
            image.snapshot()
        else:
            what = "use " + image.use(rng.randrange(1, 12))
        where = f"seed {seed}, turn {turn} ({what}), version {version}, clusters of {cluster}"
        check(image.path(), where)
        convert_and_compare(image.path(), image.model, where)


def locks(directory):
    path = f"{directory}/locked.qcow2"
    run(RUSE, "disk", "create", path, "1M")
    holder = subprocess.Popen([DISK_IO, path, "qcow2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    holder.stdin.write("hold\n")
    holder.stdin.flush()
    holder.stdout.readline()
    assert "lock" in run("qemu-io", "-f", "qcow2", path, "-c", "write 0 512", status=1)
    assert "lock" in run("qemu-img", "check", path, status=1)
    assert "in use by another machine" in run(DISK_IO, path, "qcow2", status=1)
    assert "in use by another machine" in run(RUSE, "disk", "check", path, status=1)
    run(RUSE, "disk", "info", path)
    holder.stdin.close()
    assert holder.wait() == 0
    for options in ([], ["-r"]):
        holder = subprocess.Popen(["qemu-io", "-f", "qcow2", *options, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        holder.stdin.write("read 0 512\n")
        holder.stdin.flush()
        while "read 512" not in holder.stdout.readline():
            pass
        assert "in use by another machine" in run(DISK_IO, path, "qcow2", status=1)
        # Readers share.
        run(RUSE, "disk", "check", path, status=1 if not options else 0)
        holder.stdin.write("quit\n")
        holder.stdin.flush()
        holder.wait()
    run(DISK_IO, path, "qcow2", text="write 0 512 1\n")


def refusals(directory):
    base, top = f"{directory}/r/base.img", f"{directory}/top.qcow2"
    os.mkdir(f"{directory}/r")
    run(RUSE, "disk", "create", base, "1M")
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, top)
    run(RUSE, "disk", "convert", top, top + ".raw")
    # Not beside the image, by whatever way.
    for name in (f"{directory}/r/../outside.img", f"{directory}/r/link.img"):
        inner = f"{directory}/r/inner.qcow2"
        open(f"{directory}/outside.img", "wb").write(b"secret" + bytes(1 << 20))
        if not os.path.islink(f"{directory}/r/link.img"):
            os.symlink("../outside.img", f"{directory}/r/link.img")
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", name, inner)
        assert "not in its directory" in run(RUSE, "disk", "convert", inner, top + ".2", status=1)
        run(RUSE, "disk", "convert", inner, top + ".2", "--backing-dir", directory)
        os.unlink(top + ".2")
        os.unlink(inner)
    # Names that are no paths, formats that are not said or not known, circles.
    bad = f"{directory}/bad.qcow2"
    for options, words in ((["-F", "raw", "-b", "nbd:localhost:1"], "no path"), (["-F", "vmdk", "-b", "r/base.img"], "format vmdk"),
                           (["-F", "raw", "-b", "json:{}"], "no path"), (["-F", "raw", "-b", "/dev/zero"], "neither a file"),
                           (["-F", "qcow2", "-b", "bad.qcow2"], "itself"), (["-F", "qcow2", "-b", "r/base.img"], "no qcow2 image")):
        run("qemu-img", "create", "-q", "-u", "-f", "qcow2", *options, bad, "1M")
        said = run(RUSE, "disk", "convert", bad, top + ".2", status=1)
        assert words in said, said
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "other.qcow2", bad, "1M")
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "bad.qcow2", f"{directory}/other.qcow2", "1M")
    assert "circle" in run(RUSE, "disk", "convert", bad, top + ".2", status=1)
    with open(bad, "r+b") as file:  # the format's extension becomes an unknown one
        file.seek(112)
        file.write(b"\x12\x34\x56\x78")
    assert "doesn't say of which format" in run(RUSE, "disk", "convert", bad, top + ".2", status=1)
    # A raw disk into which a guest wrote a header, and the other way round.
    with open(f"{directory}/guest.img", "wb") as file, open(bad, "rb") as header:
        file.write(header.read(65536) + bytes(1 << 20))
    assert "looks like a qcow2 image" in run(RUSE, "disk", "convert", f"{directory}/guest.img", top + ".2", status=1)
    os.rename(f"{directory}/guest.img", f"{directory}/guest.qcow2")
    run(RUSE, "disk", "convert", f"{directory}/guest.qcow2", top + ".2", "--format", "raw")
    # Features that we don't have. (Encryption is AES's: QEMU measures the machine to create LUKS, and fails on a busy one.)
    for option, words in (("extended_l2=on,cluster_size=65536", "extended_l2"), (f"data_file={directory}/data", "data_file"),
                          ("encrypt.format=aes,encrypt.key-secret=s", "encrypted")):
        run("qemu-img", "create", "-q", "-f", "qcow2", *(["--object", "secret,id=s,data=x"] if "encrypt" in option else []), "-o", option,
            f"{directory}/feature.qcow2", "1M")
        said = run(RUSE, "disk", "convert", f"{directory}/feature.qcow2", top + ".3", status=1)
        assert words in said, said
    # Left open with lazy refcounts: QEMU marks it as dirty. Read-only is fine; a repair mends it.
    lazy = f"{directory}/lazy.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", lazy, "4M")
    run("qemu-io", "-f", "qcow2", lazy, "-c", "write -P 5 0 1M", "-c", "sigraise 9", status=-9)
    assert "stale" in run(DISK_IO, lazy, "qcow2", status=1)
    assert run(RUSE, "disk", "check", lazy, status=1)
    run(RUSE, "disk", "check", lazy, "-r", "all")
    check(lazy, "after a repair")
    run(DISK_IO, lazy, "qcow2", text="write 0 512 1\n")
    # A leak, and a reference without a count.
    with open(f"{directory}/locked.qcow2", "r+b") as file:
        file.seek(2 * 65536 + 2 * 30)
        file.write(b"\0\1")
    run(RUSE, "disk", "check", f"{directory}/locked.qcow2", status=3)
    run(RUSE, "disk", "check", f"{directory}/locked.qcow2", "-r", "leaks")
    check(f"{directory}/locked.qcow2", "after a repair of leaks")
    with open(f"{directory}/locked.qcow2", "r+b") as file:
        file.seek(2 * 65536 + 2 * 3)
        file.write(b"\0\0" * 3)
    run(RUSE, "disk", "check", f"{directory}/locked.qcow2", status=1)
    run(RUSE, "disk", "check", f"{directory}/locked.qcow2", "-r", "all")
    check(f"{directory}/locked.qcow2", "after a repair of all")


def main():
    if not shutil.which("qemu-img"):
        print("skipped: no qemu-img: install qemu-utils")
        sys.exit(77)
    first, count = (int(sys.argv[3]), int(sys.argv[4])) if len(sys.argv) > 4 else (1, 10)
    with tempfile.TemporaryDirectory(prefix="ruse-interop-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory:
        locks(directory)
        refusals(directory)
        for seed in range(first, first + count):
            place = f"{directory}/{seed}"
            os.mkdir(place)
            play(seed, place)
            shutil.rmtree(place)
    print(f"{count} images used in turns")


main()
