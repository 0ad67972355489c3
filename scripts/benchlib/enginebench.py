# SPDX-License-Identifier: BSD-3-Clause
"""bench engine, bench passes: the engine alone, without NBD.

The build tree's tests/bench/engine-bench (passes-bench) does the work:

   engine-bench --image FILE --seconds S [ARGUMENT...]

FILE is the image of real files.  It prints one JSON object a line, and lines
with the same keys one after another become one table here.  engine-bench has
rounds of its own, and takes a sample again while others use the CPUs;
passes-bench is run once a round, and is only watched.
"""
import json
import os
import subprocess

from . import common, report, results
from .common import BenchError, say
from .procstat import Meter

DISTURBED = 0.05

# What passes-bench prints: the key that names it, and its figures, each with
# the test, unit, direction and figure to compare it with.
PASSES = {
    "recompress": [("ratio", "recompressed size", "bytes/byte", "lower", None),
                   ("MB/s", "recompression", "MB/s", "higher", None)],
    "read of": [("ns a slot", "read of recompressed", "ns", "lower",
                 "ns in the library")],
    "reads beside": [("during", "reads beside", "k/s", "higher",
                      "k reads/s without"),
                     ("p99 us during", "reads beside, p99", "us", "lower",
                      "p99 us without")],
    "writeback": [("ratio", "written back size", "bytes/byte", "lower", None),
                  ("MB/s", "writeback", "MB/s", "higher", None)],
    "trained": [("gain on held-out slots", "dictionary's gain", "part",
                 "higher", None)],
}


def engine_cases(rows):
    """What the engine does, each compared with the bare codec."""
    rounds = {(r["case"], r["threads"]): r["rounds"] for r in rows
              if "rounds" in r}
    cases = []
    for row in rows:
        if "rounds" not in row:
            continue
        bare = {"write": "bare compress", "read": "bare decompress"}.get(
            row["case"])
        floor = rounds.get((bare, 1))
        cases.append(results.case(
            "engine", f"{row['case']} {row['slot_size'] >> 10}k",
            f"{row['algorithm']}, threads {row['threads']}", "ns", "lower",
            row["rounds"], floor and (bare, dict(enumerate(floor)))))
    return cases


def passes_cases(rows):
    """rows: of all rounds, one round after the other."""
    values, cases = {}, []
    for row in rows:
        for name, figures in PASSES.items():
            for key, test, unit, better, base in figures \
                    if name in row else []:
                entry = values.setdefault((test, row[name], unit, better,
                                           base), ([], []))
                entry[0].append(row[key])
                entry[1].append(row[base] if base else None)
    for (test, subject, unit, better, base), (found, floor) in values.items():
        cases.append(results.case(
            "passes", test, subject, unit, better, found,
            base and ("without" if "without" in base else "library",
                      dict(enumerate(floor)))))
    return cases


def program(options, name):
    build = os.path.abspath(options.build or common.default_build())
    path = os.path.join(build, f"tests/bench/{name}-bench")
    if not options.build and not os.path.exists(path):
        common.build_tree(build)
    if not os.path.exists(path):
        raise BenchError(f"there is no {path}")
    common.warn_of_slow_build(build)
    return path


def run_program(words):
    """What it prints, and how much of the CPUs others had meanwhile."""
    say(" ".join(words))
    rows, meter = [], Meter(None)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        try:
            rows.append(json.loads(line))
        except ValueError:
            print(line, end="", flush=True)
    status = process.wait()
    if status:
        raise BenchError(f"{os.path.basename(words[0])}: exit status {status}")
    return rows, round(meter.stop()["foreign_share"], 4)


def finish(options, name, image, rows, cases, foreign):
    doc = results.document(name, image.facts, cases, foreign_share=foreign,
                           rows=rows)
    print("\n" + common.machine_line(doc["machine"]))
    parts = []
    for head, cells in report.generic(rows):
        print("\n" + report.text_table(head, cells))
        parts.append(report.markdown_table(head, cells))
    results.write(options, doc, parts)
    return 0


def words_for(options, name):
    image = common.Image(options.work, options.size)
    image.warm()
    return image, [program(options, name), "--image", image.name, "--seconds",
                   str(options.seconds)]


def main(options):
    image, words = words_for(options, "engine")
    rows, foreign = run_program(words + [
        "--rounds", str(options.rounds), "--foreign", str(options.foreign),
        "--retakes", str(options.retakes)] + options.arguments)
    return finish(options, "engine", image, rows, engine_cases(rows), foreign)


def main_passes(options):
    image, words = words_for(options, "passes")
    rows, foreign = [], []
    for _ in range(options.rounds):
        more, share = run_program(words + options.arguments)
        rows += more
        foreign.append(share)
        if share > DISTURBED:
            say(f"WARNING: others used {share * 100:.0f} % of the CPUs")
    return finish(options, "passes", image, rows, passes_cases(rows),
                  max(foreign))
