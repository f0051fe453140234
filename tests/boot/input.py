"""Keys and positions that `ruse ctl` sends arrive in Debian's guest as its programs see them (evdev), on both boards.

usage: input.py RUSE SOURCE_ROOT [ENGINE]
"""
import struct
import subprocess
import sys

from guest import Guest, Talk, connect

EV_SYN, EV_KEY, EV_ABS = 0, 1, 3
KEY_LEFTCTRL, KEY_C, BTN_LEFT = 29, 46, 0x110


class Reader:
    """A program of the guest that reads so many events of the device with that name."""

    def __init__(self, guest, talk, name, count):
        self.guest, self.talk, self.count = guest, talk, count
        talk.command(f"cd /sys/class/input; for e in event*; do [ \"$(cat $e/device/name)\" = '{name}' ] && D=/dev/input/$e; done; cd; "
                     f"dd if=$D of=/tmp/events bs=24 count={count} 2>/dev/null & sleep 1")

    def events(self):
        heard = self.talk.command("wait; hexdump -v -e '24/1 \"%02x\" \"\\n\"' /tmp/events; rm /tmp/events").decode().split()
        rows = [bytes.fromhex(word) for word in heard if len(word) == 48 and not set(word) - set("0123456789abcdef")]
        return [struct.unpack("<HHi", row[16:]) for row in rows]


def ctl(guest, child, *words):
    done = subprocess.run([guest.ruse, "ctl", str(child.pid), *words], capture_output=True, text=True, timeout=300)
    guest.expect(f"ctl {' '.join(words)}", (done.returncode, done.stderr), (0, ""))


def on_board(guest, *options):
    path = guest.path("serial")
    child = guest.start("--input", "on", "--serial", "unix=" + path, *options)
    client = connect(path)
    talk = Talk(client.fileno())
    talk.wait_for("guest:~# ")

    keys = Reader(guest, talk, "ruse keyboard", 8)
    ctl(guest, child, "key", "leftctrl+c")
    syn = (EV_SYN, 0, 0)
    guest.expect("the keyboard", keys.events(), [(EV_KEY, KEY_LEFTCTRL, 1), syn, (EV_KEY, KEY_C, 1), syn, (EV_KEY, KEY_C, 0), syn,
                                                 (EV_KEY, KEY_LEFTCTRL, 0), syn])

    tablet = Reader(guest, talk, "ruse tablet", 7)
    ctl(guest, child, "pointer", "1000", "32767")
    ctl(guest, child, "key", "button-left")
    guest.expect("the tablet", tablet.events(), [(EV_ABS, 0, 1000), (EV_ABS, 1, 32767), syn, (EV_KEY, BTN_LEFT, 1), syn, (EV_KEY, BTN_LEFT, 0), syn])

    talk.say("poweroff -f\n")
    guest.expect("status after switching off", child.wait(timeout=300), 0)
    client.close()


def main():
    guest = Guest(sys.argv)
    on_board(guest, "--board", "microvm")
    on_board(guest, "--board", "pc")
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
