"""The board pc as Debian's kernel uses its older parts: each way to restart it, clocks against each other, the RTC's alarm, memory types,
interrupts without x2APIC, without MSI, and without I/O APIC.

usage: chipset.py RUSE SOURCE_ROOT [ENGINE]
"""
import sys

from guest import APPEND, Guest, Talk, connect

# For each clock the time between two ticks of the RTC, by the kernel's clock.
CLOCKS = r"""
cd /sys/class/rtc/rtc0
clock=/sys/devices/system/clocksource/clocksource0/current_clocksource
next() { r=$(cat since_epoch); while [ $(cat since_epoch) = $r ]; do :; done; cut -d ' ' -f 1 /proc/uptime; }
for name in hpet acpi_pm tsc; do
	echo $name >$clock
	usleep 100000
	echo $(cat $clock) $(next) $(next)
done
"""

ALARM = r"""
cd /sys/class/rtc/rtc0
echo +2 >wakealarm
[ -n "$(cat wakealarm)" ] && echo set
sleep 3
[ -z "$(cat wakealarm)" ] && echo rung
# The HPET has the RTC's interrupt: with firmware of our days Linux has the alarm by ACPI.
grep acpi /proc/interrupts | awk '{ print $2 }'
# And it wakes a system that sleeps.
dmesg -n 1
echo +2 >wakealarm
echo freeze >/sys/power/state
[ -z "$(cat wakealarm)" ] && echo awake
"""

FIRMWARE = r"""
cat /proc/mtrr
cd /sys/class/dmi/id
echo $(cat bios_vendor) $(cat bios_version) $(cat bios_date)
dmesg -r | sed -n 's/^<[0-4]>//p' | grep -v -i 'RETBleed\|Spectre\|MDS\|i8042: PNP\|L1TF'
dmesg | grep -o 'PAT: Configuration.*'
"""

# How the disk's first interrupt, or the adapter's only one, gets there.
INTERRUPTS = r"""
head -c 65536 /dev/vda | wc -c
ip -4 addr show eth0 | sed -n 's/.*inet \([^ ]*\).*/\1/p'
grep -E 'virtio0(-req.0)?$|virtio0,' /proc/interrupts | sed 's/.*\(PCI-MSI\|IO-APIC\|XT-PIC\).*/\1/'
dmesg | grep -c 'x2apic enabled'
dmesg -r | sed -n 's/^<[0-3]>//p' | grep -v 'RETBleed\|Spectre\|MDS\|L1TF' >&2
"""


def shell(guest, script, *options, append=""):
    return guest.run("--board", "pc", *options, "--append", APPEND + " " + append, command=["sh", "-c", script])


def restarts(guest):
    for way in ["kbd", "pci", "acpi", "triple"]:
        path = guest.path(way)
        child = guest.start("--board", "pc", "--serial", "unix=" + path, append=f"{APPEND} reboot={way}")
        client = connect(path)
        talk = Talk(client.fileno())
        talk.wait_for("guest:~# ")
        talk.command("reboot -f")
        talk.say("poweroff -f\n")
        guest.expect(f"status after a restart by {way}", child.wait(timeout=300), 0)
        if way == "triple":
            guest.expect_in("what is said of it", b"the machine is reset", child.stderr.read())
    done = guest.run("--board", "pc", "--append", APPEND + " reboot=triple rdinit=/bin/busybox -- reboot -f", command=[])
    guest.expect("status of a triple fault that may not restart", done.returncode, 3)


def clocks(guest):
    done = shell(guest, CLOCKS, "--cpus", "2")
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    guest.expect("clocks", [line[0] for line in lines], ["hpet", "acpi_pm", "tsc"])
    for name, first, second in lines:
        if abs(float(second) - float(first) - 1) > 0.1:
            guest.fail(f"a second takes {float(second) - float(first):.2f} s by {name}")
    guest.expect("the alarm", shell(guest, ALARM).stdout.split(), [b"set", b"rung", b"1", b"awake"])


def what_firmware_does(guest):
    done = shell(guest, FIRMWARE, "--cpus", "2")
    lines = done.stdout.decode().splitlines()
    guest.expect("memory types, SMBIOS, complaints, PAT", lines,
                 ["reg00: base=0x080000000 ( 2048MB), size= 2048MB, count=1: uncachable", "ruse 1 01/01/2026",
                  "PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT  "])


def interrupts(guest):
    image = guest.path("disk")
    with open(image, "wb") as f:
        f.truncate(1 << 20)
    for append, kind, x2apic in [("", "PCI-MSI", "1"), ("nox2apic", "PCI-MSI", "0"), ("pci=nomsi", "IO-APIC", "1"), ("noapic", "PCI-MSI", "0"),
                                 ("noapic pci=nomsi", "XT-PIC", "0"), ("nolapic pci=nomsi", "XT-PIC", "0")]:
        done = shell(guest, INTERRUPTS, "--cpus", "2", "--disk", image, "--net", "user", append=append)
        guest.expect(f"with '{append}': the disk, the network, the disk's interrupt, x2APIC", done.stdout.decode().split(),
                     ["65536", "10.0.2.15/24", kind, x2apic])
        guest.expect(f"with '{append}': what the kernel complains of", done.stderr, b"")


def main():
    guest = Guest(sys.argv)
    restarts(guest)
    clocks(guest)
    what_firmware_does(guest)
    interrupts(guest)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
