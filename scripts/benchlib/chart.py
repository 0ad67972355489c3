# SPDX-License-Identifier: BSD-3-Clause
"""bench chart FILE.json... --out DIR: results to SVG charts.

   nbd                throughput.svg      ratios to null, by server
   nbd --threads      threads.svg         the same of the plugin, by -t
   engine             engine.svg          slots a second, by threads
   memory             memory.svg          memory per stored byte, by step
                      memory-live.svg     and per byte on the disk
   latency            latency.svg         reads beside a pass to those without
   grow               grow-speed.svg, grow-cpu.svg, grow-memory.svg

They are made of the cases alone (results.py).
"""
import os
import re

from . import plot, report, results
from .common import BenchError, say

# Short names of nbd's tests, for the x axis.
TITLES = {"in": "copy in", "in-empty": "copy in, empty", "out": "copy out",
          "out-map": "copy out, no holes", "read4k": "4k read",
          "read4k-d1": "4k read, depth 1", "seq256k": "256k read",
          "seq256k-d1": "256k, depth 1", "write4k": "4k write",
          "write4k-c4": "4k write x 4"}
THREADS = re.compile(r"zram -t (\d+)(.*)")


def throughput(cases):
    """Cases of nbd that have a ratio to the floor and are its headline."""
    return [c for c in cases if c["ratio"] and c["better"] == "higher"
            and c["subject"] != report.FLOOR]


def nbd(doc):
    cases = throughput(doc["cases"])
    swept = {m.groups() for m in map(THREADS.fullmatch,
                                     (c["subject"] for c in cases)) if m}
    if len(swept) > 1 and any(c["subject"].startswith("null -t")
                              for c in cases):
        return [threads(cases)]
    chart = plot.Chart("throughput", "Throughput over NBD",
                       "ratio to nbdkit null", bars=True, floor=1)
    for c in cases:
        chart.add(TITLES.get(c["test"], c["test"]), c["subject"],
                  c["ratio"]["median"])
    return [chart]


def threads(cases):
    chart = plot.Chart("threads", "Throughput over NBD by nbdkit's -t",
                       "ratio to nbdkit null with its 16 threads", floor=1,
                       xlabel="threads a connection (-t)")
    found = []
    for c in cases:
        match = THREADS.fullmatch(c["subject"])
        if match:
            found.append((int(match[1]), match[2], c))
    for n, config, c in sorted(found, key=lambda f: f[0]):
        chart.add(n, TITLES.get(c["test"], c["test"]) + config,
                  c["ratio"]["median"])
    return chart


def engine(doc):
    chart = plot.Chart("engine", "The engine alone", "thousand slots a second",
                       xlabel="threads")
    for c in doc["cases"]:
        match = re.fullmatch(r"(.*), threads (\d+)", c["subject"])
        if match and c["test"].split()[0] in ("read", "write") \
           and "request" not in c["test"]:
            chart.add(match[2], f"{c['test']}, {match[1]}",
                      int(match[2]) * 1e6 / c["median"])
    return [chart]


def memory(doc):
    charts = [plot.Chart("memory", "Memory per stored byte",
                         "bytes of memory per byte stored", floor=1),
              plot.Chart("memory-live", "Memory per byte on the disk",
                         "bytes of memory per live byte")]
    for chart, per in zip(charts, ("stored", "live")):
        end = f", per {per} byte"
        for c in doc["cases"]:
            if c["test"].endswith(end):
                chart.add(c["test"].removesuffix(end), c["subject"],
                          c["median"])
    return charts


def latency(doc):
    chart = plot.Chart("latency", "4k random reads beside a background pass",
                       "ratio to the same without", bars=True, floor=1)
    for c in doc["cases"]:
        match = re.fullmatch(r"read d(\d+) (p.*)", c["test"])
        if match and c["ratio"] and c["ratio"]["to"] != c["subject"]:
            chart.add(c["subject"], f"{match[2]}, depth {match[1]}",
                      c["ratio"]["median"])
    return [chart]


def gib(name):
    """'16G' as it is; for sorting, its size."""
    unit = {"M": 20, "G": 30, "T": 40}.get(name[-1:].upper(), 0)
    return int(name[:-1]) << unit if unit else 0


def grow_loads(doc, name, title, label, pattern):
    chart = plot.Chart(name, title, label, xlabel="connections")
    found = []
    for c in doc["cases"]:
        match = re.fullmatch(pattern, c["test"])
        if match:
            found.append((int(match[2]), match[1], c))
    for n, load, c in sorted(found, key=lambda f: f[0]):
        chart.add(n, f"{load}, {c['subject']}", c["median"])
    return chart


def grow_memory(doc):
    chart = plot.Chart("grow-memory", "Memory by the size of the disk",
                       "bytes for each stored slot", xlabel="disk")
    for c in sorted(doc["cases"], key=lambda c: gib(c["subject"])):
        if c["unit"] == "bytes/slot":
            chart.add(c["subject"], c["test"], c["median"])
    return chart


def grow(doc):
    return [grow_loads(doc, "grow-speed", "4k random reads and writes",
                       "thousands a second", r"(read|write) c(\d+)"),
            grow_loads(doc, "grow-cpu", "Server CPU of a 4k read or write",
                       "microseconds", r"(read|write) c(\d+) server CPU"),
            grow_memory(doc)]


MAKERS = {"nbd": nbd, "engine": engine, "memory": memory, "latency": latency,
          "grow": grow}


def main(options):
    charts = {}
    for name in options.files:
        doc = results.load(name)
        maker = MAKERS.get(doc["bench"])
        if not maker:
            raise BenchError(f"{name}: there are no charts of "
                             f"{doc['bench']!r}")
        for chart in maker(doc):
            if not chart.rows:
                say(f"{name}: nothing for {chart.name}.svg")
            elif chart.name in charts:
                raise BenchError(f"{name}: {chart.name}.svg comes from "
                                 "another file already")
            else:
                charts[chart.name] = chart
    os.makedirs(options.out, exist_ok=True)
    for chart in charts.values():
        say("wrote", plot.draw(chart, options.out))
    return 0


def add_options(parser):
    parser.add_argument("files", metavar="FILE.json", nargs="+")
    parser.add_argument("--out", metavar="DIR", required=True)
