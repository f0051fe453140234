"""Debugging a guest: gdb itself in batch mode, and the protocol by hand, against guests/debug.c.

usage: gdb.py RUSE ENGINE GUEST.elf      77 (skipped) and the reason where the engine or gdb is not there
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from rsp import Rsp

RUSE, ENGINE, GUEST = sys.argv[1:4]
RAX, RSP, RIP, EFLAGS, CS = 0, 7, 16, 17, 18
failed = 0


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


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


engines = {e["name"]: e for e in json.loads(subprocess.run([RUSE, "engines", "--json"], capture_output=True).stdout)}
if not engines[ENGINE]["works"]:
    skip(engines[ENGINE]["why"])
# A KVM without hardware behind it has no debug registers for data either.
watches_data = ENGINE != "kvm" or engines[ENGINE]["instructions_per_second"] > 2e7
watches_reads = ENGINE != "kvm"

symbols = {}
with open(GUEST, "rb") as f:
    elf = f.read()
shoff = int.from_bytes(elf[40:48], "little")
shnum = int.from_bytes(elf[60:62], "little")
sections = [[int.from_bytes(elf[at + o:at + o + n], "little") for o, n in ((4, 4), (24, 8), (32, 8), (40, 4))]
            for at in range(shoff, shoff + 64 * shnum, 64)]
for kind, offset, size, link in sections:
    if kind == 2:
        names = sections[link][1]
        for at in range(offset, offset + size, 24):
            name = names + int.from_bytes(elf[at:at + 4], "little")
            symbols[elf[name:elf.index(b"\0", name)].decode()] = int.from_bytes(elf[at + 8:at + 16], "little")

work = tempfile.mkdtemp()


class Machine:
    def __init__(self, *options, cpus=1, paused=True, reboot=False):
        self.path = os.path.join(work, "gdb")
        line = [RUSE, "run", "--kernel", GUEST, "--engine", ENGINE, "--test-devices", "--tb-cache", "none", "--memory", "64M",
                "--cpus", str(cpus), "--gdb", f"unix={self.path}", *options]
        line += [] if reboot else ["--no-reboot"]
        self.process = subprocess.Popen(line + (["--paused"] if paused else []), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)

    def connect(self):
        end = time.monotonic() + 10
        while True:
            client = socket.socket(socket.AF_UNIX)
            try:
                client.connect(self.path)
                return client
            except OSError:
                client.close()
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def rsp(self, **how):
        rsp = Rsp(self.connect(), **how)
        rsp.ask("qSupported:swbreak+;hwbreak+")
        return rsp

    def end(self, status=1, text=rb"debug: \d+ checks, 0 failed"):
        try:
            out = self.process.communicate(timeout=300)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            out = self.process.communicate()[0]
            fail(f"the machine did not end: {out!r}")
            return
        expect("exit status", self.process.returncode, status)
        if text and not re.search(text, out):
            fail(f"the guest says {out!r}")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def at(rsp, symbol, what, thread=1):
    rip = rsp.register(RIP)
    if rip != symbols[symbol]:
        fail(f"{what}: at {rip:#x} instead of {symbol} ({symbols[symbol]:#x})")


def in_handler(rsp):
    rip = rsp.register(RIP)
    if symbols["with_interrupts"] <= rip < symbols["with_interrupts"] + 0x100:
        fail(f"at {rip:#x}, where no interrupt has come")


def run_to(rsp, symbol):
    expect(f"breakpoint at {symbol}", rsp.insert(0, symbols[symbol]), "OK")
    expect_match(f"the stop at {symbol}", r"^T05thread:[0-9a-f]+;swbreak:;$", rsp.go())
    at(rsp, symbol, "breakpoint")
    expect("its removal", rsp.remove(0, symbols[symbol]), "OK")


# ---- gdb itself ----

def test_gdb():
    if not shutil.which("gdb"):
        print("gdb is not installed: without it")
        return
    script = [
        ("target remote " + os.path.join(work, "gdb"), r"in pvh_entry"),
        ("info registers rip cr0 efer", r"cr0 +0x[0-9a-f]+ +\[.*PE.*\].*efer +0x0"),
        ("info threads", r"Thread 1 \(CPU#0 \[running\]\)"),
        ("break steps", r"Breakpoint 1 at"),
        ("continue", r"Breakpoint 1, 0x[0-9a-f]+ in steps \(\)"),
        ("print $rdi", r"= 1$"),
        ("stepi", r"in steps_add"),
        ("x/i $pc", r"add +\$0x5,%rax"),
        ("nexti", r"in steps_call"),
        ("print $rax", r"= 6$"),
        ("tbreak *steps_after", r"Temporary breakpoint 2"),
        ("continue", r"in steps_after"),
        ("info registers cr0 cr4", r"\[.*PG.*\].*\[.*PAE.*\]"),
        ("delete", ""),
        ("break hot_middle", ""),
        ("ignore 3 40", ""),
        ("continue", r"Breakpoint 3, .* in hot"),
        ("info breakpoints", r"already hit 41 times"),
        ("delete", ""),
        ("hbreak write_watched", r"Hardware assisted breakpoint 4"),
        ("continue", r"Breakpoint 4, .* in write_watched"),
        ("delete", ""),
    ]
    if watches_data:
        script += [
            ("watch *(unsigned long *)&watched", r"Hardware watchpoint 5"),
            ("continue", r"Old value = 0.*New value = 17.*in write_watched"),
            ("print $pc == watched_written", r"= 1"),
            ("delete", ""),
        ]
    script += [
        ("break finish", ""),
        ("set {char}&steps = 0x90", ""),
        ("print/x {unsigned char}&steps", r"= 0x90"),
        ("set {char}&steps = 0x48", ""),
        ("print $rbx = 0x1234567890", ""),
        ("print/x $rbx", r"= 0x1234567890"),
        ("set $xmm3.uint128 = 7", ""),
        ("print $xmm3.v2_int64", r"= \{7, 0\}"),
        ("set $st0 = 1.5", ""),
        ("print $st0", r"= 1\.5"),
        ("detach", r"detached"),
    ]
    line = ["gdb", "-nx", "-batch", "-ex", "set pagination off", "-ex", "set confirm off", "-ex", "set width 0"]
    for number, (command, _) in enumerate(script):
        line += ["-ex", command, "-ex", f"echo \\n@{number}@\\n"]
    with Machine() as machine:
        machine.connect().close()  # it is there; and going away again lets it go on, so:
        machine.process.kill()
    with Machine() as machine:
        while not os.path.exists(machine.path) or not listens(machine.path):
            time.sleep(0.02)
        done = subprocess.run(line + [GUEST], capture_output=True, timeout=300, text=True)
        rest = done.stdout
        for number, (command, pattern) in enumerate(script):
            out, mark, rest = rest.partition(f"\n@{number}@\n")
            if not mark:
                fail(f"gdb ended before {command!r}: {out} {done.stderr}")
                return
            expect_match(f"gdb: {command}", pattern, out)
        # rbx was made up: how the guest fares after that is not looked at.


def listens(path):
    """Without connecting, which would stop the machine and let it go on: is the socket in the kernel's list?"""
    with open("/proc/net/unix") as f:
        return any(line.rstrip().endswith(" " + path) and line.split()[3] == "00010000" for line in f)


# ---- the protocol by hand ----

def test_protocol():
    with Machine() as machine:
        rsp = machine.rsp(ack=True)
        expect("?", rsp.ask("?"), "T05thread:1;")
        expect("attached", rsp.ask("qAttached"), "1")
        expect("threads", (rsp.ask("qfThreadInfo"), rsp.ask("qsThreadInfo")), ("m1", "l"))
        expect("current", rsp.ask("qC"), "QC1")
        expect("alive", (rsp.ask("T1"), rsp.ask("T2")), ("OK", "E16"))
        expect("extra", bytes.fromhex(rsp.ask("qThreadExtraInfo,1")), b"CPU#0 [running]")
        expect("vCont?", rsp.ask("vCont?"), "vCont;c;C;s;S")
        for unknown in ("vMustReplyEmpty", "qSymbol::", "Z5,0,1", "Q", "!", "qqemu.sstepx"):
            expect(unknown, rsp.ask(unknown), "")
        # A bad checksum is refused, and the right packet then answered once.
        rsp.raw(b"$?#00")
        expect("bad checksum", rsp._byte(5), b"-")
        # What was not understood is sent again.
        rsp.send("qC")
        rsp.reply()
        rsp.raw(b"-")
        expect("sent again", rsp.reply(), "QC1")
        xml = ""
        while True:
            part = rsp.ask(f"qXfer:features:read:target.xml:{len(xml):x},400")
            xml += part[1:]
            if part[0] == "l":
                break
        expect_match("features", r"org.gnu.gdb.i386.core.*name=\"k_gs_base\".*name=\"efer\"", xml)
        expect("xml beyond its end", rsp.ask("qXfer:features:read:target.xml:fffff,10"), "E00")
        everything = rsp.ask("g")
        sizes = [int(bits) // 8 for bits in re.findall(r'bitsize="(\d+)"', xml)]
        expect("the length of g", len(everything), 2 * sum(sizes))
        expect("G", rsp.ask("G" + everything), "OK")
        expect("g again", rsp.ask("g"), everything)
        expect("no ack", rsp.ask("QStartNoAckMode"), "OK")
        rsp.ack = False
        # What can't be written, and what can't be read.
        for bad in ("P12=1700000000000000", "P10=0000000000000080", "p99", "P", "m", "m1", "m1,", "m1,2,3", "Mx", "X1,5:x", "Hq1",
                    "vCont;x", "vCont;c:9", "vCont", "Z0,1", "Z2,0,0", "Z2,0,1001", "Z2,ffffffffffffffff,2", "z0,1234,1", "C",
                    "m11111111111111111,1", "qThreadExtraInfo,0", "Qqemu.sstep=0", "qRcmd,0"):
            if bad == "Z2,0,1001" and ENGINE == "kvm":
                continue
            expect_match(bad, r"^E..$" if bad != "qRcmd,0" else "", rsp.ask(bad))
        # Memory, also physical, and in binary.
        entry = rsp.register(RIP)
        code = rsp.memory(entry, 16)
        expect("code", code, elf[elf.index(code):][:16])
        expect("physical mode", (rsp.ask("Qqemu.PhyMemMode:1"), rsp.ask("qqemu.PhyMemMode")), ("OK", "1"))
        expect("physical memory", rsp.memory(entry, 16), code)
        expect("no RAM there", rsp.ask("mfee00000,4"), "E0e")
        expect("write", rsp.ask("M300000,4:01020304"), "OK")
        expect("binary write", rsp.ask(b"X300004,4:}#$*"), "OK")
        expect("read", rsp.memory(0x300000, 8), b"\1\2\3\4}#$*")
        expect("binary read", rsp.ask("x300002,6"), "b\3\4}#$*")
        expect("write across the end of RAM", rsp.ask("M3fffffe,4:11223344"), "E0e")
        expect("nothing of it was done", rsp.memory(0x3fffffe, 2), b"\0\0")
        # A read at the end of RAM gives what there is.
        expect("short read", rsp.memory(0x3fffff8, 16), bytes(8))
        rsp.ask("Qqemu.PhyMemMode:0")
        expect_match("monitor cpus", r"^\* CPU#0: rip=0x[0-9a-f]+ cr3=0x0 \(running\)$",
                     bytes.fromhex(rsp.ask("qRcmd," + b"cpus".hex())).decode())
        expect("monitor", b"reset" in bytes.fromhex(rsp.ask("qRcmd," + b"help".hex())), True)
        expect("detach", rsp.ask("D"), "OK")
        machine.end()


def test_steps():
    with Machine() as machine:
        rsp = machine.rsp()
        run_to(rsp, "steps")
        expect("no memory there", rsp.ask("mffff800000000000,8"), "E0e")
        flags = rsp.register(EFLAGS)
        for symbol in ("steps_add", "steps_call", "steps_leaf", "steps_leaf_end", "steps_after", "steps_jump", "steps_end"):
            expect(f"step to {symbol}", rsp.step(), "T05thread:1;")
            at(rsp, symbol, "step")
        expect("rax", rsp.register(RAX), 7)
        expect("no trap flag is left", (flags | rsp.register(EFLAGS)) & 0x100, 0)
        # Registers that are written are what the guest goes on with.
        expect("write rax", rsp.set_register(RAX, 7), "OK")
        # An instruction of a block that has run thousands of times; and two breakpoints side by side.
        run_to(rsp, "hot_middle")
        expect("insert", rsp.insert(0, symbols["hot_middle"]), "OK")
        for i in range(20):
            rsp.remove(0, symbols["hot_middle"])
            rsp.step()
            expect("beside it", rsp.register(RIP), symbols["hot_middle"] + 1)
            rsp.insert(0, symbols["hot_middle"])
            expect_match("again", "swbreak", rsp.go())
            at(rsp, "hot_middle", "again")
        rsp.insert(1, symbols["hot_middle"])
        rsp.remove(0, symbols["hot_middle"])
        rsp.step()
        expect_match("Z1 is left", "hwbreak", rsp.go())
        rsp.remove(1, symbols["hot_middle"])
        # What is written over code that has run is what runs.
        rsp.insert(0, symbols["hot_patch"])
        rsp.go()
        rsp.remove(0, symbols["hot_patch"])
        expect("the number", rsp.memory(symbols["hot_patch"] + 3, 1), b"\0")
        expect("patch", rsp.ask(f"M{symbols['hot_patch'] + 3:x},1:01"), "OK")
        # An exception is one step.
        run_to(rsp, "undefined_here")
        total = int.from_bytes(rsp.memory(symbols["patched_total"], 8), "little")
        if not 99000 < total <= 100000:
            fail(f"the patched number was added {total} times")
        expect("step", rsp.step(), "T05thread:1;")
        if ENGINE != "kvm":  # which may be some way into the handler
            frame = rsp.memory(rsp.register(RSP), 8)
            expect("the exception's frame", int.from_bytes(frame, "little"), symbols["undefined_here"])
        # With interrupts due all the time.
        run_to(rsp, "ticking")
        for i in range(1, 5):
            time.sleep(0.01)
            rsp.step()
            expect("step under interrupts", rsp.register(RIP), symbols["ticking"] + i)
        if ENGINE != "kvm":
            expect("let them in", rsp.ask("Qqemu.sstep=1"), "OK")
            time.sleep(0.05)
            rsp.step()
            in_handler(rsp)
            rsp.ask("Qqemu.sstep=3")
            # HLT is a step; the next waits for an interrupt, and does not take it.
            run_to(rsp, "halting")
            expect("HLT", rsp.step(), "T05thread:1;")
            at(rsp, "halted", "behind HLT")
            expect("the next one", rsp.step(), "T05thread:1;")
            expect("is the next one", rsp.register(RIP), symbols["halted"] + 1)
        expect_match("continue at an address", r"swbreak", go_at_end(rsp))
        rsp.ask("D")
        machine.end()


def go_at_end(rsp):
    rsp.insert(0, symbols["finish"])
    return rsp.go("c")


def test_watch():
    if not watches_data:
        print("this KVM has no data breakpoints: without them")
        return
    with Machine() as machine:
        rsp = machine.rsp()
        watched = symbols["watched"]
        # Another value on the same page is written before and after: not that.
        expect("insert", rsp.insert(2, watched, 8), "OK")
        expect("the write", rsp.go(), f"T05thread:1;watch:{watched:x};")
        at(rsp, "watched_written", "behind the write")
        expect("it is done", rsp.memory(watched, 8)[0], 17)
        expect("remove", rsp.remove(2, watched, 8), "OK")
        if watches_reads:
            rsp.insert(3, watched + 4, 1)
            expect("the read", rsp.go(), f"T05thread:1;rwatch:{watched + 4:x};")
            at(rsp, "watched_was_read", "behind the read")
            rsp.remove(3, watched + 4, 1)
        else:
            expect("no read watchpoints", rsp.insert(3, watched, 8), "E16")
        # In the middle of a string instruction: behind the iteration that did it.
        to = symbols["string_to"]
        rsp.insert(4, to + 13, 2)
        for count in (13, 14):
            expect("the string", rsp.go(), f"T05thread:1;awatch:{to + 13:x};")
            at(rsp, "string_copy", "in the string instruction")
            expect("rcx", rsp.register(2), 63 - count)
        rsp.remove(4, to + 13, 2)
        # The stack, which the processor writes itself when an interrupt comes.
        run_to(rsp, "ticking")
        slot = (rsp.register(RSP) & ~15) - 16
        rsp.insert(2, slot, 8)
        expect("the frame", rsp.go(), f"T05thread:1;watch:{slot:x};")
        in_handler(rsp)
        rsp.remove(2, slot, 8)
        rsp.ask("D")
        machine.end()


def test_limits():
    with Machine() as machine:
        rsp = machine.rsp()
        answers = [rsp.insert(0, 0x200000 + i) for i in range(130)]
        expect("as many as there are", answers[0], "OK")
        expect("and not more", answers[129], "E1c")
        expect("how many", answers.count("OK"), 4 if ENGINE == "kvm" else 128)
        rsp.ask("D")
        machine.end()


def test_running():
    """Ctrl-C; questions that come at the wrong time; a client that goes away; another one."""
    with Machine(cpus=2) as machine:
        rsp = machine.rsp()
        run_to(rsp, "hot")
        # The guest is not to end before we have said all.
        expect("it is held", rsp.ask(f"M{symbols['held']:x},1:01"), "OK")
        rsp.send("vCont;c")
        expect("not now", rsp.ask("g"), "E10")
        rsp.interrupt()
        expect_match("Ctrl-C", r"^T0[25]thread:\d;$", rsp.reply())
        rsp.interrupt()  # while it is stopped: nothing
        expect("rip", rsp.register(RIP) > 0, True)
        expect("breakpoint", rsp.insert(0, symbols["finish"]), "OK")
        expect("it is let go", rsp.ask(f"M{symbols['held']:x},1:00"), "OK")
        rsp.sock.close()
        # The breakpoint went with its client.
        machine.end()


def test_processors():
    with Machine(cpus=2) as machine:
        rsp = machine.rsp()
        expect("threads", rsp.ask("qfThreadInfo"), "m1,2")
        expect("it waits", bytes.fromhex(rsp.ask("qThreadExtraInfo,2")),
               b"CPU#1 [waiting to be started]")
        # A step of one that does not run yet: nothing, until somebody has enough of it.
        if ENGINE != "kvm":
            rsp.send("vCont;s:2")
            rsp.wait_running()
            rsp.interrupt()
            expect_match("the step is given up", r"^T02thread:\d;$", rsp.reply())
        rsp.insert(0, symbols["other_work"])
        expect("the other one", rsp.go(timeout=300), "T05thread:2;swbreak:;")
        at(rsp, "other_work", "the other one")
        turns = int.from_bytes(rsp.memory(symbols["other_turns"], 8), "little")
        rsp.remove(0, symbols["other_work"])
        # The first one is stopped, too; only the second steps.
        rsp.ask("Hg1")
        first = rsp.register(RIP)
        for i in range(5):
            expect("a step of the second", rsp.go("vCont;s:2"), "T05thread:2;")
        rsp.ask("Hg1")
        expect("the first has not moved", rsp.register(RIP), first)
        rsp.insert(0, symbols["other_work"])
        expect("around once", rsp.go("vCont;c:2"), "T05thread:2;swbreak:;")
        expect("turns", int.from_bytes(rsp.memory(symbols["other_turns"], 8), "little"), turns + 1)
        rsp.ask("Hg1")
        expect("still not", rsp.register(RIP), first)
        rsp.remove(0, symbols["other_work"])
        if watches_data:
            # The second writes, the first waits for it.
            rsp.insert(2, symbols["other_turns"], 8)
            expect("the second writes", rsp.go(), f"T05thread:2;watch:{symbols['other_turns']:x};")
            rsp.remove(2, symbols["other_turns"], 8)
        # A step of one while the other runs.
        expect("step and continue", rsp.go("vCont;s:2;c"), "T05thread:2;")
        rsp.ask("D")
        machine.end()


def test_reset_and_kill():
    with Machine() as machine:
        rsp = machine.rsp()
        entry = rsp.register(RIP)
        run_to(rsp, "hot")
        # --no-reboot makes a reset the end.
        expect("reset", rsp.ask("qRcmd," + b"reset".hex()), "OK")
        expect("the end is told", rsp.reply(), "W00")
        machine.end(status=0, text=None)
    with Machine(reboot=True) as machine:
        rsp = machine.rsp()
        run_to(rsp, "hot")
        expect("reset", rsp.ask("qRcmd," + b"reset".hex()), "OK")
        run_to(rsp, "begin")
        run_to(rsp, "hot")
        expect("detach", rsp.ask("D"), "OK")
        machine.end()
    with Machine() as machine:
        rsp = machine.rsp()
        rsp.send("k")
        machine.end(status=0, text=None)
    with Machine() as machine:
        rsp = machine.rsp()
        expect("quit", rsp.ask("qRcmd," + b"quit".hex()), "OK")
        machine.end(status=0, text=None)


def test_hostile():
    """Neither the machine nor its answers are lost over what is not the protocol."""
    with Machine() as machine:
        rsp = machine.rsp()
        rsp.raw(b"$" + b"A" * 100000 + b"#00")
        rsp.raw(b"\x00\xff#$#$$$}}}\x03\x03+-+-")
        rsp.raw(b"$qC#zz")
        rsp.raw(b"$m0,ffffffffffffffff#00")
        rsp.raw(b"$vCont" + b";s:1" * 4000 + b"#00")
        rsp.sock.close()
        client = machine.connect()
        client.sendall(b"$?#3f" * 20000)  # and reads nothing
        client.close()
        client = machine.connect()
        client.sendall(b"$m0,2000#00" * 3000)
        time.sleep(0.2)
        client.close()
        machine.end()


try:
    for test in (test_protocol, test_steps, test_watch, test_limits, test_running, test_processors, test_reset_and_kill,
                 test_hostile, test_gdb):
        began = time.monotonic()
        try:
            test()
        except Exception as error:  # say which
            fail(f"{test.__name__}: {type(error).__name__}: {error}")
        print(f"{test.__name__}: {time.monotonic() - began:.1f} s", flush=True)
finally:
    shutil.rmtree(work)
sys.exit(failed)
