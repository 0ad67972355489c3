#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/bench compare and chart, on results that were made up.

What they must say of results that are better, worse, about other cases, or no
results at all; and that the same numbers give the same charts.
"""
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

SRCDIR = os.environ.get("SRCDIR") or os.path.join(
    os.path.dirname(os.path.realpath(__file__)), "../..")
BENCH = os.path.join(SRCDIR, "scripts/bench")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(SRCDIR, "scripts"))

from benchlib import results  # noqa: E402

SMALL = 30 << 10


def case(bench, test, subject, unit, better, median, ratio=None):
    return results.case(bench, test, subject, unit, better, [median],
                        ratio and ("null", {0: median / ratio}))


def result(bench, cases):
    return {"format": results.FORMAT, "bench": bench, "cases": cases}


def nbd(speed=100.0, p99=400.0):
    cases = [case("nbd", "read4k", "null", "k/s", "higher", 120.0, 1.0),
             case("nbd", "read4k", "zram", "k/s", "higher", speed,
                  speed / 120),
             case("nbd", "read4k p99", "zram", "us", "lower", p99)]
    return result("nbd", cases)


class Bench(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="zram-test.")
        self.addCleanup(shutil.rmtree, self.folder)

    def file(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "w") as f:
            f.write(content if isinstance(content, str)
                    else json.dumps(content))
        return path

    def bench(self, *words):
        return subprocess.run([sys.executable, BENCH, *words], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Compare(Bench):
    def compare(self, old, new, *options):
        return self.bench("compare", self.file("old.json", old),
                          self.file("new.json", new), *options)

    def check(self, done, status, *texts):
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        for text in texts:
            self.assertIn(text, done.stdout)

    def test_same(self):
        done = self.compare(nbd(), nbd())
        self.check(done, 0, "3 compared, 0 worse")
        self.assertNotIn("WORSE", done.stdout)
        self.assertNotIn("only in", done.stdout)

    def test_slower_is_worse(self):
        done = self.compare(nbd(), nbd(speed=80.0))
        self.check(done, 1, "WORSE", "0.800", "1 worse by more than 1.1")

    def test_longer_is_worse(self):
        self.check(self.compare(nbd(), nbd(p99=500.0)), 1, "1.250", "WORSE")

    def test_better(self):
        done = self.compare(nbd(), nbd(speed=150.0, p99=200.0))
        self.check(done, 0, "better", "1.500", "0.500")
        self.assertNotIn("WORSE", done.stdout)

    def test_direction_is_printed(self):
        lines = self.compare(nbd(), nbd()).stdout.splitlines()
        self.assertTrue([x for x in lines if "read4k/zram" in x
                         and "higher" in x])
        self.assertTrue([x for x in lines if "p99/zram" in x
                         and "lower" in x])

    def test_ratio(self):
        slower = nbd(speed=80.0)
        self.check(self.compare(nbd(), slower, "--ratio", "1.3"), 0)
        self.check(self.compare(nbd(), slower, "--ratio", "1.2"), 1)
        self.check(self.compare(nbd(), nbd(), "--ratio", "0.9"), 2)

    def test_only(self):
        slower = nbd(speed=80.0)
        done = self.compare(nbd(), slower, "--only", "nbd/read4k p99/*")
        self.check(done, 0, "1 compared")
        done = self.compare(nbd(), slower, "--only",
                            "nbd/read4k p99/zram,nbd/read4k/zram")
        self.check(done, 1, "2 compared")
        done = self.compare(nbd(), slower, "--only", "nbd/nothing")
        self.check(done, 2)
        self.assertIn("'nbd/nothing'", done.stderr)

    def test_floor(self):
        """Both are slower on a slower machine; their ratio is not."""
        slower = nbd(speed=50.0)
        slower["cases"][0] = case("nbd", "read4k", "null", "k/s", "higher",
                                  60.0, 1.0)
        slower["cases"][1] = case("nbd", "read4k", "zram", "k/s", "higher",
                                  50.0, 50 / 60)
        self.check(self.compare(nbd(), slower), 1)
        self.check(self.compare(nbd(), slower, "--floor"), 0,
                   "not to be compared")
        self.check(self.compare(nbd(), nbd(speed=50.0), "--floor"), 1)

    def test_missing(self):
        less = nbd()
        less["cases"].pop()
        done = self.compare(nbd(), less)
        self.check(done, 0, "old.json: nbd/read4k p99/zram", "2 compared")
        done = self.compare(less, nbd())
        self.check(done, 0, "new.json: nbd/read4k p99/zram")
        other = result("grow", [case("grow", "x", "y", "us", "lower", 1.0)])
        done = self.compare(nbd(), other)
        self.check(done, 2)
        self.assertIn("no case in common", done.stderr)

    def test_bad_files(self):
        without, wrong, newer = nbd(), nbd(), nbd()
        del without["cases"][1]["median"]
        wrong["cases"][0]["better"] = "more"
        newer["format"] = results.FORMAT + 1
        double = nbd()
        double["cases"].append(copy.deepcopy(double["cases"][0]))
        unit = nbd()
        unit["cases"][0]["unit"] = "MB/s"
        for bad, why in (("{", "not JSON"), ([], "no result"),
                         ({"rows": []}, "no result"),
                         (without, "case 1: median is no number"),
                         (wrong, "case 0: better is neither"),
                         (newer, "format 2"), (double, "of one name"),
                         (unit, "another unit")):
            done = self.compare(nbd(), bad)
            self.check(done, 2)
            self.assertIn(why, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
        done = self.bench("compare", "/no/such.json", "/no/such.json")
        self.check(done, 2)
        self.assertIn("No such file", done.stderr)


def made_up():
    """A result of each kind that there are charts of: (bench, cases)."""
    servers = ["memory sparse", "memory zstd", "kernel zram",
               "kernel zram cache=none", "bare-lz4", "zram", "zram -t 4"]
    tests = ["in", "in-empty", "out", "read4k", "seq256k", "write4k",
             "write4k-c4"]
    yield "nbd", [case("nbd", t, s, "k/s", "higher", 100.0 + len(s),
                       0.1 * len(s)) for t in tests for s in servers]
    yield "nbd", [case("nbd", t, f"{s} -t {n}", "k/s", "higher", 90.0 + n,
                       0.5 + n / 40) for t in tests for s in ("null", "zram")
                  for n in (1, 2, 4, 8, 16)]
    yield "engine", [case("engine", f"{t} 4k", f"lz4, threads {n}", "ns",
                          "lower", 2000.0 + n) for t in ("read", "write")
                     for n in (1, 2, 4)]
    yield "memory", [case("memory", f"{step}, per {per} byte", s,
                          "bytes/byte", "lower", 1.02)
                     for step in ("fill", "overwrite 1", "discard half")
                     for per in ("stored", "live") for s in servers]
    yield "latency", [case("latency", f"read d{d} {p}", "compaction", "us",
                           "lower", 300.0, 1.1) for d in (1, 32)
                      for p in ("p50", "p99", "p99.9")]
    yield "grow", [case("grow", f"{t} c{n}{what}", s, "k/s", "higher",
                        100.0 + n) for t in ("read", "write")
                   for what in ("", " server CPU") for n in (1, 4, 16, 64)
                   for s in ("null", "1G", "8G", "16G")] + [
                       case("grow", "memory", s, "bytes/slot", "lower", 2e3)
                       for s in ("1G", "8G", "16G")]


CHARTS = {"throughput", "threads", "engine", "memory", "memory-live",
          "latency", "grow-speed", "grow-cpu", "grow-memory"}


class Chart(Bench):
    def test_bad_files(self):
        out = os.path.join(self.folder, "out")
        for content, why in (("x", "not JSON"),
                             (result("passes", []), "no charts of 'passes'")):
            done = self.bench("chart", self.file("a.json", content),
                              "--out", out)
            self.assertEqual(done.returncode, 1)
            self.assertIn(why, done.stderr)
            self.assertFalse(os.path.exists(out))

    @unittest.skipUnless(shutil.which("gnuplot"), "needs gnuplot")
    def test_charts(self):
        files = [self.file(f"{n}.json", result(bench, cases))
                 for n, (bench, cases) in enumerate(made_up())]
        drawn = []
        for turn in ("one", "two"):
            out = os.path.join(self.folder, turn)
            done = self.bench("chart", *files, "--out", out)
            self.assertEqual(done.returncode, 0, done.stderr)
            drawn.append({})
            for name in os.listdir(out):
                with open(os.path.join(out, name), "rb") as f:
                    drawn[-1][name] = f.read()
        self.assertEqual({f"{n}.svg" for n in CHARTS}, set(drawn[0]))
        self.assertEqual(drawn[0], drawn[1])
        for name, svg in drawn[0].items():
            xml.dom.minidom.parseString(svg)
            self.assertLess(len(svg), SMALL, name)
        self.assertIn(b"kernel zram cache=none", drawn[0]["throughput.svg"])


if __name__ == "__main__":
    unittest.main()
