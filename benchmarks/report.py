"""Turns medians into a table in Markdown, a chart, and JSON.

Example:
    report.write(Path("benchmarks/results"), host, groups)

A group is {figure: {"unit": ..., "values": {machine: [...]}, "median": {machine: ...}}}; host describes the run.
"""
import json
import math
import statistics
from xml.sax.saxutils import escape

NATIVE = "native"
TITLES = {
    "integer": "integer arithmetic",
    "calls": "calls (fibonacci(12))",
    "sort": "quicksort of 4096",
    "double": "double floating point (48x48 matrices)",
    "copy": "memory copy of 1 MiB",
    "chase": "pointer chase through 2 MiB",
    "syscall": "system call (getppid)",
    "fork": "fork, exit, wait",
    "fault": "page fault",
    "pipe": "pipe round trip",
    "disk-write": "disk: write, 256 KiB blocks",
    "disk-read": "disk: read, 256 KiB blocks",
    "disk-4k-read": "disk: read, 4 KiB blocks at random",
    "net-receive": "network: host to guest",
    "net-send": "network: guest to host",
    "init": "process start to the guest's init",
    "start": "process start to exit of a one-instruction guest",
    "first": "process start to the first guest instruction",
    "memory": "memory beside the guest's, idle machine",
    "memory-linux": "memory beside the guest's, Linux after the suite",
    "loop": "integer loop, million instructions a second",
}
# Of these more is better.
RATES = ("MB/s", "MIPS")
COLOURS = ("#1f77b4", "#2ca02c", "#d9822b", "#8c6bb1")


def number(value):
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def with_unit(value, unit):
    if unit == "ns":
        for limit, name in ((1e3, "ns"), (1e6, "µs"), (1e9, "ms")):
            if value < limit:
                return f"{number(value / limit * 1e3)} {name}"
        return f"{number(value / 1e9)} s"
    return f"{number(value)} {unit}"


def machines_of(figures):
    names = []
    for entry in figures.values():
        names += [name for name in entry["median"] if name not in names]
    return names


def better(entry, machine, other):
    """How many times better machine is than other; None if one of them wasn't measured."""
    a, b = entry["median"].get(machine), entry["median"].get(other)
    if not a or not b:
        return None
    return a / b if entry["unit"] in RATES else b / a


def spread(entry):
    """The widest of the series, as (largest - smallest) / median."""
    return max((max(values) - min(values)) / entry["median"][name] for name, values in entry["values"].items())


# ---- table ----

def table(title, figures, reference, columns):
    """One row a figure; a ratio in each machine's column, against the reference column."""
    ours = [name for name in columns if name.startswith("ruse ")]
    theirs = [name for name in columns if name.startswith("QEMU ")]
    compared = [(a, b) for a in ours for b in theirs]
    heads = [title, *columns, *(f"{a} against {b}" for a, b in compared), "spread"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name, entry in figures.items():
        cells = [TITLES.get(name, name)]
        for column in columns:
            value = entry["median"].get(column)
            cell = "" if value is None else with_unit(value, entry["unit"])
            ratio = better(entry, reference, column) if column != reference else None
            if ratio and reference:
                cell += f" ({number(ratio)}x)"
            cells.append(cell)
        for a, b in compared:
            ratio = better(entry, a, b)
            cells.append(f"{number(ratio)}x" if ratio else "")
        cells.append(f"{spread(entry) * 100:.0f}%")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def text(host, groups):
    lines = ["# Measured", ""]
    lines += [f"{host['date']}, {host['processors']} x {host['processor']}, host Linux {host['host_kernel']}, guest "
              f"Linux {host['guest_kernel']}, {host['ruse']}, {host['qemu']}. Medians of {host['rounds']} rounds of "
              "one run.", ""]
    busy = host["busy_with_other_work"]
    if busy > 0.1:
        lines += [f"**The host was busy with other work: {busy * 100:.0f}% of its processors' time. Ratios suffer "
                  "less than the figures themselves, but suffer.**", ""]
    disagreement = statistics.median(spread(entry) for figures in groups.values() for entry in figures.values())
    if disagreement > 0.25:
        lines += [f"**The rounds disagree by {disagreement * 100:.0f}% in the middle row: the host was not quiet, and "
                  "a difference smaller than that means nothing.**", ""]
    for remark in host["remarks"]:
        lines += [f"- {remark}"]
    if host["remarks"]:
        lines += [""]
    if "programs" in groups:
        lines += ["## Programs", "", "Time of one operation; in brackets how many times slower than natively on the "
                  "host. *Against*: above 1, ruse is faster.", ""]
        lines += table("one operation", groups["programs"], NATIVE, machines_of(groups["programs"])) + [""]
    if "devices" in groups:
        lines += ["## Devices", "", "Throughput; in brackets how many times slower than natively: the same file "
                  "through the host's page cache, the same connection over its loopback.", ""]
        lines += table("throughput", groups["devices"], NATIVE, machines_of(groups["devices"])) + [""]
    if "machine" in groups:
        lines += ["## Machine", "", "*Against*: above 1, ruse is better.", ""]
        lines += table("the machine", groups["machine"], None, machines_of(groups["machine"])) + [""]
    lines += ["Spread: the widest of the row's series, largest minus smallest round over the median."]
    return "\n".join(lines) + "\n"


# ---- chart ----

WIDTH, LEFT, RIGHT, BAR, GAP = 900, 290, 70, 11, 9


class Panel:
    """Bars along a logarithmic axis that begins at `low`."""

    def __init__(self, title, rows, names, low, high):
        self.title, self.rows, self.names = title, rows, names
        self.low, self.high = low, high

    def height(self):
        return 64 + len(self.rows) * (len(self.names) * BAR + GAP)

    def x(self, value):
        share = math.log(min(max(value, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def draw(self, top, colour_of):
        out = [f'<text x="12" y="{top + 20}" font-size="14" font-weight="bold">{escape(self.title)}</text>']
        bottom = top + self.height() - 22
        for power in range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1):
            x, bold = self.x(10**power), power == 0
            out.append(f'<line x1="{x:.1f}" y1="{top + 32}" x2="{x:.1f}" y2="{bottom}" '
                       f'stroke="{"#666" if bold else "#ddd"}"/>')
            out.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{10**power:g}x</text>')
        y = top + 38
        for label, values in self.rows:
            middle = y + len(self.names) * BAR / 2 + 4
            out.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(label)}</text>')
            for name in self.names:
                value = values.get(name)
                if value:
                    a, b = sorted((self.x(1), self.x(value)))
                    out.append(f'<rect x="{a:.1f}" y="{y}" width="{max(1, b - a):.1f}" height="{BAR - 1}" '
                               f'fill="{colour_of[name]}"/>')
                    out.append(f'<text x="{b + 4:.1f}" y="{y + BAR - 2}" font-size="10">{number(value)}</text>')
                y += BAR
            y += GAP
        return out


def chart(host, groups):
    slow = {**groups.get("programs", {}), **groups.get("devices", {})}
    slow_names = [name for name in machines_of(slow) if name != NATIVE]
    slow_rows = [(TITLES.get(name, name), {machine: better(entry, NATIVE, machine) for machine in slow_names})
                 for name, entry in slow.items()]
    machine = groups.get("machine", {})
    names = machines_of(machine)
    base = next((name for name in names if name == "ruse interp"), names[0] if names else None)
    others = [name for name in names if name != base]
    rows = [(TITLES.get(name, name), {other: better(entry, base, other) for other in others})
            for name, entry in machine.items()]
    panels = [make_panel("How many times slower than the host itself (less is better)", slow_rows, slow_names),
              make_panel(f"How many times better {base} is than another (above 1: {base} is better)", rows, others)]
    panels = [panel for panel in panels if panel]
    colour_of = dict(zip(dict.fromkeys(slow_names + others), COLOURS))
    height = 70 + sum(panel.height() + 10 for panel in panels)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
           'font-family="sans-serif" font-size="11" fill="#222">', '<rect width="100%" height="100%" fill="#fff"/>']
    x = 12
    for name, colour in colour_of.items():
        out.append(f'<rect x="{x}" y="14" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{x + 18}" y="24" font-size="12">{escape(name)}</text>')
        x += 40 + 8 * len(name)
    out.append(f'<text x="12" y="46" fill="#666">{escape(host["date"])}, {escape(host["processor"])}, medians of '
               f'{host["rounds"]} rounds of one run</text>')
    top = 56
    for panel in panels:
        out += panel.draw(top, colour_of)
        top += panel.height() + 10
    return "\n".join(out + ["</svg>"]) + "\n"


def make_panel(title, rows, names):
    rows = [(label, row) for label, row in rows if any(row.values())]
    values = [value for _, row in rows for value in row.values() if value]
    if not values:
        return None
    return Panel(title, rows, names, 10 ** math.floor(math.log10(min([*values, 1]))),
                 10 ** math.ceil(math.log10(max([*values, 10]))))


# ---- files ----

def write(directory, host, groups):
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {"host": host, **groups}.items():
        (directory / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (directory / "table.md").write_text(text(host, groups))
    (directory / "bench.svg").write_text(chart(host, groups))
