"""Sockets between guest and host: each side calls the other, much data and many connections, refusals, a reader that doesn't read,
what garbage at the socket does, and a guest that is reset.

usage: vsock.py RUSE SOURCE_ROOT [ENGINE]
"""
import os
import re
import socket
import subprocess
import sys
import threading
import time

from guest import Guest, Talk, connect, skip

BULK = 6 << 20
MANY = 100
STUFF = 4 << 20


def build(guest, root):
    program = guest.path("vsock")
    done = subprocess.run([os.environ.get("CC", "cc"), "-O2", "-static", os.path.join(root, "guests/vsock.c"), "-o", program],
                          capture_output=True, text=True)
    if done.returncode != 0:
        skip(f"the compiler makes no static programs: {done.stderr.strip().splitlines()[-1]}")
    return open(program, "rb").read()


def listen(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(256)
    return server


def echo_one(client):
    with client:
        while data := client.recv(1 << 16):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)


def echo_server(path):
    server = listen(path)

    def serve():
        while True:
            client, _ = server.accept()
            threading.Thread(target=echo_one, args=[client], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def line_of(client):
    text = b""
    while not text.endswith(b"\n"):
        more = client.recv(1)
        if not more:
            return text
        text += more
    return text


def call(path, port, first=b""):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(300)
    client.connect(path)
    client.sendall(b"CONNECT %d\n" % port + first)
    return client, line_of(client)


def echo_call(guest, path, data, what):
    """Sends data to the guest's echo, the first of it together with the line; all must come back, and then the end."""
    client, line = call(path, 2000, data[:100])
    if not re.fullmatch(rb"OK [0-9]+\n", line):
        guest.fail(f"{what}: the answer is {line!r}")
        return

    def send():
        client.sendall(data[100:])
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    back = b"".join(iter(lambda: client.recv(1 << 16), b""))
    sender.join()
    client.close()
    if back != data:
        guest.fail(f"{what}: {len(back)} bytes of {len(data)} came back, or others")


def host_calls(guest, path):
    echo_call(guest, path, os.urandom(BULK), "bulk")
    threads = [threading.Thread(target=echo_call, args=[guest, path, os.urandom(20000), f"connection {i}"]) for i in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Nobody listens there: closed without an answer. So is what is no request; the others don't notice.
    guest.expect("a port without listener", call(path, 4444)[1], b"")
    for garbage in b"CONNECT\n", b"CONNECT 99999999999\n", b"GET / HTTP/1.0\r\n\r\n", b"CONNECT " + b"1" * 100, b"\n":
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(300)
        client.connect(path)
        client.sendall(garbage)
        try:
            guest.expect(f"the answer to {garbage!r}", client.recv(10), b"")
        except ConnectionResetError:
            pass
        client.close()
    # More that say nothing than are kept; the oldest ones go.
    silent = [connect(path) for _ in range(80)]
    silent[0].settimeout(300)
    guest.expect("the oldest of the silent", silent[0].recv(10), b"")
    echo_call(guest, path, b"x" * 1000, "beside the silent")
    for client in silent:
        client.close()


def stuffing(guest, talk, server):
    """The guest sends more than anybody takes: it has to stop, and nothing is lost."""
    client, _ = server.accept()
    stuffed = int(talk.wait_for("\n").split()[-1])
    if stuffed > 2 << 20:
        guest.fail(f"the guest could send {stuffed} bytes that nobody read")
    got = 0
    while more := client.recv(1 << 16):
        got += len(more)
    guest.expect("bytes after the stop", got, STUFF)
    talk.wait_for("sent\n")


def dialogue(guest, program):
    path = guest.path("v")
    echo_server(f"{path}_1024")
    stuffed, dying = listen(f"{path}_1025"), listen(f"{path}_1026")
    script = f"""
        cat >/tmp/vsock; chmod +x /tmp/vsock
        v=/tmp/vsock
        $v talk 1024 {BULK} 1; $v talk 1024 20000 {MANY}; $v talk 1024 1 1
        $v call 9999; $v call 1024
        $v stuff 1025
        $v reset 1026
        $v echo 2000 {MANY + 2}
        echo over
        """
    child = guest.start("--cpus", "2", "--no-reboot", "--vsock", f"cid=77,uds={path}", command=["sh", "-c", script])
    child.stdin.write(program)
    child.stdin.close()
    talk = Talk(child.stdout.fileno())
    for line in "talked", "talked", "talked", "connect: Connection reset by peer", "connected":
        guest.expect("what the guest's caller says", talk.wait_for("\n", 100).decode(), line)
    stuffing(guest, talk, stuffed)
    client, _ = dying.accept()
    client.sendall(b"unread")
    guest.expect("the end of a caller that died", client.recv(10), b"")
    talk.wait_for("listening\n")
    host_calls(guest, path)
    talk.wait_for("echoed\n", 100)
    talk.wait_for("over\n")
    guest.expect("exit status", child.wait(60), 0)
    guest.expect("messages", child.stderr.read(), b"")


def reset(guest, program):
    """A connection ends with the machine's reset, and the new one is reachable."""
    path, log = guest.path("r"), guest.path("log")
    child = guest.start("--vsock", f"cid=3,uds={path}", "--serial", f"file={log}", "--console", "stdio",
                        append="console=ttyS0 console=hvc0 loglevel=3 panic=-1")
    server = listen(f"{path}_1024")
    talk = Talk(child.stdout.fileno())
    talk.say = lambda text: (time.sleep(0.5), child.stdin.write(text.encode()))
    for turn in range(2):
        talk.wait_for("guest:~# ")
        # Nothing of ours is in there: the shell's own means. A module says that the device works.
        talk.say("cat /proc/modules | grep -c ^vmw_vsock_virtio_transport\\ ; echo done\n")
        guest.expect_in(f"the module, turn {turn}", b"\n1", talk.wait_for("\ndone"))
        talk.wait_for("guest:~# ")
        guest.expect("a port without listener", call(path, 4444)[1], b"")
        talk.say("reboot -f\n" if turn == 0 else "poweroff -f\n")
    guest.expect("exit status", child.wait(60), 0)
    server.close()


def main():
    guest = Guest(sys.argv)
    program = build(guest, sys.argv[2])
    try:
        dialogue(guest, program)
        reset(guest, program)
    except (EOFError, TimeoutError, OSError) as why:
        guest.fail(f"{type(why).__name__} {why}")
    sys.exit(guest.failed)


main()
