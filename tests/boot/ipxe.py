"""Booting from the network: SeaBIOS starts iPXE from the ROM of the network card, which gets its script, Debian's kernel and an initramfs
by TFTP from a directory of the host (--net user,tftp=DIRECTORY,bootfile=NAME). Nothing outside of that directory can be fetched, and
nothing can be written there.

usage: ipxe.py RUSE SOURCE_ROOT [ENGINE]
"""
import os
import shutil
import subprocess
import sys

from guest import Guest, Talk, skip

ROM = "/usr/lib/ipxe/qemu/pxe-virtio.rom"
SCRIPT = """#!ipxe
echo the script runs on ${net0/mac}
imgfetch ../secret || echo the way out is closed
imgfetch link || echo so is the link
kernel boot/vmlinuz console=ttyS0 panic=-1 quiet initrd=initrd
initrd boot/initrd
boot
"""


def main():
    guest = Guest(sys.argv)
    if not os.path.exists(ROM):
        skip(f"{ROM} is not installed")
    tree = guest.path("tree")
    os.makedirs(os.path.join(tree, "boot"))
    shutil.copy(guest.kernel, os.path.join(tree, "boot/vmlinuz"))
    shutil.copy(guest.initrd, os.path.join(tree, "boot/initrd"))
    with open(guest.path("secret"), "w") as f:
        f.write("secret")
    os.symlink("../secret", os.path.join(tree, "link"))
    with open(os.path.join(tree, "boot.ipxe"), "w") as f:
        f.write(SCRIPT)
    child = subprocess.Popen([guest.ruse, "run", "--board", "pc", "--firmware", "seabios", "--engine", guest.engine, "--memory", "512M", "--no-reboot",
                              "--tb-cache", "none", "--net", f"user,mac=52:54:00:12:34:56,tftp={tree},bootfile=boot.ipxe"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    guest.children.append(child)
    talk = Talk(child.stdout.fileno())
    heard = talk.wait_for("guest:~# ", timeout=300)
    for part in [b"iPXE", b"the script runs on 52:54:00:12:34:56", b"the way out is closed", b"so is the link"]:
        guest.expect_in("what iPXE says", part, heard)
    if b"secret... ok" in heard:
        guest.fail("a file outside of the directory was fetched")
    os.write(child.stdin.fileno(), b"poweroff -f\n")
    guest.expect("status", child.wait(timeout=300), 0)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
