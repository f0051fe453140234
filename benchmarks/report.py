"""Turns medians into a table in Markdown, a chart, and JSON.

Example:
    report.write(Path("benchmarks/results"), host, groups)

Groups are figures.py's; host describes the run.
"""
import json
import math
import statistics
from xml.sax.saxutils import escape

from figures import NATIVE, better, machines_of, number, subject_of, title, with_unit
from targets import LIMITS, evaluate

COLOURS = ("#1f77b4", "#2ca02c", "#d9822b", "#8c6bb1", "#7f7f7f")


def spread(entry):
    """The widest of the series, as (largest - smallest) / median."""
    return max((max(values) - min(values)) / entry["median"][name] if entry["median"][name] else 0
               for name, values in entry["values"].items())


# ---- table ----

def table(head, figures, reference, columns, limits):
    """One row a figure; a ratio in each machine's column, against the reference column. Then that ratio again of the
    machine that it is about, with the target beside it, and how it compares with the others' machines."""
    subject = subject_of(columns)
    theirs = [name for name in columns if name.startswith("QEMU ")] if subject else []
    targets = bool(reference in columns and subject and limits.keys() & figures.keys())
    heads = [head, *columns, *((f"{subject}: ratio to native", "target") if targets else ()),
             *(f"{subject} against {other}" for other in theirs), "spread"]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for name, entry in figures.items():
        cells = [title(name)]
        for column in columns:
            value = entry["median"].get(column)
            cell = "" if value is None else with_unit(value, entry["unit"])
            ratio = better(entry, reference, column) if column != reference else None
            if ratio and reference:
                cell += f" ({number(ratio)}x)"
            cells.append(cell)
        if targets:
            ratio = better(entry, reference, subject)
            cells += [f"{number(ratio)}x" if ratio else "", f"≤ {limits[name]:g}x" if name in limits else ""]
        for other in theirs:
            ratio = better(entry, subject, other)
            cells.append(f"{number(ratio)}x" if ratio else "")
        cells.append(f"{spread(entry) * 100:.0f}%")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def bound(row, key):
    if row[key] is None:
        return ""
    return f"{'≥' if row['at_least'] else '≤'} {with_unit(row[key], row['unit'])}"


def target_table(rows, columns):
    subject = subject_of(columns)
    columns = [name for name in columns if any(name in row["values"] for row in rows)]
    heads = ["what", "target", "where we are going", *columns, *([f"{subject}: met"] if subject else [])]
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for row in rows:
        cells = [row["title"], bound(row, "limit"), bound(row, "goal")]
        cells += [with_unit(row["values"][name], row["unit"]) if name in row["values"] else "" for name in columns]
        if subject:
            cells.append({True: "yes", False: "**no**", None: ""}[row["met"].get(subject)])
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def all_machines(groups):
    return list(dict.fromkeys(name for figures in groups.values() for name in machines_of(figures)))


SECTIONS = (
    ("programs", "Programs", "one operation", NATIVE,
     "Time of one operation; in brackets how many times slower than natively on the host. *Against*: above 1, ruse is "
     "faster."),
    ("real", "Real programs", "program", NATIVE,
     "Debian's, the same files natively and in the guest; in brackets how many times slower than natively."),
    ("smp", "Two tasks at once", "both together", NATIVE,
     "What two independent processes get done; in brackets how many times slower than natively."),
    ("devices", "Devices", "throughput", NATIVE,
     "Throughput; in brackets how many times slower than natively: the same file through the host's page cache, the same "
     "connection over its loopback."),
    ("blk", "Disks", "requests or throughput", NATIVE,
     "Requests a second of 4 KiB, and throughput; in the guest past its page cache. In brackets how many times slower than natively: the "
     "same program on the raw file, in the host's page cache."),
    ("net", "Connections", "throughput", NATIVE,
     "What one connection carries, and eight together; in brackets how many times slower than natively, over the host's loopback."),
    ("machine", "Machine", "the machine", None, "*Against*: above 1, ruse is better."),
)


def text(host, groups):
    lines = ["# Measured", ""]
    lines += [f"{host['date']}, {host['processors']} x {host['processor']}, host Linux {host['host_kernel']}, guest "
              f"Linux {host['guest_kernel']} ({host['guests']}), {host['ruse']}, {host['qemu']}. Medians of {host['rounds']} rounds of "
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
    rows = evaluate(groups, [name for name in all_machines(groups) if name != NATIVE], host["guests"])
    if rows:
        lines += ["## Targets", "", "Slow-downs against native, unless said otherwise; medians.", ""]
        lines += target_table(rows, [name for name in all_machines(groups) if name != NATIVE]) + [""]
    for group, heading, head, reference, explanation in SECTIONS:
        if group in groups:
            lines += [f"## {heading}", "", explanation, ""]
            lines += table(head, groups[group], reference, machines_of(groups[group]), LIMITS[host["guests"]]) + [""]
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
        for label, values, limit in self.rows:
            middle = y + len(self.names) * BAR / 2 + 4
            out.append(f'<text x="{LEFT - 10}" y="{middle:.1f}" text-anchor="end">{escape(label)}</text>')
            if limit:
                x = self.x(limit)
                out.append(f'<line x1="{x:.1f}" y1="{y - 2}" x2="{x:.1f}" y2="{y + len(self.names) * BAR + 1}" '
                           'stroke="#c00" stroke-width="2"/>')
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
    slow = {name: entry for group in ("programs", "real", "devices", "blk", "net") for name, entry in groups.get(group, {}).items()}
    slow_names = [name for name in machines_of(slow) if name != NATIVE]
    slow_rows = [(title(name), {machine: better(entry, NATIVE, machine) for machine in slow_names}, LIMITS[host["guests"]].get(name))
                 for name, entry in slow.items()]
    machine = groups.get("machine", {})
    names = machines_of(machine)
    base = subject_of(names) or (names[0] if names else None)
    others = [name for name in names if name != base]
    rows = [(title(name), {other: better(entry, base, other) for other in others}, None)
            for name, entry in machine.items()]
    panels = [make_panel("How many times slower than the host itself (less is better; red: target)", slow_rows,
                         slow_names),
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
    rows = [row for row in rows if any(row[1].values())]
    values = [value for row in rows for value in row[1].values() if value]
    if not values:
        return None
    return Panel(title, rows, names, 10 ** math.floor(math.log10(min([*values, 1]))),
                 10 ** math.ceil(math.log10(max([*values, 10]))))


# ---- files ----

def write(directory, host, groups):
    directory.mkdir(parents=True, exist_ok=True)
    targets = evaluate(groups, [name for name in all_machines(groups) if name != NATIVE], host["guests"])
    for name, content in {"host": host, "targets": targets, **groups}.items():
        (directory / f"{name}.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (directory / "table.md").write_text(text(host, groups))
    (directory / "bench.svg").write_text(chart(host, groups))
