"""Debian's OVMF on the board pc: its shell on the serial port, variables that outlive the run in the file of --firmware-vars and end
with it otherwise, and an EFI system partition that `ruse run DISK` starts without being told what it is.

usage: ovmf.py RUSE SOURCE_ROOT [ENGINE]
"""
import os
import shutil
import subprocess
import sys

from guest import Guest, Talk, skip

CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
PROMPT = "Shell> "
GUID = "3b5a2c1e-0a1b-4c3d-8e7f-001122334455"
SCRIPT = "\r\necho started from %s\r\nreset -s\r\n"


class Shell:
    def __init__(self, guest, *options):
        self.child = subprocess.Popen([guest.ruse, "run", "--engine", guest.engine, "--tb-cache", "none", "--no-reboot", *options],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        guest.children.append(self.child)
        self.talk = Talk(self.child.stdout.fileno())

    def say(self, text):
        os.write(self.child.stdin.fileno(), text.encode())

    def prompt(self):
        self.talk.wait_for("any other key to continue", timeout=300)
        self.say("\x1b")
        self.talk.wait_for(PROMPT)

    def command(self, line):
        self.say(line + "\r")
        return self.talk.wait_for(PROMPT)

    def end(self):
        self.say("reset -s\r")
        _, errors = self.child.communicate(timeout=300)
        return self.child.returncode, errors


def variables(guest):
    path = guest.path("variables")
    options = ["--board", "pc", "--firmware", "ovmf", "--memory", "128M"]
    for name, more, wanted in [("made", ["--firmware-vars", path], False), ("kept", ["--firmware-vars", path], True),
                               ("without a file", [], False)]:
        shell = Shell(guest, *options, *more)
        shell.prompt()
        heard = shell.command(f"setvar Kept -guid {GUID}")
        if (b"67 75 65 73 74" in heard) != wanted:
            guest.fail(f"{name}: the variable is{' not' if wanted else ''} there: {heard!r}")
        shell.command(f'setvar Kept -guid {GUID} -nv -bs ="guest"' if not wanted else "ver")
        guest.expect(name, shell.end(), (0, b""))
    guest.expect("size of the file", os.path.getsize(path), os.path.getsize(VARS))
    with open(path, "rb") as kept, open(VARS, "rb") as fresh:
        if kept.read() == fresh.read():
            guest.fail("nothing was stored")
    # A file of another kind is refused before anything starts.
    odd = guest.path("odd")
    with open(odd, "wb") as f:
        f.write(b"x" * 1000)
    done = subprocess.run([guest.ruse, "run", *options, "--firmware-vars", odd], capture_output=True)
    guest.expect_in("a wrong file", b"is no file of UEFI variables", done.stderr)
    guest.expect("status of a wrong file", done.returncode, 1)


def disk(guest):
    """An EFI system partition in an MBR without code."""
    image, part, script = guest.path("disk.img"), guest.path("part"), guest.path("startup.nsh")
    with open(script, "w", newline="") as f:
        f.write(SCRIPT % "the disk")
    subprocess.run(["mformat", "-i", part, "-C", "-T", str(65536), "-h", "16", "-s", "63", "::"], check=True)
    subprocess.run(["mcopy", "-i", part, script, "::startup.nsh"], check=True)
    with open(image, "wb") as f, open(part, "rb") as content:
        sectors = os.path.getsize(part) // 512
        f.write(bytes(446) + bytes([0, 0, 0, 0, 0xef, 0, 0, 0]) + (2048).to_bytes(4, "little") + sectors.to_bytes(4, "little"))
        f.seek(510)
        f.write(b"\x55\xaa")
        f.seek(2048 * 512)
        shutil.copyfileobj(content, f)
    done = subprocess.run([guest.ruse, "run", image, "--engine", guest.engine, "--tb-cache", "none", "--net", "none"],
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=300)
    guest.expect_in("the disk", b"started from the disk", done.stdout)
    guest.expect("status of the disk", (done.returncode, done.stderr), (0, b""))
    with open(image, "r+b") as f:
        f.truncate(1 << 20)
        f.write(bytes(512))
    done = subprocess.run([guest.ruse, "run", image, "--engine", guest.engine], capture_output=True)
    guest.expect_in("an empty disk", b"has neither boot code nor an EFI system partition", done.stderr)


def main():
    guest = Guest(sys.argv)
    if not os.path.exists(CODE):
        skip("ovmf is not installed")
    if not shutil.which("mformat"):
        skip("mtools is not installed")
    variables(guest)
    disk(guest)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
