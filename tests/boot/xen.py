"""Xen 4.17 and Debian's kernel as its PV Dom0, from a GRUB image on a disk of the board pc, by SeaBIOS: no hardware virtualization is
offered, and none is needed. Over Xen's own console: a shell in an initramfs, with two processors; then the login prompt of Debian, whose
disk is Dom0's; each runs commands, and switches the machine off. On interp the shell only, which takes a quarter of the time.

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
	multiboot2 /boot/xen placeholder console=com1 com1=115200,8n1 dom0_mem=512M loglvl=all
	module2 /boot/vmlinuz placeholder console=hvc0 quiet ro
	module2 /boot/initrd
}
"""


def make_image(guest, root, name):
    for tool in ["grub-mkrescue", "xorriso", "mformat"]:
        if not shutil.which(tool):
            skip(f"{tool} is not installed")
    fetched = subprocess.run([os.path.join(root, "guests/fetch_xen.sh")], capture_output=True, text=True)
    if fetched.returncode != 0:
        skip(f"Xen can't be fetched: {(fetched.stderr.strip().splitlines() or ['?'])[-1]}")
    xen, kernel, initrd = fetched.stdout.splitlines()
    tree = guest.path(name)
    os.makedirs(os.path.join(tree, "boot/grub"))
    for file, source in {"xen": xen, "vmlinuz": kernel, "initrd": initrd if name == "debian" else guest.initrd}.items():
        shutil.copy(source, os.path.join(tree, "boot", file))
    with open(os.path.join(tree, "boot/grub/grub.cfg"), "w") as f:
        f.write(CONFIG)
    image = guest.path(name + ".img")
    subprocess.run(["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "-o", image, tree], check=True, capture_output=True)
    return image


def make_disk(guest, root):
    built = subprocess.run([os.path.join(root, "guests/debian_disk.sh")], capture_output=True, text=True)
    if built.returncode != 0:
        skip(f"the Debian disk can't be built: {(built.stderr.strip().splitlines() or ['?'])[-1]}")
    disk = guest.path("debian.qcow2")
    base = built.stdout.strip()
    subprocess.run([guest.ruse, "disk", "create", disk, str(os.path.getsize(base)), "--backing", base], check=True)
    return f"{disk},backing={os.path.dirname(base)}"


def log_in(talk):
    heard = talk.wait_for("guest login: ", timeout=300)
    talk.say("root\n")
    talk.wait_for("Password: ")
    talk.say("ruse\n")
    talk.wait_for("guest:~# ", timeout=300)
    return heard


def run(guest, name, cpus, reach, switch_off, *disks):
    image, path = make_image(guest, sys.argv[2], name), guest.path(name + ".serial")
    child = subprocess.Popen([guest.ruse, "run", "--board", "pc", "--firmware", "seabios", "--engine", guest.engine, "--memory", "1G",
                              "--cpus", str(cpus), "--serial", "unix=" + path, "--no-reboot", "--tb-cache", "none",
                              *(word for disk in (image + ",ro", *disks) for word in ("--disk", disk))])
    guest.children.append(child)
    client = connect(path)
    talk = Talk(client.fileno())
    heard = reach(talk)
    for part in [b"(XEN) Xen version 4.17", b"*** Building a PV Dom0 ***", b"(XEN) ACPI: HPET",
                 b"(XEN) SMP: Allowing %d CPUs" % cpus, {"debian": b"Debian GNU/Linux 12 guest hvc0", "shell": b"BusyBox"}[name]]:
        guest.expect_in("Xen's console", part, heard)
    for part in [b"VMX: ", b"SVM: ", b"HVM: "]:
        if part in heard:
            guest.fail(f"Xen has found hardware virtualization: {part!r}")
    # Dom0 and Xen both make a line's end of \n.
    heard = talk.command("cat /sys/hypervisor/type /sys/hypervisor/version/major; nproc").replace(b"\r", b"")
    guest.expect_in("Dom0", b"xen\n4\n%d\n" % cpus, heard)
    heard = talk.command("dmesg | grep -c 'Hypervisor detected: Xen PV'; grep -c -w -e vmx -e svm /proc/cpuinfo").replace(b"\r", b"")
    guest.expect_in("Dom0's kernel, and how many processors there have hardware virtualization", b"1\n0\n", heard)
    talk.say(switch_off + "\n")
    guest.expect("status after switching off", child.wait(timeout=300), 0)


def main():
    guest = Guest(sys.argv)
    run(guest, "shell", 2, lambda talk: talk.wait_for("guest:~# ", timeout=300), "poweroff -f")
    if guest.engine != "interp" and not guest.failed:
        run(guest, "debian", 1, log_in, "poweroff", make_disk(guest, sys.argv[2]))
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
