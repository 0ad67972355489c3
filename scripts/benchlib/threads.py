# SPDX-License-Identifier: BSD-3-Clause
"""bench nbd --threads: which -t of nbdkit (threads a connection) to take.

   null -t N   and   zram -t N [KEYS]      one of each for every N of the list

The table has each test's throughput as a ratio to null with nbdkit's own
number of threads, 16, and their geometric mean; the N whose mean is highest
is recommended, or a smaller one if it is within 2 % of that: threads cost
memory and turns of the scheduler.
"""
import math

from . import servers
from .common import BenchError

CLOSE = 0.98


def parse(text):
    words = text.split(",")
    if not all(w.isdigit() and int(w) > 0 for w in words):
        raise BenchError(f"--threads: {text!r} is no list of numbers "
                         "(1,2,4,8,16)")
    return sorted(set(map(int, words)))


def with_threads(n, config):
    return f"-t {n} {config}".strip()


def null_servers(numbers, size):
    return [servers.NullServer(f"null -t {n}", ["nbdkit", "null"],
                               ["-t", str(n)], [str(size)]) for n in numbers]


def name_of(n, config):
    return servers.zram_name(with_threads(n, config))


def means(document, config):
    """[(N, {test: ratio}, geometric mean)] of the N with all tests measured."""
    tests = [t["name"] for t in document["tests"]]
    found = {(c["test"], c["subject"]): c["ratio"]["median"]
             for c in document["cases"] if c["ratio"]}
    rows = []
    for n in document["threads"]:
        name = name_of(n, config)
        ratios = {t: found[t, name] for t in tests
                  if found.get((t, name), 0) > 0}
        if len(ratios) == len(tests):
            rows.append((n, ratios, math.exp(
                sum(map(math.log, ratios.values())) / len(ratios))))
    return rows


def best(rows):
    top = max(mean for _, _, mean in rows)
    return min(n for n, _, mean in rows if mean >= CLOSE * top)


def tables(document):
    """(heading, head, rows) for each configuration; its `-t` is put to
    document["recommended"]."""
    document["recommended"] = {}
    for config in document["configurations"]:
        rows = means(document, config)
        if not rows:
            continue
        n = document["recommended"][config] = best(rows)
        yield (f"By threads a connection, as ratios to null with 16: "
               f"{servers.zram_name(config)} is best with -t {n}",
               ["zram"] + [t["title"] for t in document["tests"]]
               + ["geometric mean"],
               [[f"-t {n}"] + [f"{r:.2f}" for r in ratios.values()]
                + [f"{mean:.2f}"] for n, ratios, mean in rows])
