"""A network of one's own with a tap interface, and the other end of the network tests in it: where the host lets anybody have one.

Example:
    with Namespace() as inside:                    # BenchError: why there is none
        inside.enter + ["ip", "link"]              # runs there
        inside.source_port, inside.sink_port       # at namespace.HOST

usage, in the namespace: namespace.py          prints the ports, and serves until its input ends
"""
import subprocess
import sys
import time

from machines import BenchError
from net import Peer

TAP, HOST, GUEST = "tap0", "10.9.0.1", "10.9.0.2"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def serve():
    ip("link", "set", "lo", "up")
    ip("tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr")
    ip("addr", "add", f"{HOST}/24", "dev", TAP)
    ip("link", "set", TAP, "up")
    with Peer("0.0.0.0") as peer:
        print(peer.source_port, peer.sink_port, flush=True)
        sys.stdin.read()


class Namespace:
    def __enter__(self):
        try:
            self.child = subprocess.Popen(["unshare", "--map-root-user", "--net", sys.executable, "-B", __file__], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        except OSError as error:
            raise BenchError(f"no network namespace: {error}") from error
        ports = self.child.stdout.readline().split()
        if len(ports) != 2:
            self.__exit__()
            raise BenchError(f"this host allows no network namespace with a tap: {self.child.stderr.read().strip()[-200:]}")
        self.source_port, self.sink_port = map(int, ports)
        self.enter = ["nsenter", "--preserve-credentials", f"--user=/proc/{self.child.pid}/ns/user", f"--net=/proc/{self.child.pid}/ns/net", "--"]
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        for _ in range(50):
            if self.child.poll() is not None:
                return
            time.sleep(0.1)
        self.child.kill()
        self.child.wait()


if __name__ == "__main__":
    serve()
