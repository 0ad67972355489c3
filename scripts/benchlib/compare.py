# SPDX-License-Identifier: BSD-3-Clause
"""bench compare OLD.json NEW.json: is something worse than it was?

Prints each case that both files have with the ratio of the medians, NEW to
OLD, and names those that only one of them has.  Exit status 0 if nothing is
worse by more than --ratio, 1 if something is, 2 if they cannot be compared.

--only takes names or shell patterns of cases (nbd/read4k/*), --floor compares
the ratios to the floor in place of the medians themselves: what another
machine, or a slower hour of the same, does to both it leaves out.
"""
import fnmatch
import sys

from . import report, results
from .common import BenchError


def chosen(names, only):
    """Those of names that --only wants; a pattern must match something."""
    if not only:
        return names
    wanted = set()
    for pattern in only.split(","):
        found = fnmatch.filter(names, pattern)
        if not found:
            raise BenchError(f"--only: no case is called {pattern!r}")
        wanted.update(found)
    return [n for n in names if n in wanted]


def value(case, floor):
    part = case["ratio"] if floor else case
    return part["median"] if part else None


def judge(ratio, better, limit):
    """How it changed, for the better or the worse, and whether too much."""
    if ratio is None:
        return "not to be compared", False
    worse = ratio if better == "lower" else 1 / ratio if ratio \
        else float("inf")
    if worse > limit:
        return "WORSE", True
    return "better" if worse < 1 / limit else "", False


def row(old, new, options):
    """A line of the table, and whether the case is worse."""
    a, b = value(old, options.floor), value(new, options.floor)
    if a is None or b is None:
        ratio = None
    elif a == 0:
        ratio = 1.0 if b == 0 else float("inf")
    else:
        ratio = b / a
    text, bad = judge(ratio, old["better"], options.ratio)
    unit = f"to {old['ratio']['to']}" if options.floor and old["ratio"] \
        else old["unit"]
    return [old["case"], unit, report.number(a), report.number(b),
            "" if ratio is None else f"{ratio:.3f}", old["better"],
            text], bad


def by_name(name):
    doc = results.load(name)
    cases = {c["case"]: c for c in doc["cases"]}
    if len(cases) != len(doc["cases"]):
        raise BenchError(f"{name}: two cases of one name")
    return cases


def compare(options):
    old, new = by_name(options.old), by_name(options.new)
    names = chosen(list(old) + [n for n in new if n not in old],
                   options.only)
    common = [n for n in names if n in old and n in new]
    if not common:
        raise BenchError("the two files have no case in common")
    for n in common:
        if old[n]["unit"] != new[n]["unit"] \
           or old[n]["better"] != new[n]["better"]:
            raise BenchError(f"{n}: another unit or direction in each file")
    lines, bad = [], 0
    for n in common:
        line, worse = row(old[n], new[n], options)
        lines.append(line)
        bad += worse
    print(report.text_table(["case", "unit", "old", "new", "new / old",
                             "better is", ""], lines))
    for n in names:
        if n not in common:
            print(f"only in {options.old if n in old else options.new}: {n}")
    print(f"{len(common)} compared, {bad} worse by more than "
          f"{options.ratio:g} times")
    return 1 if bad else 0


def main(options):
    try:
        if options.ratio < 1:
            raise BenchError("--ratio: must be at least 1")
        return compare(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def add_options(parser):
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument("--ratio", type=float, default=1.10,
                        help="how much worse is too much (1.10)")
    parser.add_argument("--only", metavar="CASE,...",
                        help="names or patterns of cases")
    parser.add_argument("--floor", action="store_true",
                        help="compare the ratios to the floor")
