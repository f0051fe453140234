"""Debian's guest under ruse, for the boot tests.

    guest = Guest(sys.argv)                     # RUSE SOURCE_ROOT [ENGINE]; leaves with 77 where there is no guest
    done = guest.run("--cpus", "4", command=["nproc"])
    guest.expect("processors", done.stdout, b"4\\n")
    sys.exit(guest.failed)
"""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import termios
import time
import atexit

APPEND = "console=ttyS0 quiet panic=-1"
APPEND_ARM64 = "console=ttyAMA0 quiet panic=-1"
TIMEOUT = 400


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


class Guest:
    def __init__(self, argv, arch="amd64"):
        self.ruse, root = argv[1:3]
        self.append = APPEND_ARM64 if arch == "arm64" else APPEND
        self.engine = argv[3] if len(argv) > 3 else "auto"
        self.failed = 0
        self._check_engine()
        found = subprocess.run([os.path.join(root, "guests/fetch.sh"), arch], capture_output=True, text=True)
        if found.returncode != 0:
            skip(f"the Debian guest can't be fetched: {(found.stderr.strip().splitlines() or ['?'])[-1]}")
        self.kernel, self.initrd = found.stdout.splitlines()
        self.busybox = os.path.join(os.path.dirname(self.kernel), "bin/busybox")  # the guest's, which is static
        self.work = tempfile.mkdtemp()
        self.children = []
        atexit.register(self._clean)

    def _check_engine(self):
        engines = json.loads(subprocess.run([self.ruse, "engines", "--json"], capture_output=True).stdout)
        for engine in engines:
            if engine["name"] == self.engine and not engine["works"]:
                skip(f"{self.engine}: {engine['why']}")

    def _clean(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        shutil.rmtree(self.work)

    def path(self, name):
        return os.path.join(self.work, name)

    def arguments(self, options, command=None, kernel=None, append=None):
        # Each run by itself, unless that is what is tested.
        options = options if "--tb-cache" in options else (*options, "--tb-cache", "none")
        line = [self.ruse, "run", "--kernel", kernel or self.kernel, "--initrd", self.initrd, "--engine", self.engine,
                "--append", append or self.append, *options]
        return line + ["--", *command] if command else line

    def run(self, *options, command, kernel=None, stdin=b""):
        """A guest that runs a command and ends."""
        return subprocess.run(self.arguments(("--no-reboot", *options), command, kernel), input=stdin,
                              capture_output=True, timeout=TIMEOUT)

    def start(self, *options, command=None, append=None, **streams):
        """A guest that is talked to while it runs; killed at the end if it is still there."""
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        child = subprocess.Popen(self.arguments(options, command, append=append), bufsize=0, **streams)
        self.children.append(child)
        return child

    def expect(self, what, got, wanted):
        if got != wanted:
            self.fail(f"{what}: {got!r} instead of {wanted!r}")

    def expect_in(self, what, part, whole):
        if part not in whole:
            self.fail(f"{what}: no {part!r} in {whole!r}")

    def fail(self, text):
        print(f"FAIL: {text}", flush=True)
        self.failed = 1


class Talk:
    """A dialogue over a descriptor: a shell behind a serial port, a terminal, a socket."""

    def __init__(self, fd):
        self.fd = fd
        self.heard = b""

    def say(self, text):
        # The guest's shell prints its prompt first and sets its terminal then: what comes in between is lost.
        time.sleep(0.5)
        os.write(self.fd, text.encode())

    def type_line(self, line):
        """Types a line at a shell's prompt: again, on an empty line, as long as its beginning is not echoed."""
        start = line[:16].encode()
        for _ in range(20):
            self.say(line)
            end = time.monotonic() + 10
            while start not in self.heard and time.monotonic() < end:
                self._hear()
            if start in self.heard:
                break
            os.write(self.fd, b"\x15")
        os.write(self.fd, b"\n")

    def wait_for(self, text, timeout=300):
        """Reads until text comes; what was heard before it is returned and forgotten."""
        wanted = text.encode()
        end = time.monotonic() + timeout
        while wanted not in self.heard:
            if time.monotonic() > end:
                raise TimeoutError(f"no {text!r} came after {self.heard[-2000:]!r}")
            if not self._hear():
                raise EOFError(f"the end came before {text!r}, after {self.heard[-2000:]!r}")
        before, _, self.heard = self.heard.partition(wanted)
        return before

    def _hear(self):
        """What has come, after a moment if it is nothing; false at the end."""
        os.set_blocking(self.fd, False)
        try:
            more = os.read(self.fd, 65536)
        except BlockingIOError:
            time.sleep(0.01)
            return True
        self.heard += more
        return bool(more)

    def rest(self):
        """All that comes until the other side has closed."""
        os.set_blocking(self.fd, True)
        while more := os.read(self.fd, 65536):
            self.heard += more
        return self.heard

    def command(self, line):
        """Types a line at a shell's prompt; says what it printed. The prompt must have been waited for."""
        self.type_line(line)
        return self.wait_for("guest:~# ")


def raw(fd):
    """No echo and no line editing of a terminal that is ours."""
    mode = termios.tcgetattr(fd)
    mode[0] = mode[1] = 0
    mode[3] = 0
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def connect(path, timeout=300):
    """A client of a Unix socket that is about to appear."""
    end = time.monotonic() + timeout
    while True:
        client = socket.socket(socket.AF_UNIX)
        try:
            client.connect(path)
            return client
        except OSError:
            client.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
