"""Serial port and console on every kind of stream, a shell to talk to, reset, power-off, and the terminal afterwards.

usage: streams.py RUSE SOURCE_ROOT [ENGINE]
"""
import fcntl
import os
import pty
import re
import sys
import termios

from guest import Guest, Talk, connect, raw

SHELL = "console=ttyS0 loglevel=3 panic=-1"
PROMPT = "guest:~# "


def file_and_socket(guest):
    """The serial port's kernel log goes to a file, the shell is on the virtio console behind a socket."""
    log, sock = guest.path("log"), guest.path("sock")
    child = guest.start("--serial", f"file={log}", "--console", f"unix={sock}", append="console=ttyS0 console=hvc0")
    client = connect(sock)
    talk = Talk(client.fileno())
    talk.wait_for(PROMPT)
    guest.expect_in("an answer over the socket", b"\n42\r\n", talk.command("echo $((6 * 7))"))
    # Who leaves may come back.
    client.close()
    client = connect(sock)
    talk = Talk(client.fileno())
    talk.say("\n")
    talk.wait_for(PROMPT)
    guest.expect_in("an answer after coming back", b"\n/dev/hvc0\r\n", talk.command("tty"))
    talk.say("poweroff -f\n")
    guest.expect("status of a power-off", child.wait(60), 0)
    text = open(log, "rb").read()
    guest.expect_in("the log in the file", b"Linux version", text)
    guest.expect_in("the log's end in the file", b"reboot: Power down", text)


def pseudo_terminal(guest):
    """The shell is behind a pseudo-terminal of ruse's; the machine is reset from there and comes again."""
    child = guest.start("--serial", "pty", "--cpus", "2", append=SHELL)
    err = Talk(child.stderr.fileno())
    path = re.search(rb"/dev/pts/\d+", err.wait_for("\n")).group(0).decode()
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
    raw(fd)
    talk = Talk(fd)
    talk.wait_for(PROMPT)
    talk.command("echo one >/tmp/file")
    talk.say("reboot -f\n")
    talk.wait_for(PROMPT)
    guest.expect_in("a file after the reset", b"No such file", talk.command("cat /tmp/file"))
    guest.expect_in("processors after the reset", b"\n2\r\n", talk.command("nproc"))
    talk.say("poweroff -f\n")
    guest.expect("status after a reset and a power-off", child.wait(60), 0)
    os.close(fd)


def on_terminal(guest, slave):
    """A guest on a terminal that is its session's, as under a shell."""
    return guest.start(append=SHELL, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                       preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))


def own_terminal(guest):
    """Our terminal: help, a Ctrl-A for the guest, Ctrl-C not ours but the guest's, quit; then it is as it was."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    child = on_terminal(guest, slave)
    talk = Talk(master)
    talk.wait_for(PROMPT)
    if termios.tcgetattr(slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG):
        guest.fail("the terminal is not raw while the guest has it")
    talk.say("sleep 1000\n")
    talk.wait_for("sleep 1000")
    talk.say("\x03")
    talk.wait_for(PROMPT)
    guest.expect_in("the guest after Ctrl-C", b"\nalive\r\n", talk.command("echo alive"))
    talk.say("\x01h")
    talk.wait_for("Ctrl-A")
    talk.say("\x01x")
    guest.expect("status of Ctrl-A x", child.wait(20), 0)
    guest.expect("the terminal afterwards", termios.tcgetattr(slave), before)

    # Killed by a signal that can be caught: the same.
    child = on_terminal(guest, slave)
    talk = Talk(master)
    # Raw from the first byte that the guest says.
    talk.wait_for("\n")
    child.terminate()
    guest.expect("status of SIGTERM", child.wait(20) in (-15, 128 + 15), True)
    guest.expect("the terminal after SIGTERM", termios.tcgetattr(slave), before)
    os.close(slave)
    os.close(master)


def ends(guest):
    """--no-reboot makes of a reset an end."""
    done = guest.run("--serial", "none", command=["sh", "-c", "echo out; reboot -f; sleep 60"])
    guest.expect("output before a reset", done.stdout, b"out\n")
    guest.expect("status of a reset before the command's end", done.returncode, 3)


guest = Guest(sys.argv)
for part in file_and_socket, pseudo_terminal, own_terminal, ends:
    try:
        part(guest)
    except (EOFError, TimeoutError, AttributeError) as why:
        guest.fail(f"{part.__name__}: {why}")
sys.exit(guest.failed)
