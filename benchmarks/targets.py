"""How fast ruse must be: each target as a function of the medians.

Example:
    for row in evaluate(groups, ["ruse dbt", "QEMU TCG q35"]):
        row["title"], row["limit"], row["values"]["ruse dbt"], row["met"]["ruse dbt"]
"""
from dataclasses import dataclass, field

from figures import COMPUTE, geometric_mean, median, slowdown, title

TCG = ("QEMU TCG q35", "QEMU TCG microvm", "QEMU TCG virt")


@dataclass(frozen=True)
class Target:
    title: str
    # For now, and where we are going; None: there is none.
    limit: float
    goal: float
    # Of the medians and a machine's name; None if that wasn't measured.
    value: object = field(repr=False)
    unit: str = "x"
    at_least: bool = False
    # The figure it is about, if it is one figure's slow-down: to be shown beside it.
    figure: str = None

    def met(self, value):
        if self.limit is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


def compute_slowdowns(groups, machine):
    values = [slowdown(groups, "programs", figure, machine) for figure in COMPUTE]
    return values if all(values) else None


def mean_of_compute(groups, machine):
    values = compute_slowdowns(groups, machine)
    return geometric_mean(values) if values else None


def worst_of_compute(groups, machine):
    values = compute_slowdowns(groups, machine)
    return max(values) if values else None


def against_native(group, figure, limit, goal):
    return Target(title(figure), limit, goal, lambda groups, machine: slowdown(groups, group, figure, machine),
                  figure=figure)


def start_against_tcg(figure):
    """The part of TCG's time to the guest's init; of the fastest board's."""
    def value(groups, machine):
        ours = median(groups, "machine", figure, machine)
        theirs = [median(groups, "machine", "init", name) for name in TCG]
        theirs = [time for time in theirs if time]
        return ours / min(theirs) if ours and theirs else None
    return value


def against_tcg(figure, limit, goal):
    """The part of TCG's time for one program."""
    return Target(f"{title(figure)}, against TCG", limit, goal, lambda groups, machine: part_of_tcg(groups, figure, machine))


def part_of_tcg(groups, figure, machine):
    return None if machine in TCG else slowdown(groups, "programs", figure, machine, "QEMU TCG virt")


def mean_against_tcg(groups, machine):
    parts = [part_of_tcg(groups, figure, machine) for figure in COMPUTE]
    return geometric_mean(parts) if all(parts) else None


def gain_of_processors(groups, machine):
    one, two = (median(groups, "smp", figure, machine) for figure in ("tasks-1", "tasks-2"))
    return two / one if one and two else None


def of_machine(figure):
    return lambda groups, machine: median(groups, "machine", figure, machine)


REAL = ("openssl-sha256", "openssl-aes-gcm", "openssl-rsa-sign", "openssl-rsa-verify", "7z-compress", "7z-decompress",
        "python-start", "python-loop", "gcc", "sqlite")
TARGETS = {"x86_64": (
    Target("compute programs, geometric mean", 1.5, 1.2, mean_of_compute),
    Target("compute programs, the slowest", 2.5, None, worst_of_compute),
    against_native("programs", "syscall", 1.5, 1.0),
    against_native("programs", "syscall-pti", 3, 1.5),
    against_native("programs", "fork", 3, 1.5),
    against_native("programs", "fault", 3, 1.5),
    against_native("programs", "pipe", 3, 1.5),
    Target("process start to init, cold, against TCG", 0.42, 0.2, start_against_tcg("init")),
    Target("process start to init, warm, against TCG", 0.25, 0.12, start_against_tcg("init-warm")),
    *(against_native("real", figure, 2, 1.3) for figure in REAL),
    Target("two processors against one, two tasks", 1.8, 1.95, gain_of_processors, at_least=True),
    Target("host memory beside the guest's, idle shell", 64, 24, of_machine("memory-shell"), "MiB"),
    Target("processor time of an idle guest", 1, 0.2, of_machine("idle"), "%"),
), "aarch64": (
    Target("compute programs, geometric mean, against TCG", 0.4, 0.25, mean_against_tcg),
    Target("compute programs, geometric mean, against native", None, 2.0, mean_of_compute),
    against_tcg("double", 0.2, 0.1),
    against_tcg("syscall", 0.02, 0.005),
    against_tcg("fork", 0.3, 0.1),
    against_tcg("fault", 0.3, 0.1),
    against_tcg("pipe", 0.3, 0.1),
    Target("process start to init, against TCG", 0.4, 0.2, start_against_tcg("init")),
)}
# What each figure may be, as a slow-down against native.
LIMITS = {"x86_64": {**dict.fromkeys(COMPUTE, 2.5), **{target.figure: target.limit for target in TARGETS["x86_64"] if target.figure}},
          "aarch64": {}}


def evaluate(groups, machines, arch="x86_64"):
    """A row a target of that architecture's that any of the machines has a value for."""
    rows = []
    for target in TARGETS[arch]:
        values = {machine: target.value(groups, machine) for machine in machines}
        values = {machine: value for machine, value in values.items() if value is not None}
        if values:
            rows.append({"title": target.title, "unit": target.unit, "at_least": target.at_least, "limit": target.limit,
                         "goal": target.goal, "values": values,
                         "met": {machine: target.met(value) for machine, value in values.items()}})
    return rows
