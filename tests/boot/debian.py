"""Debian 12 on a disk, unmodified: `ruse run DISK` goes by firmware and GRUB to systemd's login prompt; apt installs packages over user
networking, from an archive on this host and, where its mirror is reachable, from there; the machine is switched off by the guest and by
its power button. By SeaBIOS, which the disk's boot sector asks for, and by OVMF.

usage: debian.py RUSE SOURCE_ROOT [ENGINE]
"""
import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import urllib.request

from guest import Guest, Talk, skip

PROMPT = "ready> "
PACKAGE = "ruse-archive-test"


class System:
    def __init__(self, guest, disk, *options):
        line = [guest.ruse, "run", disk, "--engine", guest.engine, "--tb-cache", "none", "--no-reboot", *options]
        self.child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        guest.children.append(self.child)
        self.talk = Talk(self.child.stdout.fileno())
        self.heard = b""

    def say(self, text):
        os.write(self.child.stdin.fileno(), text.encode())

    def log_in(self):
        self.heard = self.talk.wait_for("guest login: ", timeout=300)
        self.say("root\n")
        self.talk.wait_for("Password: ")
        self.say("ruse\n")
        self.talk.wait_for("guest:~# ", timeout=300)
        # A shell that does not edit lines; what is typed does not look like its prompt.
        self.say("exec env PS1=\"$(printf 'read\\171> ')\" sh\n")
        self.talk.wait_for(PROMPT)

    def command(self, line, timeout=300):
        """What it printed, without the line that was typed."""
        self.say(line + "; echo status=$?\n")
        heard = self.talk.wait_for("\nstatus=", timeout)
        status = self.talk.wait_for("\r")
        self.talk.wait_for(PROMPT)
        return heard.replace(b"\r", b"").partition(b"\n")[2], int(status)


def make_archive(guest):
    """A flat archive with one package."""
    tree, archive = guest.path("package"), guest.path("archive")
    os.makedirs(os.path.join(tree, "DEBIAN"))
    os.makedirs(os.path.join(tree, "usr/share", PACKAGE))
    os.makedirs(archive)
    with open(os.path.join(tree, "usr/share", PACKAGE, "greeting"), "w") as f:
        f.write("hello from the archive\n")
    with open(os.path.join(tree, "DEBIAN/control"), "w") as f:
        f.write(f"Package: {PACKAGE}\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a test\n")
    deb = os.path.join(archive, "package.deb")
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, deb], check=True, capture_output=True)
    with open(deb, "rb") as f:
        content = f.read()
    fields = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout
    with open(os.path.join(archive, "Packages"), "w") as f:
        f.write(f"{fields}Filename: ./package.deb\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n")
    return archive


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def serve(directory):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=directory))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def mirror_reachable(uri):
    try:
        with urllib.request.urlopen(uri + "/dists/bookworm/InRelease", timeout=8) as reply:
            return reply.read(9) == b"-----BEGI"
    except OSError:
        return False


def install(guest, system, source, package, proof, timeout):
    system.command(f"echo '{source}' >/etc/apt/sources.list")
    for line in ["apt-get -q update", f"apt-get -q -y install {package}"]:
        heard, status = system.command(line, timeout)
        if status:
            guest.fail(f"{line}: status {status}, {heard[-2000:]!r}")
    guest.expect(f"{package} in the guest", system.command(proof[0]), (proof[1], 0))


def by_seabios(guest, disk, mirror):
    system = System(guest, disk)
    system.log_in()
    guest.expect_in("firmware", b"SeaBIOS (version", system.heard)
    guest.expect("state of the system", system.command("systemctl is-system-running --wait"), (b"running", 0))
    guest.expect("virtualization", system.command("systemd-detect-virt"), (b"kvm", 0))
    install(guest, system, f"deb [trusted=yes] http://10.0.2.2:{serve(make_archive(guest))} ./", PACKAGE,
            (f"cat /usr/share/{PACKAGE}/greeting", b"hello from the archive"), 120)
    if mirror_reachable(mirror):
        install(guest, system, f"deb {mirror} bookworm main", "hello", ("hello", b"Hello, world!"), 200)
    else:
        print("the mirror is not reachable: packages came from the local archive only")
    system.say("poweroff\n")
    guest.expect("status after poweroff", system.child.wait(timeout=300), 0)


def by_ovmf(guest, disk):
    system = System(guest, disk, "--firmware", "ovmf", "--name", f"debian-{os.getpid()}", "--cpus", "2")
    system.log_in()
    # What was installed before is there.
    guest.expect("the package", system.command(f"cat /usr/share/{PACKAGE}/greeting"), (b"hello from the archive", 0))
    guest.expect("firmware", system.command("[ -d /sys/firmware/efi ] && nproc"), (b"2", 0))
    subprocess.run([guest.ruse, "ctl", f"debian-{os.getpid()}", "power-button"], check=True, capture_output=True)
    guest.expect("status after the power button", system.child.wait(timeout=300), 0)
    checked = subprocess.run(["/sbin/e2fsck", "-fn", f"{disk}?offset={(2048 + 65536) * 512}"], capture_output=True, text=True)
    guest.expect(f"the file system ({checked.stdout})", checked.returncode, 0)


def main():
    guest = Guest(sys.argv)
    built = subprocess.run([os.path.join(sys.argv[2], "guests/debian_disk.sh")], capture_output=True, text=True)
    if built.returncode != 0:
        skip(f"the Debian disk can't be built: {(built.stderr.strip().splitlines() or ['?'])[-1]}")
    disk = guest.path("debian.img")
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", built.stdout.strip(), disk], check=True)
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(LABEL) $(REPO_URI)"], capture_output=True, text=True)
    mirrors = [line.split()[2] for line in listed.stdout.splitlines() if line.startswith("bookworm Debian ")]
    by_seabios(guest, disk, mirrors[0].rstrip("/") if mirrors else "http://127.0.0.1:9")
    by_ovmf(guest, disk)
    return guest.failed


if __name__ == "__main__":
    sys.exit(main())
