"""Xen 4.17 and Debian's kernel as its PV Dom0, from a GRUB image on a disk of the board pc, by SeaBIOS: no hardware virtualization is
offered, and none is needed. Dom0's shell is reached over Xen's own console, runs a command, and switches the machine off.

usage: xen.py RUSE SOURCE_ROOT [ENGINE]
"""
import os
import shutil
import subprocess
import sys

from guest import Guest, Talk, connect, skip

CONFIG = """
serial --unit=0 --speed=115200
terminal_output serial
set timeout=0
menuentry xen {
	multiboot2 /boot/xen placeholder console=com1 com1=115200,8n1 dom0_mem=256M loglvl=all
	module2 /boot/vmlinuz placeholder console=hvc0 quiet
	module2 /boot/initrd
}
"""


def make_image(guest, root):
    for tool in ["grub-mkrescue", "xorriso", "mformat"]:
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    fetched = subprocess.run([os.path.join(root, "guests/fetch_xen.sh")], capture_output=True, text=True)
    if fetched.returncode != 0:
        skip(f"Xen can't be fetched: {(fetched.stderr.strip().splitlines() or ['?'])[-1]}")
    xen, kernel = fetched.stdout.splitlines()
    tree = guest.path("tree")
    os.makedirs(os.path.join(tree, "boot/grub"))
    for name, source in {"xen": xen, "vmlinuz": kernel, "initrd": guest.initrd}.items():
        shutil.copy(source, os.path.join(tree, "boot", name))
    with open(os.path.join(tree, "boot/grub/grub.cfg"), "w") as f:
        f.write(CONFIG)
    image = guest.path("xen.img")
    subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", image, tree], check=True, capture_output=True)
    return image


def main():
    guest = Guest(sys.argv)
    image = make_image(guest, sys.argv[2])
    path = guest.path("serial")
    child = subprocess.Popen([guest.ruse, "run", "--board", "pc", "--firmware", "seabios", "--engine", guest.engine, "--memory", "768M",
                              "--cpus", "2", "--disk", image + ",ro", "--serial", "unix=" + path, "--no-reboot", "--tb-cache", "none"])
    guest.children.append(child)
    client = connect(path)
    talk = Talk(client.fileno())
    heard = talk.wait_for("guest:~# ", timeout=150)
    for part in [b"(XEN) Xen version 4.17", b"(XEN) Brought up 2 CPUs", b"*** Building a PV Dom0 ***", b"(XEN) ACPI: HPET"]:
        guest.expect_in("Xen's console", part, heard)
    # Dom0 and Xen both make a line's end of \n.
    heard = talk.command("cat /sys/hypervisor/type /sys/hypervisor/version/major; nproc").replace(b"\r", b"")
    guest.expect_in("Dom0", b"\nxen\n4\n2\n", heard)
    heard = talk.command("dmesg | grep -c 'Hypervisor detected: Xen PV'").replace(b"\r", b"")
    guest.expect_in("Dom0's kernel", b"\n1\n", heard)
    talk.say("poweroff -f\n")
    guest.expect("status after switching off", child.wait(timeout=30), 0)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
