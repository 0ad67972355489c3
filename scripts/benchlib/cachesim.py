# SPDX-License-Identifier: BSD-3-Clause
"""bench simulate: what a policy keeps in memory, and what that is good for.

Runs policies over traces (cachesim.h), prints the hits of 100 reads in the
steady state and, after a slash, in the second pass after the working set
moved; and slots written to the backing store for 100 operations: dirty ones
only, as if what was promoted kept its record, and all.  docs/cache-policy.md
is made of it, and says what is what.

  scripts/bench simulate --markdown simulated.md
  scripts/bench simulate --trace FILE --memory 4096

A trace has a line for each slot that is asked for, "r SLOT" or "w SLOT".
scripts/benchlib/cachesim.py LOG >FILE makes one of what nbdkit's log filter
wrote.
"""
import os
import re
import subprocess
import sys

if __package__:
    from . import common
else:                           # as a program: a log to a trace
    import common

IDEAL = ("lru", "arc", "s3fifo")
POLICIES = ("marks", "lru", "clock", "2q", "arc", "lirs", "s3fifo", "sieve",
            "shadow", "opt")
SLOT = 4096


def add_options(parser):
    parser.add_argument("--patterns", metavar="A,B,...", help="(all)")
    parser.add_argument("--policies", metavar="A,B,...",
                        default=",".join(POLICIES),
                        help=f"({','.join(POLICIES)})")
    parser.add_argument("--trace", metavar="FILE", action="append", default=[],
                        help="and this one; repeat for more")
    parser.add_argument("--memory", metavar="SLOTS", default="8192",
                        help="slots that memory has room for (8192)")
    parser.add_argument("--sizes", action="store_true",
                        help="objects of different sizes")
    parser.add_argument("--set", metavar="NAME=NUMBER", action="append",
                        default=[], help="a number of a policy: bits, ticks, "
                        "batch, every (cachesim-slots.c)")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables")
    parser.add_argument("--work", metavar="DIR",
                        default=os.path.join(common.TOP, "build/bench"),
                        help="where the program is kept (build/bench)")


def build(work):
    """Compile cachesim, unless it is newer than its sources."""
    sources = sorted(os.path.join(common.HERE, name)
                     for name in os.listdir(common.HERE)
                     if name.startswith("cachesim") and name[-2:] in (".c",
                                                                      ".h"))
    program = os.path.join(os.path.abspath(work), "cachesim")
    os.makedirs(work, exist_ok=True)
    if not os.path.exists(program) or os.path.getmtime(program) \
       <= max(map(os.path.getmtime, sources)):
        common.must_run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-o",
                         program] + [s for s in sources if s[-2:] == ".c"]
                        + ["-lm"])
    return program


def run(program, trace, policies, memory=8192, sizes=False, numbers=()):
    """{policy: (steady, second or None, dirty, all)}"""
    command = [program, "-m", str(memory)] + ["-s"] * sizes
    for number in numbers:
        command += ["-o", number]
    out = common.must_run(command + [trace] + list(policies))
    rows = [line.split() for line in out.splitlines()]
    return {row[0]: tuple(float(x) if float(x) >= 0 else None
                          for x in row[1:]) for row in rows}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |",
             "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def both(steady, second):
    text = "" if steady is None else f"{steady:.1f}"
    return text if second is None else f"{text} / {second:.1f}"


def behind(result):
    """How far shadow is from the best of IDEAL; below 0: behind it."""
    return [None if result["shadow"][i] is None else
            result["shadow"][i] - max(result[p][i] for p in IDEAL)
            for i in (0, 1)]


def signed(value):
    return "" if value is None else f"{value:+.1f}"


def tables(results, policies):
    compared = {"shadow", *IDEAL} <= set(policies)
    hits = [[name] + [both(*r[p][:2]) for p in policies]
            + ([" / ".join(filter(None, map(signed, behind(r))))]
               if compared else []) for name, r in results]
    writes = [[name] + [f"{r[p][2]:.0f} / {r[p][3]:.0f}" for p in policies]
              for name, r in results]
    return (table(["hits", *policies] + ["shadow − best of "
                                         + ", ".join(IDEAL)] * compared, hits)
            + "\n\n" + table(["writes to the store", *policies], writes)
            + "\n")


def main(options):
    program = build(options.work)
    names = options.patterns.split(",") if options.patterns else \
        common.must_run([program, "-l"]).split()
    policies = options.policies.split(",")
    results = []
    for name in names + options.trace:
        common.say(name)
        results.append((os.path.basename(name),
                        run(program, name, policies, options.memory,
                            options.sizes, options.set)))
    text = tables(results, policies)
    print(text, end="")
    if options.markdown:
        with open(options.markdown, "w") as f:
            f.write(text)
    return 0


def convert(log, out):
    """Reads and writes of nbdkit's log filter, slot by slot."""
    pattern = re.compile(r" (Read|Write) id=\d+ offset=(0x[0-9a-f]+) "
                         r"count=(0x[0-9a-f]+)")
    for line in log:
        found = pattern.search(line)
        if not found:
            continue
        start, length = int(found[2], 16), int(found[3], 16)
        for slot in range(start // SLOT, -(-(start + length) // SLOT)):
            print("r" if found[1] == "Read" else "w", slot, file=out)


if __name__ == "__main__":
    with open(sys.argv[1]) as log_file:
        convert(log_file, sys.stdout)
