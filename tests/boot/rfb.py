"""A client of RFB 3.8 (RFC 6143): raw rectangles, sizes that change, keys and a pointer.

    viewer = Viewer("/run/vm.vnc")
    viewer.update(incremental=False)
    viewer.key(0xff0d)                          # enter goes down and up
    viewer.pixels, viewer.width, viewer.height  # red, green, blue, nothing: four bytes each
"""
import select
import struct
import zlib

from guest import connect

RAW, NEW_FB_SIZE = 0, -223
PIXELS = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 0, 8, 16)


class Viewer:
    def __init__(self, path, timeout=120):
        self.socket = connect(path)  # which tries again where too many wait to be accepted
        self.socket.settimeout(timeout)
        self.version = self.take(12)
        self.socket.sendall(b"RFB 003.008\n")
        self.security = self.take(self.take(1)[0])
        self.socket.sendall(b"\x01")
        self.result = struct.unpack(">I", self.take(4))[0]
        self.socket.sendall(b"\x01")
        width, height = struct.unpack(">HH16x", self.take(20))
        self.name = self.take(struct.unpack(">I", self.take(4))[0]).decode()
        self.resize(width, height)
        self.socket.sendall(b"\x00\x00\x00\x00" + PIXELS + struct.pack(">BxHii", 2, 2, RAW, NEW_FB_SIZE))

    def take(self, count):
        parts = []
        while count:
            part = self.socket.recv(min(count, 1 << 20))
            if not part:
                raise EOFError("the server has hung up")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def resize(self, width, height):
        self.width, self.height = width, height
        self.pixels = bytearray(4 * width * height)

    def update(self, incremental=True):
        """Asks for a picture, and waits for it: the pixels that were sent."""
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))
        while (kind := self.take(1)[0]) != 0:
            if kind == 3:
                self.take(struct.unpack(">3xI", self.take(7))[0])
            elif kind != 2:
                raise ValueError(f"message {kind}")
        sent = 0
        for _ in range(struct.unpack(">xH", self.take(3))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.take(12))
            if encoding == NEW_FB_SIZE:
                self.resize(width, height)
                continue
            if encoding != RAW:
                raise ValueError(f"encoding {encoding}")
            data = self.take(4 * width * height)
            sent += width * height
            for line in range(height):
                at = 4 * ((y + line) * self.width + x)
                self.pixels[at:at + 4 * width] = data[4 * line * width:4 * (line + 1) * width]
        return sent

    def quiet(self, seconds):
        """Asks for what changes: does nothing come? The next update() answers this too."""
        self.socket.sendall(struct.pack(">BBHHHH", 3, 1, 0, 0, self.width, self.height))
        return not select.select([self.socket], [], [], seconds)[0]

    def key(self, keysym, down=None):
        for state in [True, False] if down is None else [down]:
            self.socket.sendall(struct.pack(">BBxxI", 4, state, keysym))

    def pointer(self, x, y, buttons=0):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def rgb(self):
        rgb = bytearray(3 * self.width * self.height)
        for i in range(3):
            rgb[i::3] = self.pixels[i::4]
        return bytes(rgb)

    def close(self):
        self.socket.close()


def read_png(path):
    """Width, height, red, green, blue by line: of 8 bits a colour, as `ruse ctl NAME screenshot` writes it."""
    with open(path, "rb") as f:
        data = f.read()
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 2)
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    raw, stride, lines = zlib.decompress(packed), 3 * width, []
    before = bytearray(stride)
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride if kind else 0):
            left = line[i - 3] if i >= 3 else 0
            corner = before[i - 3] if i >= 3 else 0
            line[i] = line[i] + guess(kind, left, before[i], corner) & 255
        lines.append(bytes(line))
        before = line
    return width, height, b"".join(lines)


def guess(kind, left, up, corner):
    if kind < 4:
        return [0, left, up, (left + up) // 2][kind]
    near = left + up - corner
    return min((left, up, corner), key=lambda value: abs(near - value))
