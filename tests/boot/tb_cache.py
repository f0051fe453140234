"""Translations that are kept from one run to the next: --tb-cache."""
import fcntl
import os
import re
import subprocess
import sys
import time

from guest import Guest

guest = Guest(sys.argv)
kept = guest.path("kept")


def boot(*options, directory=kept):
    done = guest.run("--tb-cache", directory, "--stats", *options, command=["echo", "here"])
    guest.expect("the command's output", done.stdout, b"here\n")
    err = done.stderr.decode(errors="replace")
    if done.returncode != 0:
        guest.fail(f"exit status {done.returncode}: {err[-500:]}")

    def figure(name):
        found = re.search(rf"^{name}: (\d+)$", err, re.M)
        return int(found[1]) if found else 0
    return figure("translated blocks"), figure("blocks from the file of an earlier run"), err


def files(ending):
    return [os.path.join(kept, name) for name in sorted(os.listdir(kept)) if name.endswith(ending)]


def settled():
    """Waits until no keeper is at work."""
    for name in files(".new"):
        with open(name, "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)


def replace(change):
    """The file with other contents; what keepers left is gone."""
    [name] = files(".cache")
    for new in files(".new"):
        os.unlink(new)
    with open(name, "rb+") as file:
        data = change(bytearray(file.read()))
        file.seek(0)
        file.truncate()
        file.write(data)


# Two cold ones at once, for each other's files.
first = guest.start("--tb-cache", kept, "--no-reboot", command=["true"])
cold, loaded, _ = boot()
guest.expect("blocks from the file at first", loaded, 0)
guest.expect("exit status of the other", first.wait(), 0)
guest.expect("mode of the directory", oct(os.stat(kept).st_mode & 0o7777), oct(0o700))

# Warm, each block compared with a new translation. Where the kernel lies is another address each time.
for _ in range(2):
    warm, loaded, err = boot("--check", "tb-cache")
    if warm > cold / 10 or loaded < cold * 8 / 10:
        guest.fail(f"a warm run translates {warm} blocks and loads {loaded}, a cold one translates {cold}")
    guest.expect("files in use", len(files(".cache")), 1)
[name] = files(".cache")
with open(name, "rb") as file:
    good = bytearray(file.read())

# Damage: in a few of the records, cut off, something else. Never more than a warning.
replace(lambda data: data[:len(data) // 2] + bytearray(b ^ (i % 500 == 0) for i, b in enumerate(data[len(data) // 2:])))
guest.expect_in("the warning for damage inside", "is damaged and is not used any more", boot()[2])
for what, change in {"a part": lambda data: good[:len(good) // 3], "a text": lambda data: bytearray(b"nothing of ours\n" * 9)}.items():
    settled()
    replace(change)
    _, loaded, err = boot()
    guest.expect_in(f"the warning for {what}", "is damaged, or not of this user alone", err)
    guest.expect(f"blocks from {what}", loaded, 0)

# What others can write to is not believed.
settled()
replace(lambda data: good)
os.chmod(name, 0o622)
_, loaded, err = boot()
guest.expect_in("the warning for a file of others", "is damaged, or not of this user alone", err)
guest.expect("blocks from a file of others", loaded, 0)
settled()
os.chmod(kept, 0o777)
refused = guest.run("--tb-cache", kept, command=["true"])
guest.expect_in("the sentence for a directory of others", b"others than this user can write there", refused.stderr)
guest.expect("exit status for a directory of others", refused.returncode, 1)

# A VM that is killed leaves what it had; `none` leaves nothing.
kept = guest.path("killed")
child = guest.start("--tb-cache", kept, "--no-reboot", command=["sh", "-c", "echo up; sleep 100"])
guest.expect("the guest's word", child.stdout.readline(), b"up\n")
child.kill()
child.wait()
settled()
warm, loaded, _ = boot(directory=kept)
if loaded < cold / 2:
    guest.fail(f"after a VM that was killed {loaded} blocks are loaded, and {warm} translated")
os.environ["RUSE_CACHE"] = guest.path("empty")
os.mkdir(guest.path("empty"))
guest.run("--tb-cache", "none", command=["true"])
guest.expect("files with none", os.listdir(guest.path("empty")), [])
plain = [word for word in guest.arguments((), ["true"]) if word not in ("--tb-cache", "none")]
subprocess.run(plain, capture_output=True, stdin=subprocess.DEVNULL, timeout=300)
guest.expect("the default directory", os.listdir(guest.path("empty")), ["tb"])
sys.exit(guest.failed)
