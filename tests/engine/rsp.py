"""gdb's remote serial protocol, the client's side, for tests that want to say more than gdb would.

    rsp = Rsp(socket)
    rsp.ask("qSupported:swbreak+")
    rsp.send("vCont;c"); rsp.interrupt(); rsp.reply()
"""
import time


class Rsp:
    def __init__(self, sock, ack=False):
        self.sock = sock
        self.heard = b""
        self.ack = True
        if not ack:
            assert self.ask("QStartNoAckMode") == "OK"
            self.ack = False

    def _byte(self, timeout):
        self.sock.settimeout(timeout)
        while not self.heard:
            more = self.sock.recv(65536)
            if not more:
                raise EOFError("the machine has closed the connection")
            self.heard += more
        byte, self.heard = self.heard[:1], self.heard[1:]
        return byte

    def raw(self, data):
        self.sock.sendall(data)

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode("latin-1")
        out = bytearray()
        for byte in data:
            if byte in b"$#}*":
                out += bytes([0x7d, byte ^ 0x20])
            else:
                out.append(byte)
        self.raw(b"$" + bytes(out) + b"#%02x" % (sum(out) & 0xff))
        if self.ack:
            got = self._byte(10)
            assert got == b"+", f"{got!r} instead of an acknowledgement"

    def reply(self, timeout=300):
        """The next packet, without what is escaped."""
        while self._byte(timeout) != b"$":
            pass
        data = bytearray()
        while (byte := self._byte(timeout)) != b"#":
            data += byte
        told = int(self._byte(timeout) + self._byte(timeout), 16)
        assert told == sum(data) & 0xff, "the checksum is wrong"
        if self.ack:
            self.raw(b"+")
        out, escaped = bytearray(), False
        for byte in data:
            if escaped:
                out.append(byte ^ 0x20)
                escaped = False
            elif byte == 0x7d:
                escaped = True
            else:
                out.append(byte)
        return out.decode("latin-1")

    def ask(self, text, timeout=300):
        self.send(text)
        return self.reply(timeout)

    def interrupt(self):
        self.raw(b"\x03")

    # ---- what is asked most ----

    def register(self, number):
        text = self.ask(f"p{number:x}")
        assert not text.startswith("E"), f"register {number}: {text}"
        return int.from_bytes(bytes.fromhex(text), "little")

    def set_register(self, number, value, size=8):
        return self.ask(f"P{number:x}=" + value.to_bytes(size, "little").hex())

    def memory(self, address, length):
        return bytes.fromhex(self.ask(f"m{address:x},{length:x}"))

    def go(self, how="vCont;c", timeout=300):
        """Runs to the next stop."""
        return self.ask(how, timeout)

    def step(self, thread=1):
        return self.go(f"vCont;s:{thread:x}")

    def insert(self, kind, address, length=1):
        return self.ask(f"Z{kind},{address:x},{length:x}")

    def remove(self, kind, address, length=1):
        return self.ask(f"z{kind},{address:x},{length:x}")

    def wait_running(self, seconds=0.2):
        time.sleep(seconds)
