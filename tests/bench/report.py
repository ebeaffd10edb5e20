# SPDX-License-Identifier: MIT
"""What becomes of the rows: a table as text, JSON, a picture, and docs/performance.md."""
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess

from measure import STEADY

PACKAGES = ("proxychains4", "torsocks", "microsocks", "mptcpize", "curl", "libc6")
NAME = 28  # columns


# ------------------------------------------------------------------------------ as text

def number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"


def cells(row):
    """[(heading, text)], of which the first is the name."""
    found = [("", row["name"])]
    if row["of"] == "memory":
        return found + [("PSS kB", f"{row['pss']:,}"), ("private dirty kB", f"{row['dirty']:,}")]
    for what, heading in (("cpu", "processor"), ("wall", "wall clock")):
        found += [(f"{heading} {row['unit']}", number(row[what]["figure"])),
                  ("spread", f"{row[what]['spread']:.0%}")]
    if "kb" in row:
        found.append(("kB each", f"{row['kb']:.1f}"))
    found.append(("ratio", f"{row['ratio']:.2f} of {row['base']}, {row['more']:+.1f}"
                  if "ratio" in row else ""))
    return found + [("", row.get("verdict", "") if row["steady"] else "not steady")]


def groups(rows):
    """[(name, its rows)]"""
    names = list(dict.fromkeys(row["group"] for row in rows))
    return [(name, [row for row in rows if row["group"] == name]) for name in names]


def heading(row):
    what = {"cpu": "the client's processor time", "wall": "wall clock", "memory": ""}[row["of"]]
    return row["group"] + (f" ({row['rounds']} rounds of {row['each']}, {row['seconds']:.1f} s; "
                           f"ratio by {what})" if what else "")


def line(texts):
    name, *texts = texts
    last = texts[-2:] if len(texts) > 2 else []
    return (f"{name:{NAME}}" + "".join(f"{text:>17}" for text in texts[:len(texts) - len(last)]) +
            "".join(f"  {text:{NAME + 10}}" for text in last)).rstrip()


def table(rows):
    lines = []
    for _, some in groups(rows):
        lines += ["", heading(some[0]), line([h for h, _ in cells(some[0])])]
        lines += [line([text for _, text in cells(row)]) for row in some]
    return "\n".join(lines) + "\n"


def show(rows):
    """As they come."""
    row, (_, some) = rows[-1], groups(rows)[-1]
    if len(some) == 1:
        print("\n" + heading(row) + "\n" + line([h for h, _ in cells(row)]))
    print(line([text for _, text in cells(row)]), flush=True)


# -------------------------------------------------------------------- where it was measured

def versions():
    found = {}
    for package in PACKAGES:
        r = subprocess.run(["dpkg-query", "-W", "-f", "${Version}\\n", package], capture_output=True,
                           text=True) if shutil.which("dpkg-query") else None
        if r and r.returncode == 0 and r.stdout:
            found[package] = r.stdout.split()[0]  # there may be one for each architecture
    return found


def machine():
    """Its kind, not its name."""
    cpu = re.search(r"^model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    system = re.search(r'^PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text(), re.M)
    virtual = "hypervisor" in pathlib.Path("/proc/cpuinfo").read_text()
    return {"processor": cpu[1] if cpu else platform.machine(), "cores": os.cpu_count(),
            "virtual": virtual, "kernel": re.match(r"[\d.]+", platform.release())[0],
            "system": system[1] if system else "Linux"}


def where(run):
    m = run["machine"]
    return (f"{run['date']}, {m['cores']} cores of {m['processor']}"
            f"{' (a virtual machine)' if m['virtual'] else ''}, Linux {m['kernel']}, {m['system']}; " +
            ", ".join(f"{name} {version}" for name, version in run["versions"].items()))


# ----------------------------------------------------------------------------- the picture

def bars(axes, title, rows, value):
    rows = rows[::-1]
    colour = ["#c0504d" if row["name"].startswith("shim") else "#8fa8c8" for row in rows]
    drawn = axes.barh([row["name"] for row in rows], [value(row) for row in rows], color=colour)
    axes.bar_label(drawn, fmt="%.0f", padding=2, fontsize=7)
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.margins(x=0.12)
    for side in "top", "right":
        axes.spines[side].set_visible(False)


def lines(axes, title, rows):
    """Something that there is more and more of."""
    for name, some in groups(rows):
        axes.plot([int(row["name"].split()[0]) for row in some], [row["cpu"]["figure"] for row in some],
                  marker="o", markersize=3, linewidth=1, label=name.split(": ")[1],
                  linestyle="-" if "shim" in name else ":")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6)


def picture(rows, path):
    try:
        import matplotlib
    except ImportError:
        return "no picture: python3-matplotlib is not installed"
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    from matplotlib import pyplot
    some = [(name, group) for name, group in groups(rows) if "pending" not in name]
    many = [row for row in rows if "pending" in row["group"]]
    count = len(some) + bool(many)
    if not count:
        return "no picture: no rows"
    figure, axes = pyplot.subplots((count + 1) // 2, 2, figsize=(11, 2.6 * ((count + 1) // 2)),
                                   squeeze=False)
    axes = list(axes.flat)
    for each, (name, group) in zip(axes, some):
        of = group[0]["of"]
        what = {"cpu": "µs of the client's processor time", "wall": "µs", "memory": "kB private dirty"}[of]
        bars(each, f"{name}: {what}", group,
             lambda row: row["dirty"] if row["of"] == "memory" else row[row["of"]]["figure"])
    if many:
        lines(axes[len(some)], "pending at once: µs of the client's processor time, each", many)
    for each in axes[count:]:
        each.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    return None


# ----------------------------------------------------------------------------------- a paper

PAPER = """# What it costs, measured

Made by `make performance` of the last run of `make bench`: {where}.

- **How.** All that is in one table took turns, in another order each round, in network namespaces of one
  machine, links without delay unless it says so; the client on one core, servers and converter on the
  others. *Processor* is the client's own time (getrusage), kernel included, *wall clock* what passed, both
  for one connection or one start; the figure is the lower quartile of the rounds, *spread* how far
  the upper quartile lies above it.
- **Ratio** is to the row that is named: a client that does the same by hand. *Convert client*
  speaks Convert itself (tests/lab/bare-client.c), *MPTCP* on a socket of Multipath TCP that it opens
  itself; *on a socket of somebody else's*: with nothing but the system calls that takes. It is asked whether it is
  unconnected, and for its cookie; an MPTCP socket takes its place by socket(), dup2() and close(); the reply is waited
  for with a limit. That much no library can save that a program has not been written for. *shim, bypass* and
  *mptcpize* call a server that has Multipath TCP.
- *not steady*: the first and the second half of the rounds disagree by more than {steady:.0%}. Such a row
  says nothing.
- *supervisor* is `convert-run --any`; its processor time counts as the client's. *ptrace* is how graftcp and the like
  see a connect(): strace, which stops the client at the same calls by the same kind of filter and says what it
  saw, stands for what that costs; its time counts likewise.
- proxychains4 and torsocks go by way of microsocks, which is no converter: SOCKS 5 costs a round trip
  or two of its own. *a library of one function* is what the loader takes for any library.
{tables}"""


def paper(run):
    tables = []
    for _, some in groups(run["rows"]):
        headings = [h for h, _ in cells(some[0])]
        tables += ["", f"## {heading(some[0])}", "", "| " + " | ".join(headings) + " |",
                   "|" + " --- |" + " ---: |" * (len(headings) - 1)]
        tables += ["| " + " | ".join(text for _, text in cells(row)) + " |" for row in some]
    return PAPER.format(where=where(run), steady=STEADY, tables="\n".join(tables) + "\n")


def write(folder, rows, seconds):
    run = {"date": datetime.date.today().isoformat(), "seconds": round(seconds),
           "machine": machine(), "versions": versions(), "rows": rows}
    (folder / "results.json").write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n")
    (folder / "table.txt").write_text(where(run) + "\n" + table(rows))
    (folder / "performance.md").write_text(paper(run))
    trouble = picture(rows, folder / "picture.svg")
    unsteady = sum(not row.get("steady", True) for row in rows)
    print(f"\n{len(rows)} rows in {seconds:.0f} s, {unsteady} not steady: {folder}/table.txt, "
          f"results.json, {trouble or 'picture.svg'}, performance.md")
