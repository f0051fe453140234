"""Debian's UEFI firmware for AArch64 on the board virt: it starts GRUB from a disk, that Debian's kernel, and its variables outlive the run in the
file of --firmware-vars.

usage: aavmf.py RUSE SOURCE_ROOT [ENGINE]
"""
import os
import shutil
import subprocess
import sys

from guest import Guest, Talk, skip

VARS = "/usr/share/AAVMF/AAVMF_VARS.fd"
GRUB_CFG = "linux /vmlinuz console=ttyAMA0 quiet panic=-1\ninitrd /initrd\nboot\n"


def mtools(*argv):
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def make_disk(guest, grub):
    """An EFI system partition in an MBR without code."""
    image, part, config = guest.path("disk.img"), guest.path("part"), guest.path("grub.cfg")
    with open(config, "w", encoding="ascii") as f:
        f.write(GRUB_CFG)
    files = {grub: "EFI/BOOT/BOOTAA64.EFI", config: "EFI/debian/grub.cfg", guest.kernel: "vmlinuz", guest.initrd: "initrd"}
    sectors = sum(os.path.getsize(file) for file in files) // 512 + 32768
    sectors -= sectors % (16 * 63)
    mtools("mformat", "-i", part, "-C", "-F", "-T", str(sectors), "-h", "16", "-s", "63", "::")
    mtools("mmd", "-i", part, "::EFI", "::EFI/BOOT", "::EFI/debian")
    for file, name in files.items():
        mtools("mcopy", "-i", part, file, f"::{name}")
    with open(image, "wb") as f, open(part, "rb") as content:
        f.write(bytes(446) + bytes([0, 0, 0, 0, 0xef, 0, 0, 0]) + (2048).to_bytes(4, "little") + sectors.to_bytes(4, "little"))
        f.seek(510)
        f.write(b"\x55\xaa")
        f.seek(2048 * 512)
        shutil.copyfileobj(content, f)
    os.unlink(part)
    return image


def boot(guest, disk, variables):
    """To Debian's shell; a variable is looked for, and made."""
    child = subprocess.Popen([guest.ruse, "run", "--board", "virt", "--engine", guest.engine, "--firmware", "aavmf", "--firmware-vars", variables,
                              "--memory", "512M", "--disk", disk, "--no-reboot"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    guest.children.append(child)
    talk = Talk(child.stdout.fileno())
    talk.wait_for("guest:~#")
    return child, talk


def in_shell(child, talk, line, answer):
    """Typed until it was heard: a shell that sets its terminal loses what comes meanwhile."""
    for _ in range(10):
        os.write(child.stdin.fileno(), f"{line}\n".encode())
        try:
            return talk.wait_for(answer, timeout=20)
        except TimeoutError:
            continue
    return talk.wait_for(answer)


def main():
    guest = Guest(sys.argv, "arm64")
    if not os.path.exists(VARS):
        skip("qemu-efi-aarch64 is not installed")
    if not shutil.which("mformat"):
        skip("mtools is not installed")
    fetched = subprocess.run([os.path.join(sys.argv[2], "guests/fetch_grub_arm64.sh")], capture_output=True, text=True)
    if fetched.returncode:
        skip(f"GRUB can't be fetched: {(fetched.stderr.strip().splitlines() or ['?'])[-1]}")
    disk, variables = make_disk(guest, fetched.stdout.strip()), guest.path("variables")
    child, talk = boot(guest, disk, variables)
    in_shell(child, talk, "ls /sys/firmware/efi && echo by-$(echo uefi)", "by-uefi")
    os.write(child.stdin.fileno(), b"poweroff -f\n")
    guest.expect("status", (child.wait(timeout=300), child.stderr.read()), (0, b""))
    guest.expect("size of the variables", os.path.getsize(variables), os.path.getsize(VARS))
    with open(variables, "rb") as f:
        content = f.read(1 << 20)
    # What firmware writes at its first start: the entries of its boot menu.
    guest.expect_in("the variables", "BootOrder".encode("utf-16-le"), content)
    both = subprocess.run([guest.ruse, "run", "--board", "virt", "--firmware", "aavmf", "--kernel", guest.kernel], capture_output=True)
    guest.expect("status of both", both.returncode, 1)
    guest.expect_in("both", b"give either --kernel or --firmware", both.stderr)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
