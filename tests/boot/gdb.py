"""Debian's kernel under a debugger: a breakpoint at a system call, on two processors, in whatever address space; a watchpoint on a
variable of the kernel; registers, memory, steps.

usage: gdb.py RUSE SOURCE_ROOT ENGINE
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../engine"))
from guest import Guest, connect
from rsp import Rsp

RSP, RIP = 7, 16
guest = Guest(sys.argv)
NOKASLR = "console=ttyS0 quiet panic=-1 nokaslr"

# Where things are: the same guest says it.
found = guest.run("--append", NOKASLR, command=["sh", "-c", "cat /proc/kallsyms"])
symbols = {}
for line in found.stdout.decode().splitlines():
    parts = line.split()
    if len(parts) == 3:
        symbols.setdefault(parts[2], int(parts[0], 16))
uname = symbols["__x64_sys_newuname"]

path = guest.path("gdb")
child = guest.start("--gdb", f"unix={path}", "--paused", "--cpus", "2", "--no-reboot", append=NOKASLR,
                    command=["sh", "-c", "uname -n; uname -n; echo done"])
rsp = Rsp(connect(path))
rsp.ask("qSupported:swbreak+")
guest.expect("it waits", bytes.fromhex(rsp.ask("qThreadExtraInfo,1")), b"CPU#0 [running]")
guest.expect("threads", rsp.ask("qfThreadInfo"), "m1,2")

# Each of the two programs comes by.
guest.expect("insert", rsp.insert(0, uname), "OK")
stacks = set()
for turn in range(2):
    reply = rsp.go(timeout=300)
    if not reply.startswith("T05thread:") or not reply.endswith(";swbreak:;"):
        guest.fail(f"the stop is {reply}")
    guest.expect("rip", rsp.register(RIP), uname)
    stacks.add(rsp.register(RSP) & ~0x3fff)
    # Kernel memory by the page tables of whoever it is.
    banner = rsp.memory(symbols["linux_banner"], 14)
    guest.expect("the kernel's banner", banner, b"Linux version ")
    # The return address leads into the kernel.
    back = int.from_bytes(rsp.memory(rsp.register(RSP), 8), "little")
    guest.expect("the return address", back >> 31, 0x1ffffffff)
    # Ten steps by hand: no interrupt's handler in between.
    rsp.remove(0, uname)
    thread = int(reply.split(":")[1].split(";")[0], 16)
    for i in range(10):
        before = rsp.register(RIP)
        guest.expect("step", rsp.step(thread), f"T05thread:{thread:x};")
        after = rsp.register(RIP)
        if after == before:
            guest.fail(f"a step stays at {after:#x}")
    rsp.insert(0, uname)
rsp.remove(0, uname)

# A variable that the timer's interrupt writes.
jiffies = symbols["jiffies"]
guest.expect("watch", rsp.insert(2, jiffies, 8), "OK")
last = int.from_bytes(rsp.memory(jiffies, 8), "little")
for turn in range(5):
    reply = rsp.go()
    if not reply.endswith(f";watch:{jiffies:x};"):
        guest.fail(f"the stop is {reply}")
    now = int.from_bytes(rsp.memory(jiffies, 8), "little")
    if now <= last:
        guest.fail(f"jiffies goes from {last} to {now}")
    last = now
rsp.remove(2, jiffies, 8)
guest.expect("detach", rsp.ask("D"), "OK")
out, err = child.communicate(timeout=300)
guest.expect_in("the guest goes on as if nothing had been", b"done", out)
guest.expect("exit status", child.returncode, 0)
sys.exit(guest.failed)
