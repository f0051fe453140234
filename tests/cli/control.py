"""Running VMs from outside: ps, ctl, console, stop, top, and the protocol under them, against guests/attended.c.

usage: control.py RUSE GUEST.elf
"""
import json
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

RUSE, GUEST = sys.argv[1:3]
failed = 0
work = tempfile.mkdtemp(dir="/tmp")  # a socket's path is short
environment = {**os.environ, "XDG_RUNTIME_DIR": work}
registry = os.path.join(work, "ruse")
children = []


def fail(text):
    global failed
    print(f"FAIL: {text}", flush=True)
    failed = 1


def expect(what, got, wanted):
    if got != wanted:
        fail(f"{what}: {got!r} instead of {wanted!r}")


def expect_match(what, pattern, text):
    if not re.search(pattern, text, re.S | re.M):
        fail(f"{what}: no {pattern!r} in {text!r}")


def ruse(*words, **more):
    return subprocess.run([RUSE, *words], capture_output=True, text=True, env=environment, timeout=300, stdin=subprocess.DEVNULL, **more)


def accepted(*words):
    done = ruse(*words)
    if done.returncode != 0 or done.stderr:
        fail(f"ruse {' '.join(words)}: status {done.returncode}, {done.stderr!r}")
    return done.stdout


def refused(text, *words, status=1):
    done = ruse(*words)
    if done.returncode != status or text not in done.stderr or done.stderr.count("\n") != 1:
        fail(f"ruse {' '.join(words)}: status {done.returncode}, {done.stderr!r}, where {text!r} was to be said")


class Machine:
    def __init__(self, *options, engine="interp", serial="none"):
        self.process = subprocess.Popen([RUSE, "run", "--kernel", GUEST, "--engine", engine, "--memory", "64M", "--tb-cache", "none", "--serial", serial,
                                         *options], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        children.append(self.process)
        self.pid = str(self.process.pid)
        self.path = os.path.join(registry, self.pid + ".sock")
        end = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > end or self.process.poll() is not None:
                raise TimeoutError(f"the VM does not come: {self.process.stdout.read()}")
            time.sleep(0.02)

    def _answers(self):
        try:
            return "return" in self.ask('{"command": "status"}')
        except OSError:
            return False

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.path)
        client.settimeout(300)
        return client

    def ask(self, line):
        """One request over a connection of its own."""
        with self.connect() as client:
            client.sendall((line if isinstance(line, bytes) else line.encode()) + b"\n")
            return json.loads(read_line(client))

    def end(self, status=0):
        out = self.process.communicate(timeout=300)[0]
        expect("exit status", (self.process.returncode, out), (status, b""))


def kill_all():
    for child in children:
        if child.poll() is None:
            child.kill()
            child.wait()


def read_line(client):
    data = b""
    while not data.endswith(b"\n"):
        more = client.recv(1)
        if not more:
            raise EOFError(data)
        data += more
    return data


def number(figure):
    """What else there is to say of it stands behind."""
    return int(figure.split()[0])


def count_of(machine):
    """Exits so far: the guest makes them all the time."""
    return number(machine.ask('{"command": "statistics"}')["return"].get("exits io", "0"))


def test_ps():
    expect("nobody runs", json.loads(accepted("ps", "--json")), [])
    one = Machine("--name", "one", "--cpus", "2")
    nameless = Machine()
    listed = json.loads(accepted("ps", "--json"))
    expect("who runs", [(vm["name"], str(vm["pid"]), vm["state"], vm["cpus"], vm["board"], vm["engine"]) for vm in listed],
           sorted([("one", one.pid, "running", 2, "microvm", "interp"), (nameless.pid, nameless.pid, "running", 1, "microvm", "interp")],
                  key=lambda vm: int(vm[1])))
    expect_match("the table", rf"^NAME .*^one +{one.pid} +running +interp +microvm +2 +64M +\d+s +-$", accepted("ps"))
    expect_match("by name", rf"^name: one$.*^pid: {one.pid}$", accepted("ctl", "one", "status"))
    expect("by number", json.loads(accepted("ctl", one.pid, "status", "--json"))["name"], "one")
    another = Machine("--name", "one")
    refused(f"two VMs are called 'one': give the process number, {min(one.pid, another.pid, key=int)} or {max(one.pid, another.pid, key=int)}",
            "ctl", "one", "status")
    refused("two VMs are called 'one'", "stop", "one")
    accepted("stop", another.pid, "--timeout", "0")
    another.end()
    expect_match("top by name", rf"^VM {one.pid}, engine interp, 2 processors.*^exits io +[1-9]", accepted("top", "one", "--count", "1"))
    expect("the directory is ours alone", os.stat(registry).st_mode & 0o777, 0o700)
    accepted("ctl", "one", "quit")
    one.end()
    accepted("ctl", nameless.pid, "quit")
    nameless.end()
    refused("there is no VM 'one'", "ctl", "one", "status")
    refused(f"no VM {nameless.pid} answers", "ctl", nameless.pid, "status")
    refused("there is no VM 'one'", "console", "one")
    refused("there is no VM 'one'", "stop", "one")
    expect("what the dead left is removed", os.listdir(registry), [])


def test_usage():
    refused("--json", "ps", "fast", status=2)
    refused("needs the name of a VM and a command", "ctl", "one", status=2)
    refused("does not know '--fast'", "ctl", "--fast", status=2)
    refused("needs a size", "ctl", "one", "balloon", status=2)
    refused("needs numbers for pointer", "ctl", "one", "pointer", "5", status=2)
    refused("needs keys for key", "ctl", "one", "key", status=2)
    refused("needs a size", "ctl", "one", "balloon", "much", status=2)
    refused("does not know '2M' behind balloon", "ctl", "one", "balloon", "1M", "2M", status=2)
    refused("does not know 'now' behind pause", "ctl", "one", "pause", "now", status=2)
    refused("`ruse top` does", "ctl", "one", "watch", status=2)
    refused("needs the name", "stop", status=2)
    refused("a number of seconds", "stop", "--timeout", "soon", "one", status=2)
    refused("a number of seconds", "stop", "one", "--timeout", status=2)
    refused("takes the name", "console", status=2)
    for name in ("", "a b", "7", "-x", "a/b", "x" * 65):
        refused("is no name", "run", "--kernel", GUEST, "--name=" + name, status=2)
    for command in ("ps", "ctl", "stop", "console", "top"):
        expect_match("help", "^usage: ruse " + command, accepted(command, "--help"))


def test_pause(engine):
    machine = Machine("--name", "vm", "--cpus", "2", engine=engine)
    accepted("ctl", "vm", "pause")
    accepted("ctl", "vm", "pause")
    expect_match("paused", r"^state: paused$", accepted("ctl", "vm", "status"))
    before = count_of(machine)
    time.sleep(0.2)
    expect("nothing happens", count_of(machine), before)
    accepted("ctl", "vm", "resume")
    accepted("ctl", "vm", "resume")
    expect_match("runs", r"^state: running$", accepted("ctl", "vm", "status"))
    end = time.monotonic() + 60
    while count_of(machine) == before and time.monotonic() < end:
        time.sleep(0.01)
    expect("it goes on", count_of(machine) > before, True)
    # Paused it can be ended.
    accepted("ctl", "vm", "pause")
    accepted("ctl", "vm", "quit")
    machine.end()
    # And it can be paused before it began.
    machine = Machine("--name", "vm", "--paused", engine=engine)
    expect_match("at the start", r"^state: paused$", accepted("ctl", "vm", "status"))
    expect("nothing has happened", "exits io" in machine.ask('{"command": "statistics"}')["return"], False)
    accepted("ctl", "vm", "resume")
    end = time.monotonic() + 60
    while not count_of(machine) and time.monotonic() < end:
        time.sleep(0.01)
    expect("it has begun", count_of(machine) > 0, True)
    accepted("ctl", "vm", "power-button")
    machine.end()


def test_reset(engine):
    log = os.path.join(work, "serial")
    machine = Machine("--name", "vm", engine=engine, serial="file=" + log)

    def greetings(wanted):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with open(log, "rb") as f:
                text = f.read()
            if text == b"attended\n" * wanted:
                return
            time.sleep(0.02)
        fail(f"{engine}: not {wanted} greetings but {text!r}")

    greetings(1)
    accepted("ctl", "vm", "reset")
    greetings(2)
    # Also while it is paused: it starts anew when it goes on.
    accepted("ctl", "vm", "pause")
    accepted("ctl", "vm", "reset")
    time.sleep(0.1)
    greetings(2)
    accepted("ctl", "vm", "resume")
    greetings(3)
    accepted("stop", "vm")
    machine.end()
    machine = Machine("--name", "vm", "--no-reboot", engine=engine)
    accepted("ctl", "vm", "reset")
    machine.end()


def test_stop():
    machine = Machine("--name", "vm")
    began = time.monotonic()
    accepted("stop", "vm")
    machine.end()
    expect("by the power button, at once", time.monotonic() - began < 10, True)
    # One that does not listen is ended.
    machine = Machine("--name", "vm", "--paused")
    done = ruse("stop", "--timeout", "1", "vm")
    expect("it is said", (done.returncode, "has not shut down in 1 s" in done.stderr), (0, True))
    machine.end()


def test_console():
    machine = Machine("--name", "vm", serial="detached")
    expect_match("it is said", r"^console: .*\.console$", accepted("ctl", "vm", "status"))
    # What was said before anybody came is there.
    done = subprocess.run(["sh", "-c", f"(echo hello; sleep 1) | timeout 3 {RUSE} console vm"], env=environment, capture_output=True)
    expect("the greeting, and an echo", done.stdout, b"attended\nHELLO\n")
    # On a terminal, raw; Ctrl-A x leaves it, and what was said is there again.
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(RUSE, [RUSE, "console", "vm"], environment)
    heard = b""

    def wait_for(text):
        nonlocal heard
        end = time.monotonic() + 60
        while text not in heard and time.monotonic() < end:
            try:
                heard += os.read(fd, 4096)
            except OSError:
                break
        if text not in heard:
            fail(f"no {text!r} in {heard!r}")

    wait_for(b"HELLO\n")
    second = ruse("console", "vm")
    expect("one at a time", second.stdout, "ruse: somebody else has this console\n")
    os.write(fd, b"abc\x01\x01q\x01h")
    wait_for(b"ABC\x01Q")
    wait_for(b"leave the console")
    os.write(fd, b"\x01x")
    expect("left", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)
    os.close(fd)
    # The VM's end is the console's.
    child = subprocess.Popen([RUSE, "console", "vm"], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    expect("once more", child.stdout.read(8), b"attended")
    accepted("stop", "vm")
    child.communicate(timeout=300)
    expect("console's status", child.returncode, 0)
    machine.end()
    machine = Machine("--name", "vm")
    refused("has no detached console", "console", "vm")
    accepted("stop", "vm")
    machine.end()
    both = ruse("run", "--kernel", GUEST, "--serial", "detached", "--console", "detached")
    expect("one of them", (both.returncode, both.stderr.count("\n")), (2, 1))


def test_protocol():
    machine = Machine("--name", "vm")
    expect("id", machine.ask('{"id": [1, "x"], "command": "resume"}'), {"id": [1, "x"], "return": {}})
    expect("what help lacks", {"status", "pause", "resume", "power-button", "reset", "quit", "balloon", "memory", "key", "pointer", "statistics", "watch", "help"} -
           set(machine.ask('{"command": "help"}')["return"]), set())
    for line, text in ((b"", None), (b"{", "a line of JSON"), (b"7", "a line of JSON"), (b"[]", "a request is an object"), (b"{}", 'needs a "command"'),
                       (b'{"command": 1}', 'needs a "command"'), (b'{"command": "fly"}', '"fly\\" is unknown'.replace("\\", "")),
                       (b'{"command": "pause", "at": 1}', 'has no "at"'), (b'{"command": "pause", "arguments": {"a": 1}}', "no arguments"),
                       (b'{"command": "pause", "arguments": [1]}', '"arguments" is an object'), (b'{"command": "balloon"}', 'needs an argument "size"'),
                       (b'{"command": "balloon", "arguments": {"size": -1}}', 'needs an argument "size"'),
                       (b'{"command": "balloon", "arguments": {"size": 4096, "of": 1}}', 'no argument "of"'),
                       (b'{"command": "balloon", "arguments": {"size": 4096}}', "has no balloon; start it with --balloon on"),
                       (b'{"command": "key", "arguments": {"keys": "leftctrl+c"}}', "start it with --input on"),
                       (b'{"command": "key", "arguments": {"keys": "any"}}', 'there is no key "any"'),
                       (b'{"command": "key", "arguments": {"keys": "a+"}}', 'there is no key ""'),
                       (b'{"command": "key", "arguments": {"keys": "a+b+c+d+e+f+g+h+i"}}', "no more than 8 keys"),
                       (b'{"command": "key"}', 'needs an argument "keys"'),
                       (b'{"command": "pointer", "arguments": {"x": 0, "y": 32767}}', "start it with --input on"),
                       (b'{"command": "pointer", "arguments": {"x": 0, "y": 32768}}', "0 to 32767"),
                       (b'{"command": "memory", "arguments": {"size": 4096}}', "start it with --memory SIZE,max=SIZE"),
                       *((b'{"command": "attach", "arguments": {"device": "disk", "name": "x", ' + part + b"}}", wrong) for part, wrong in (
                           (b'"queues": 0', '"queues" is a number'), (b'"queues": 65', '"queues" is a number'), (b'"queues": "2"', '"queues" is a number'),
                           (b'"rate": 5', '"rate" is an object'), (b'"rate": {"bytes_burst": 5}', '"rate" is an object'),
                           (b'"rate": {"bits": 5}', '"rate" is an object'), (b'"rate": {"ops": -1}', '"rate" is an object'),
                           (b'"mac": "52:54:00:12:34"', '"mac" is a card'), (b'"mac": "53:54:00:12:34:56"', '"mac" is a card'),
                           (b'"mac": "52:54:00:12:34:5g"', '"mac" is a card'), (b'"mac": 5', '"mac" is a card'),
                           (b'"queues": 2, "rate": {"bytes": 5, "ops": 7, "ops_burst": 9}, "mac": "52:54:00:AB:cd:ef"', "start the VM with --board pc"))),
                       (b'{"command": "pause", "command": "quit"}', "a line of JSON"), (b"\xff\xfe\x00", "a line of JSON"),
                       (b'{"command": "x' + "ä".encode() * 100 + b'"}', "not understood"), (b'["a",' * 600, "a line of JSON")):
        if text is None:
            continue
        answer = machine.ask(line)
        if text not in answer.get("error", "") or len(answer) != 1:
            fail(f"{line!r}: {answer}")
    # Several in one piece, and one in many pieces.
    with machine.connect() as client:
        client.sendall(b'{"id":1,"command":"help"}\n\n{"id":2,"command":"status"}\n{"id":')
        expect("in order", [json.loads(read_line(client))["id"] for _ in range(2)], [1, 2])
        for byte in b'3,"command":"status"}\n':
            client.sendall(bytes([byte]))
        expect("in pieces", json.loads(read_line(client))["id"], 3)
        client.sendall(b"x" * 5000)
        expect("too long", "4096 bytes" in json.loads(read_line(client))["error"], True)
    # Watching: figures at once, and then every second.
    with machine.connect() as client:
        client.sendall(b'{"command": "watch"}\n')
        expect("watch", json.loads(read_line(client)), {"return": {}})
        first, second = (number(json.loads(read_line(client))["figures"]["exits io"]) for _ in range(2))
        expect("they grow", second > first, True)
    # Clients that do not read, that are many, that leave in the middle.
    lazy = machine.connect()
    lazy.settimeout(2)
    try:
        for _ in range(3000):
            lazy.sendall(b'{"command": "help"}\n' * 10)
        fail("a client that does not read is not dropped")
    except OSError:
        pass
    crowd = [machine.connect() for _ in range(12)]
    for client in crowd:
        client.close()
    for data in (b"{", b'{"command": "watch"}\n', b'{"command": "status"}'):
        client = machine.connect()
        client.sendall(data)
        client.close()
    time.sleep(0.1)
    expect("it still answers", machine.ask('{"command": "status"}')["return"]["name"], "vm")
    accepted("stop", "vm")
    machine.end()


def test_places():
    """No directory: a VM without a name does without; one with a name says what is wrong."""
    other = {**environment, "XDG_RUNTIME_DIR": os.path.join(work, "nowhere")}
    done = subprocess.run([RUSE, "run", "--kernel", GUEST, "--name", "x"], env=other, capture_output=True, text=True)
    expect("no directory", (done.returncode, "can't be made" in done.stderr), (1, True))
    os.mkdir(os.path.join(work, "open"))
    os.mkdir(os.path.join(work, "open/ruse"))
    os.chmod(os.path.join(work, "open/ruse"), 0o777)
    other["XDG_RUNTIME_DIR"] = os.path.join(work, "open")
    done = subprocess.run([RUSE, "run", "--kernel", GUEST, "--name", "x"], env=other, capture_output=True, text=True)
    expect("everybody's directory", (done.returncode, "not a directory of this user alone" in done.stderr), (1, True))


def engines():
    known = json.loads(ruse("engines", "--json").stdout)
    return [e["name"] for e in known if e["works"]]


tests = [test_ps, test_usage, test_stop, test_console, test_protocol, test_places]
tests += [lambda engine=engine, test=test: test(engine) for engine in engines() for test in (test_pause, test_reset)]
try:
    for test in tests:
        try:
            test()
        except Exception as error:
            fail(f"{test.__name__}: {type(error).__name__}: {error}")
        kill_all()
finally:
    kill_all()
    shutil.rmtree(work)
sys.exit(failed)
