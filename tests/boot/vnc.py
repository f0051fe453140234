"""The screen of the board pc through VNC: what SeaBIOS writes is the picture of `ruse ctl screenshot`, and so is what is typed at its
keyboard; keys and the pointer of a viewer arrive in Debian's guest, and clients that speak nonsense, or nothing, harm nobody.

usage: vnc.py RUSE SOURCE_ROOT [ENGINE]
"""
import os
import stat
import struct
import subprocess
import sys
import time

from guest import Guest, Talk, connect
from input import Reader
from rfb import Viewer, read_png

EV_SYN, EV_KEY, EV_REL, EV_ABS = 0, 1, 2, 3
SYN = (EV_SYN, 0, 0)
SEABIOS = "/usr/share/seabios/bios-256k.bin"

# Writes what is typed: xor ax, ax; int 0x16; mov ah, 0xe; xor bx, bx; int 0x10; jmp to the beginning.
BOOT_SECTOR = bytes.fromhex("31c0 cd16 b40e 31db cd10 ebf4").ljust(510, b"\0") + b"\x55\xaa"
SHIFT = 0xffe1

NONSENSE = [
    b"",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\xff" * 4096,
    b"RFB 999.999\n\x01\x01",
    b"RFB 003.008\n\x02",
]
# Behind a proper beginning.
MESSAGES = [
    struct.pack(">BxxxI", 6, 0xffffffff) + b"x" * 1000,                                 # a text as long as can be
    struct.pack(">BxxxI", 6, 0x7fffffff),
    struct.pack(">BxH", 2, 65535) + b"\x00" * 100,                                     # encodings that do not come
    struct.pack(">Bxxx", 0) + b"\xff" * 16,                                           # pixels of 255 bits
    struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 65535, 65535, 65535, 255, 255, 255),
    struct.pack(">BBHHHH", 3, 0, 65535, 65535, 65535, 65535) * 100,
    struct.pack(">BBBxHH", 251, 0, 255, 65535, 65535) + b"\xff" * 64,                   # SetDesktopSize
    struct.pack(">BBBxII", 7, 255, 255, 0xffffffff, 0xffffffff),                        # file transfer
    struct.pack(">BxxxI", 11, 0xffffffff),                                            # chat
    struct.pack(">BBxx", 8, 0) + struct.pack(">BBxx", 8, 255),                           # scales
    bytes(range(256)) * 64,
]


def harm(path):
    for bytes_ in NONSENSE:
        client = connect(path)
        try:
            client.sendall(bytes_)
            client.settimeout(0.2)
            client.recv(4096)
        except OSError:
            pass
        client.close()
    for message in MESSAGES:
        viewer = Viewer(path)
        try:
            viewer.socket.sendall(message)
            viewer.socket.settimeout(0.2)
            viewer.take(1 << 16)
        except (OSError, EOFError):
            pass
        viewer.close()


def same_picture(guest, name, viewer):
    """The cursor blinks and the guest writes: a few tries."""
    file = guest.path("screen.png")
    for _ in range(40):
        done = subprocess.run([guest.ruse, "ctl", name, "screenshot", file], capture_output=True, text=True, timeout=300)
        viewer.update(incremental=False)
        if done.returncode == 0 and read_png(file) == (viewer.width, viewer.height, viewer.rgb()):
            return True
        time.sleep(0.25)
    return False


def wait_for_text(guest, name, wanted):
    end, text = time.monotonic() + 200, ""
    while wanted not in text and time.monotonic() < end:
        time.sleep(0.5)
        text = subprocess.run([guest.ruse, "ctl", name, "screen"], capture_output=True, text=True, timeout=300).stdout
    guest.expect_in("the screen", wanted, text)


def type_text(viewer, text):
    """At the pace of a person: the BIOS's buffer has room for fifteen keys."""
    for character in text:
        shifted = character.isupper() or character in "!"
        if shifted:
            viewer.key(SHIFT, True)
        viewer.key(ord(character))
        if shifted:
            viewer.key(SHIFT, False)
        time.sleep(0.1)


def firmware(guest):
    path, name, image = guest.path("bios.vnc"), f"vnc-{os.getpid()}", guest.path("sector")
    with open(image, "wb") as f:
        f.write(BOOT_SECTOR.ljust(1 << 20, b"\0"))
    line = [guest.ruse, "run", "--board", "pc", "--firmware", "seabios", "--engine", guest.engine, "--name", name, "--net", "none", "--disk", image,
            "--serial", "none", "--tb-cache", "none", "--display", "vnc=unix:" + path]
    child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    guest.children.append(child)
    connect(path).close()
    guest.expect("the socket's mode", stat.S_IMODE(os.stat(path).st_mode), 0o600)
    again = subprocess.run([*line[:8], *line[10:]], capture_output=True, text=True, timeout=120)
    guest.expect("another VM at this socket", (again.returncode, again.stdout), (1, ""))
    guest.expect_in("another VM at this socket", f"cannot listen at '{path}'", again.stderr)

    viewer = Viewer(path)
    guest.expect("version, security, name", (viewer.version, viewer.security, viewer.result, viewer.name), (b"RFB 003.008\n", b"\x01", 0, name))
    wait_for_text(guest, name, "Booting from Hard Disk")
    if not same_picture(guest, name, viewer):
        guest.fail("the viewer's picture is not the screenshot's")
    guest.expect("the picture's size", (viewer.width, viewer.height), (720, 400))
    if not any(viewer.rgb()):
        guest.fail("the picture is black")
    second = Viewer(path)
    if not same_picture(guest, name, second):
        guest.fail("the second viewer's picture is not the screenshot's")
    guest.expect("what is sent where nothing changes", viewer.quiet(1), True)
    type_text(viewer, "Hello, PS/2!")
    sent = viewer.update()
    if not 0 < sent < 720 * 400 // 4:
        guest.fail(f"{sent} pixels are sent where a word is written")
    wait_for_text(guest, name, "Hello, PS/2!")
    if not same_picture(guest, name, second):
        guest.fail("what was typed is not in the second viewer's picture")
    harm(path)
    if not same_picture(guest, name, viewer):
        guest.fail("after clients that speak nonsense the viewer's picture is not the screenshot's")
    guest.expect("the VM after clients that speak nonsense", child.poll(), None)
    second.close()
    subprocess.run([guest.ruse, "stop", name], capture_output=True, timeout=300)
    guest.expect("status", child.wait(timeout=300), 0)
    guest.expect("what it said", child.stderr.read(), "")
    guest.expect("the socket at the end", os.path.exists(path), False)
    viewer.close()


def linux(guest):
    serial, path = guest.path("serial"), guest.path("linux.vnc")
    child = guest.start("--board", "pc", "--input", "on", "--serial", "unix=" + serial, "--display", "vnc=unix:" + path)
    client = connect(serial)
    talk = Talk(client.fileno())
    talk.wait_for("guest:~# ")
    viewer = Viewer(path)

    keys = Reader(guest, talk, "ruse keyboard", 8)
    viewer.key(SHIFT, True)
    viewer.key(ord("A"), True)
    viewer.key(ord("A"), False)
    viewer.close()  # which lets go of shift
    guest.expect("the keyboard", keys.events(), [(EV_KEY, 42, 1), SYN, (EV_KEY, 30, 1), SYN, (EV_KEY, 30, 0), SYN, (EV_KEY, 42, 0), SYN])

    viewer = Viewer(path)
    tablet = Reader(guest, talk, "ruse tablet", 8)
    viewer.pointer(viewer.width - 1, 1, 1)
    viewer.pointer(viewer.width - 1, 1, 8)
    wanted = [(EV_ABS, 0, 32767), (EV_ABS, 1, 32767 // (viewer.height - 1)), (EV_KEY, 0x110, 1), SYN, (EV_KEY, 0x110, 0), (EV_REL, 8, 1), SYN]
    viewer.pointer(viewer.width - 1, 1, 10)
    guest.expect("the tablet", tablet.events()[:7], wanted)
    viewer.close()
    talk.say("poweroff -f\n")
    guest.expect("status after switching off", child.wait(timeout=300), 0)
    client.close()


def main():
    guest = Guest(sys.argv)
    if os.path.exists(SEABIOS):
        firmware(guest)
    linux(guest)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
