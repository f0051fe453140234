"""CDs and SATA disks on the board pc. A GRUB rescue CD, started by `ruse run FILE.iso` with SeaBIOS and with OVMF: its prompt, and what
that sees. From the same CD memtest86+: it tests, which is read from the screen and heard at the serial port. Linux's drivers: a disk
behind AHCI with queued commands, read and written; the CD, read.

usage: cd.py RUSE SOURCE_ROOT [ENGINE]
"""
import hashlib
import os
import shutil
import subprocess
import sys
import time

from guest import APPEND, Guest, Talk, skip

# UEFI firmware reads the serial port itself, and would take keys away from GRUB's own driver.
CONFIG = """
if [ $grub_platform = pc ]; then
	serial --unit=0 --speed=115200
	terminal_input serial
	terminal_output serial
fi
set timeout=-1
echo "this is the CD"
menuentry "memory test" --hotkey=m { linux16 /boot/memtest86+x64.bin console=ttyS0,115200 }
"""
PROMPT = "grub> "
DISK = os.urandom(1 << 20) * 32


def fetched(root, script):
    done = subprocess.run([os.path.join(root, "guests", script)], capture_output=True, text=True)
    if done.returncode != 0:
        skip(f"{script} does not end as it should: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return done.stdout.splitlines()


def make_cd(guest, memtest):
    for tool in ["grub-mkrescue", "xorriso", "mformat"]:
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    tree, image = guest.path("tree"), guest.path("rescue.iso")
    os.makedirs(os.path.join(tree, "boot/grub"))
    shutil.copy(memtest, os.path.join(tree, "boot"))
    with open(os.path.join(tree, "boot/grub/grub.cfg"), "w") as f:
        f.write(CONFIG)
    subprocess.run(["grub-mkrescue", "-o", image, tree], check=True, capture_output=True)
    return image


def start(guest, *options):
    child = subprocess.Popen([guest.ruse, "run", "--engine", guest.engine, "--tb-cache", "none", "--no-reboot", "--net", "none", *options],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    guest.children.append(child)
    return child, Talk(child.stdout.fileno())


def rescue(guest, image):
    for options, platform in [([], b"i386-pc"), (["--firmware", "ovmf"], b"x86_64-efi")]:
        child, talk = start(guest, image, *options)
        talk.wait_for("memory test", timeout=300)
        os.write(child.stdin.fileno(), b"c")
        talk.wait_for(PROMPT)
        for line, answer in [("echo $grub_cpu-$grub_platform", platform), ("ls /boot/", b"memtest86+x64.bin")]:
            os.write(child.stdin.fileno(), line.encode() + b"\r")
            guest.expect_in(line, answer, talk.wait_for(PROMPT))
        os.write(child.stdin.fileno(), b"halt\r")
        guest.expect("status of " + platform.decode(), child.wait(timeout=300), 0)


def memory_test(guest, image):
    child, talk = start(guest, image, "--memory", "128M", "--name", f"memtest-{os.getpid()}")
    talk.wait_for("memory test", timeout=300)
    os.write(child.stdin.fileno(), b"m")
    talk.wait_for("Memtest86+", timeout=300)
    talk.wait_for("Status: Testing", timeout=300)
    time.sleep(3)
    screen = subprocess.run([guest.ruse, "ctl", f"memtest-{os.getpid()}", "screen"], capture_output=True, text=True).stdout
    for text in ["Memtest86+ v", "Errors: 0", "Status: Testing", "ruse virtual processor"]:
        if text not in screen:
            guest.fail(f"memtest86+ shows no {text!r}: {screen!r}")
    keyboard(guest)
    child.kill()
    child.wait()


def keyboard(guest):
    """memtest86+ reads the keyboard's port itself, and shows its menu on the screen."""
    name = f"memtest-{os.getpid()}"
    typed = subprocess.run([guest.ruse, "ctl", name, "key", "f1"], capture_output=True, text=True)
    guest.expect("a key", (typed.returncode, typed.stderr), (0, ""))
    end, screen = time.monotonic() + 20, ""
    while "Test selection" not in screen and time.monotonic() < end:
        time.sleep(0.2)
        screen = subprocess.run([guest.ruse, "ctl", name, "screen"], capture_output=True, text=True).stdout
    guest.expect_in("memtest86+'s menu", "Test selection", screen)


def linux(guest, root, image, memtest):
    kernel, initrd = fetched(root, "fetch_full.sh")
    guest.initrd = initrd
    disk = guest.path("disk.img")
    with open(disk, "wb") as f:
        f.write(DISK)
    child = subprocess.Popen(guest.arguments(("--board", "pc", "--memory", "512M", "--cpus", "2", "--no-reboot", "--cdrom", image,
                                              "--disk", disk + ",if=ahci,serial=RUSE-0815"), kernel=kernel),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    guest.children.append(child)
    talk = Talk(child.stdout.fileno())

    def command(line):
        time.sleep(0.5)
        os.write(child.stdin.fileno(), line.encode() + b"\n")
        return talk.wait_for("guest:~# ", timeout=300).replace(b"\r", b"")

    talk.wait_for("guest:~# ", timeout=300)
    command("for i in 1 2 3 4 5 6 7 8 9; do [ -e /dev/sda ] && [ -e /dev/sr0 ] && break; sleep 1; done")
    heard = command("dmesg | grep -E 'ata[0-9.]+: '")
    for text in [b"65536 sectors", b"NCQ (depth 32)", b"ATAPI: RUSE CD-ROM"]:
        guest.expect_in("the kernel's drives", text, heard)
    guest.expect_in("the disk", hashlib.sha256(DISK).hexdigest().encode(), command("sha256sum </dev/sda"))
    # Many at a time, in both directions, and what was flushed is in the file.
    command("for i in 0 4 8 12; do dd if=/dev/sda of=/dev/sda bs=64k iflag=direct skip=$((i * 16)) seek=$((256 + i * 16)) count=64 conv=fsync 2>/dev/null & done; wait")
    with open(disk, "rb") as f:
        content = f.read()
    wanted = DISK[:16 << 20] * 2
    guest.expect("what was written", hashlib.sha256(content).hexdigest(), hashlib.sha256(wanted).hexdigest())
    with open(memtest, "rb") as f:
        guest.expect_in("the CD", hashlib.sha256(f.read()).hexdigest().encode(),
                        command("mount -t iso9660 -o ro /dev/sr0 /mnt && sha256sum </mnt/boot/memtest86+x64.bin"))
    guest.expect_in("a write to the CD", b"refused", command("umount /mnt; dd if=/dev/zero of=/dev/sr0 bs=2048 count=1 2>/dev/null || echo refu''sed"))
    guest.expect_in("errors", b"\n0\n", command("dmesg | grep -ciE 'ata[0-9.]+:.*(exception|error|failed|timeout)'"))
    time.sleep(0.5)
    os.write(child.stdin.fileno(), b"poweroff -f\n")
    guest.expect("status of Linux", child.wait(timeout=300), 0)


def main():
    guest = Guest(sys.argv)
    memtest = fetched(sys.argv[2], "fetch_memtest.sh")[0]
    image = make_cd(guest, memtest)
    rescue(guest, image)
    memory_test(guest, image)
    linux(guest, sys.argv[2], image, memtest)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
