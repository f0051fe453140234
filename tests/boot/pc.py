"""Debian's kernel started directly on the board pc: it finds its devices by PCI and ACPI, uses them with MSI-X, starts again, and
switches off.

usage: pc.py RUSE SOURCE_ROOT [ENGINE]
"""
import hashlib
import random
import sys

from guest import Guest, Talk, connect

LOOK = """
sha256sum </dev/vda
grep -c 'PCI-MSI.*virtio0-req' /proc/interrupts
cat /sys/devices/system/clocksource/clocksource0/available_clocksource
cat /sys/class/dmi/id/product_name
ip -4 addr show eth0 | sed -n 's/.*inet \\([^ ]*\\).*/\\1/p'
ls /sys/firmware/acpi/tables | grep -v data | tr '\\n' ' '; echo
dmesg -r | sed -n 's/^<[0-3]>//p' | grep -v 'RETBleed\\|Spectre\\|MDS\\|L1TF' >&2
grep -h . /sys/bus/acpi/devices/*/hid | sort | tr '\\n' ' '; echo
"""
DEVICES = {"ACPI0007", "PNP0A08", "PNP0501", "PNP0B00", "QEMU0001", "QEMU0002"}


def look(guest, image, sha256):
    done = guest.run("--board", "pc", "--cpus", "2", "--memory", "256M", "--disk", image, "--net", "user", command=["sh", "-c", LOOK])
    lines = done.stdout.decode().splitlines()
    guest.expect("status", done.returncode, 0)
    if len(lines) != 7:
        guest.fail(f"{done.stdout!r} {done.stderr!r}")
        return
    guest.expect("the disk", lines[0].split()[0], sha256)
    guest.expect("the disk's interrupts, one a processor", lines[1], "2")
    for clock in ["tsc", "hpet", "acpi_pm"]:
        guest.expect_in("clocks", clock, lines[2])
    guest.expect("SMBIOS", lines[3], "pc")
    guest.expect("the address", lines[4], "10.0.2.15/24")
    for table in ["APIC", "DSDT", "FACP", "FACS", "HPET", "MCFG", "SPCR"]:
        guest.expect_in("tables", table, lines[5])
    guest.expect("devices that are missing", DEVICES - set(lines[6].split()), set())
    guest.expect("what the kernel complains of", done.stderr, b"")


def restart(guest, image):
    """The board sets PCI up again for each start."""
    path = guest.path("serial")
    child = guest.start("--board", "pc", "--disk", image, "--serial", "unix=" + path)
    client = connect(path)
    talk = Talk(client.fileno())
    talk.wait_for("guest:~# ")
    for _ in range(2):
        talk.command("reboot -f")
    heard = talk.command("head -c 512 /dev/vda | sha256sum")
    with open(image, "rb") as f:
        guest.expect_in("after two restarts", hashlib.sha256(f.read(512)).hexdigest().encode(), heard)
    talk.say("poweroff -f\n")
    guest.expect("status after switching off", child.wait(timeout=300), 0)


def main():
    guest = Guest(sys.argv)
    image = guest.path("disk")
    data = random.Random(4).randbytes(3 << 20)
    with open(image, "wb") as f:
        f.write(data)
    look(guest, image, hashlib.sha256(data).hexdigest())
    if not guest.failed:
        restart(guest, image)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
