"""What the host says about a running machine: its memory and its processor time.

Example:
    memory = read_memory(process.pid, 512)
    memory.beside, memory.page_tables, processor_seconds(process.pid)
"""
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Memory:
    """In KiB: resident and the guest's, resident and not, and what the host's kernel needs to map all of it."""

    beside: int
    guest: int
    page_tables: int = 0


@dataclass
class Mapping:
    size: int
    rss: int
    pss: int
    # Device, inode and path; "p" is private.
    flags: str
    device: str
    inode: str
    path: str

    @property
    def file(self):
        return (self.device, self.inode) if self.inode != "0" else None

    @property
    def unique(self):
        """What it takes. Memory of our own that is mapped twice is counted once; libraries count as if nobody else used
        them."""
        own = "s" in self.flags or self.path.startswith("/memfd:")
        return self.pss if own else self.rss


def parse_smaps(text):
    mappings = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and "-" in words[0] and not words[0].endswith(":"):
            mappings.append(Mapping(0, 0, 0, words[1], words[3], words[4], " ".join(words[5:])))
        elif mappings and words and words[0] in ("Size:", "Rss:", "Pss:"):
            setattr(mappings[-1], words[0][:-1].lower(), int(words[1]))
    return mappings


def split_memory(mappings, guest_mib):
    """The guest's memory is the mapping of just that size, and whatever maps the same file: a translator maps it several
    times, in parts."""
    whole = [mapping for mapping in mappings if mapping.size == guest_mib * 1024]
    files = {mapping.file for mapping in whole} - {None}
    guests = [mapping for mapping in mappings if mapping in whole or mapping.file in files]
    beside = sum(mapping.unique for mapping in mappings if mapping not in guests)
    return Memory(beside, sum(mapping.pss for mapping in guests)) if guests else None


def read_memory(pid, guest_mib):
    try:
        memory = split_memory(parse_smaps(Path(f"/proc/{pid}/smaps").read_text()), guest_mib)
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    if memory:
        memory.page_tables = sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmPTE:"))
    return memory


def processor_seconds(pid):
    """Of all its threads that there are."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9
