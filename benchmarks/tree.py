"""The tree of Debian's packages that real programs run in: natively by chroot, and as the disk of each guest.

Example:
    tree, image = build_tree(top, cache_directory(), suite)

Nothing is installed, mounted or run as root: apt works out and fetches the packages, dpkg-deb unpacks them, mke2fs makes
an image of them. The tree is kept, under a name made of what went into it.
"""
import fcntl
import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from machines import BenchError

PACKAGES = ("openssl", "7zip", "python3", "gcc", "libc6-dev", "sqlite3", "dash")
IMAGE_SLACK_MIB = 192
C_FUNCTIONS, SQL_ROWS = 125, 20000
FETCH_TIMEOUT = 600


class NoTree(BenchError):
    """The tree can't be had here, and why."""


def cache_directory():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RUSE_CACHE") or Path(base) / "ruse") / "bench"


# ---- what the programs work on ----

def large_c(functions=C_FUNCTIONS):
    """A C file of 24 lines a function: loops, branches, structures, floating point, calls. The same each time."""
    parts = ["#include <stdint.h>", "#include <stdlib.h>", "#include <string.h>", "#include <math.h>", "",
             "struct item { struct item *next; uint32_t key, flags; double weight; char name[16]; };", ""]
    for n in range(functions):
        before = f"work_{n - 1}(list, size / 2 + 1)" if n else "(uint64_t)size"
        parts.append(f"""\
uint64_t work_{n}(struct item *list, unsigned size)
{{
	uint64_t sum = {n * 2654435761 % 4294967291}u, limit = size % {n % 13 + 5};
	uint32_t table[{n % 24 + 8}];

	memset(table, {n % 7}, sizeof(table));
	for (struct item *at = list; at; at = at->next) {{
		switch ((at->key + {n}) % 6) {{
		case 0: sum += at->flags * {n * 3 + 1}u; break;
		case 1: sum ^= (uint64_t)at->key << {n % 31 + 1}; break;
		case 2: at->weight = at->weight * {n}.5 + sqrt(fabs(at->weight)); break;
		case 3: at->flags = at->flags >> {n % 5 + 1} | {n % 3}u; break;
		case 4: memcpy(at->name, "item{n % 1000:03}", 8); break;
		default: table[at->key % {n % 24 + 8}] += at->flags; break;
		}}
	}}
	for (unsigned i = 0; i < limit; i++)
		for (unsigned k = i; k < sizeof(table) / sizeof(table[0]); k += {n % 3 + 1})
			sum = sum * 31 + table[k] % (i + {n % 9 + 2});
	if (sum & {1 << n % 20})
		sum -= {before};
	return sum;
}}
""")
    return "\n".join(parts)


def inserts_sql(rows=SQL_ROWS):
    lines = ["PRAGMA synchronous=OFF;", "DROP TABLE IF EXISTS item;",
             "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, weight REAL, part INTEGER);",
             "CREATE INDEX item_name ON item(name);", "BEGIN;"]
    lines += [f"INSERT INTO item VALUES({row}, 'item {row * 7919 % 100003}', {row * 31 % 1009}.25, {row % 17});"
              for row in range(rows)]
    return "\n".join(lines + ["COMMIT;"]) + "\n"


def work_files(top):
    """Name in the tree -> content."""
    real = top / "benchmarks" / "real"
    return {"work.sh": (real / "work.sh").read_text(), "loop.py": (real / "loop.py").read_text(),
            "large.c": large_c(), "inserts.sql": inserts_sql()}


# ---- packages ----

def run(argv, what, **options):
    """What it prints."""
    try:
        result = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                check=False, timeout=FETCH_TIMEOUT, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoTree(f"{what} failed: {error}") from error
    if result.returncode:
        raise NoTree(f"{what} failed: {(result.stderr or result.stdout).strip()[-300:]}")
    return result.stdout


def parse_simulation(text):
    """NAME=VERSION of what `apt-get --simulate install` would install: "Inst NAME (VERSION ...) ...". """
    packages = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "Inst" and words[2].startswith("("):
            packages.append(f"{words[1]}={words[2][1:]}")
    return packages


def resolve_packages(work):
    """The packages and all that they depend on, as if nothing were installed."""
    status = work / "status"
    status.write_text("")
    found = parse_simulation(run(["apt-get", "--option", f"Dir::State::status={status}", "--simulate",
                                  "--no-install-recommends", "install", *PACKAGES], "finding Debian's packages"))
    if not found:
        raise NoTree("finding Debian's packages failed: apt-get would install nothing; try apt-get update")
    return found


def unpack(packages, work, tree):
    debs = work / "debs"
    debs.mkdir()
    # Its sandbox user can't write there.
    run(["apt-get", "--option", "APT::Sandbox::User=", "--quiet", "download", *packages],
        "fetching Debian's packages (is there a network? are the lists old? then apt-get update)", cwd=debs)
    for deb in sorted(debs.glob("*.deb")):
        run(["dpkg-deb", "--extract", deb, tree], f"unpacking {deb.name}")
    shutil.rmtree(debs)


def directory_mib(directory):
    return sum(path.lstat().st_size + 4096 for path in directory.rglob("*")) >> 20


def make_image(tree, image):
    """ext4 without a journal: a guest that is killed leaves nothing to repair that we would use."""
    size = directory_mib(tree) + IMAGE_SLACK_MIB
    with open(image, "wb") as file:
        file.truncate(size << 20)
    run(["/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d", tree, image],
        "making the disk of the real programs")


@contextmanager
def locked(path):
    with open(path, "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build_tree(top, cache, suite):
    """The directory and the image; made if they are not there yet. The packages of an old one are not looked at again."""
    files = work_files(top)
    name = hashlib.sha256(repr((PACKAGES, sorted(files.items()))).encode()).hexdigest()[:16]
    done, image = cache / f"tree-{name}", cache / f"tree-{name}.img"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        if done.exists() and image.exists():
            return done, image
        for old in [*cache.glob("tmp.*"), *cache.glob("tree-*")]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        work = cache / f"tmp.{os.getpid()}"
        tree = work / "tree"
        for directory in ("bench", "tmp"):
            (tree / directory).mkdir(parents=True)
        unpack(resolve_packages(work), work, tree)
        for file, content in files.items():
            (tree / "bench" / file).write_text(content)
        # So that Python has compiled what it loads, as it has on an installed system.
        subprocess.run([suite, "--root", tree, "--", "python3", "/bench/loop.py"], stdin=subprocess.DEVNULL,
                       capture_output=True, check=False)
        make_image(tree, work / "image")
        os.rename(work / "image", image)
        os.rename(tree, done)
        shutil.rmtree(work)
    return done, image
