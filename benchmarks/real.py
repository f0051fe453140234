"""Real programs, natively and in guests: what they print, as figures.

Example:
    for figure, value, unit in parse_output(output): ...
"""
import re
import shutil
import subprocess

from machines import BenchError, Boot, run_linux

# In the guest: the tree is the first disk.
GUEST_SCRIPT = """\
mount -t ext4 /dev/vda /mnt && cp /bench/suite /mnt/bench/suite && /bench/suite --root /mnt -- sh /bench/work.sh {seconds}
status=$?
umount /mnt
exit $status
"""
TIMEOUT = 300
# 7-Zip's last line but one: speed, usage, rating a usage and rating, of compressing and of decompressing.
SEVEN_ZIP = re.compile(r"^Avr:\s+(\d+)\s+\d+\s+\d+\s+\d+\s+\|\s+(\d+)\s+\d+\s+\d+\s+\d+\s*$")
CIPHERS = {"sha256": "openssl-sha256", "aes-128-gcm": "openssl-aes-gcm"}
FIGURES = {"openssl-sha256", "openssl-aes-gcm", "openssl-rsa-sign", "openssl-rsa-verify", "7z-compress", "7z-decompress",
           "python-start", "python-loop", "gcc", "sqlite"}


def parse_line(line):
    """Figures in a line: (name, value, unit)."""
    fields = line.strip().split(":")
    if fields[0] == "+F" and len(fields) == 4 and fields[2].lower() in CIPHERS:
        return [(CIPHERS[fields[2].lower()], float(fields[3]) / 1e6, "MB/s")]
    if fields[0] == "+F2" and len(fields) == 5:
        return [("openssl-rsa-sign", float(fields[3]), "op/s"), ("openssl-rsa-verify", float(fields[4]), "op/s")]
    found = SEVEN_ZIP.match(line)
    if found:
        return [("7z-compress", int(found[1]) / 1e3, "MB/s"), ("7z-decompress", int(found[2]) / 1e3, "MB/s")]
    words = line.split()
    if len(words) == 3 and words[2] == "ns":
        return [(words[0], float(words[1]), "ns")]
    return []


def parse_output(machine, output):
    figures = [figure for line in output.splitlines() for figure in parse_line(line)]
    missing = FIGURES - {name for name, _, _ in figures}
    if missing:
        raise BenchError(f"{machine}: the real programs don't say {', '.join(sorted(missing))}: {output.strip()[-300:]}")
    return figures


def measure_native(suite, tree, seconds):
    shutil.copy(suite, tree / "bench" / "suite")
    result = subprocess.run([suite, "--root", tree, "--", "sh", "/bench/work.sh", str(seconds)], capture_output=True,
                            text=True, check=False, stdin=subprocess.DEVNULL, timeout=TIMEOUT)
    if result.returncode:
        raise BenchError(f"the real programs don't run natively: {result.stderr.strip()[-300:]}")
    return parse_output("native", result.stdout)


def measure_guest(machine, guest, image, seconds, work):
    command = ["sh", "-c", GUEST_SCRIPT.format(seconds=seconds)]
    run = run_linux(machine, guest, Boot(command, disk=image), work, limit=TIMEOUT)
    return parse_output(machine.name, run.output)
