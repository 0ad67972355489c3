#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""scripts/bench simulate: policies on traces so small that the right numbers
can be had by thinking; and that none beats Belady's."""
import io
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

SRCDIR = os.environ.get("SRCDIR") or os.path.join(
    os.path.dirname(os.path.realpath(__file__)), "../..")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(SRCDIR, "scripts"))

from benchlib import cachesim, common  # noqa: E402

if not shutil.which("cc"):
    print("needs cc")
    sys.exit(77)

LISTS = ("lru", "clock", "2q", "arc", "lirs", "s3fifo", "sieve")
SLOTS = ("marks", "shadow")


def reads(slots):
    return [f"r {s}" for s in slots]


def writes(slots):
    return [f"w {s}" for s in slots]


class Cachesim(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="zram-test.")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.program = cachesim.build(cls.folder)

    def simulate(self, lines, policies, memory, **more):
        name = os.path.join(self.folder, "trace")
        with open(name, "w") as f:
            f.write("\n".join(lines) + "\n")
        return cachesim.run(self.program, name, policies, memory, **more)

    def steady(self, lines, policy, memory):
        return self.simulate(lines, [policy], memory)[policy][0]

    # A trace's second half is the steady state: of 20 rounds the last 10.

    def test_what_fits_is_hit_by_all(self):
        found = self.simulate(reads(range(4)) * 20, LISTS + ("opt",), 5)
        self.assertEqual({p: r[0] for p, r in found.items()},
                         dict.fromkeys(LISTS + ("opt",), 100))

    def test_what_fits_is_hit_by_those_of_slots(self):
        trace = reads(range(60)) * 20
        self.assertEqual(self.steady(trace, "marks", 100), 100)
        self.assertEqual(self.steady(trace, "shadow", 100), 100)

    def test_loop_that_does_not_fit(self):
        trace = reads(range(5)) * 20
        self.assertEqual(self.steady(trace, "lru", 4), 0)
        self.assertEqual(self.steady(trace, "clock", 4), 0)
        # Of 5 slots 4 stay; the fifth never gets in.
        self.assertEqual(self.steady(trace, "opt", 4), 80)

    def test_least_recently_used_goes(self):
        # 1 2 1 3: 2 goes, and 1 is hit; then 2 is not.
        trace = reads([9, 9, 9, 9, 1, 2, 1, 3] + [1, 1, 1, 1, 1, 1, 2, 2])
        self.assertEqual(self.steady(trace, "lru", 2), 87.5)
        # In the order that they came: 1 goes when 3 comes.
        trace = reads([9, 9, 9, 9, 1, 2, 3] + [1, 1, 1, 1, 1, 1, 1])
        self.assertEqual(self.steady(trace, "lru", 2), 85.71)

    def test_clock_gives_a_second_chance(self):
        # 1 was used again, so 2 goes though it came later.
        trace = reads([7, 8, 1, 2, 1, 3] + [1, 1, 1, 1, 1, 1])
        self.assertEqual(self.steady(trace, "clock", 2), 100)

    def test_scan_does_not_push_out_what_is_used_twice(self):
        hot, scan = [1, 2, 3, 1, 2, 3], list(range(100, 400))
        trace = []
        for i in range(60):
            trace += reads(hot + scan[i * 5:i * 5 + 5])
        self.assertEqual(self.steady(trace, "arc", 6), 54.55)
        self.assertLess(self.steady(trace, "lru", 6), 54.55)

    def test_memory_written_is_resident_and_dirty(self):
        # Each of 40 writes brings a slot, so each but those in memory goes.
        found = self.simulate(writes(range(80)), LISTS + ("opt",), 10)
        for policy, (hits, _, dirty, all_) in found.items():
            self.assertIsNone(hits, policy)
            self.assertEqual((dirty, all_), (100, 100), policy)

    def test_clean_slots_are_told_from_dirty_ones(self):
        _, _, dirty, all_ = self.simulate(reads(range(80)), ["lru"],
                                          10)["lru"]
        self.assertEqual((dirty, all_), (0, 100))

    def test_belady_passes_over_what_is_overwritten(self):
        # 1 is written before it is read: 2 is worth more.
        trace = (reads([1, 2, 3]) + writes([1]) + reads([2])) * 20
        self.assertGreaterEqual(self.steady(trace, "opt", 2),
                                self.steady(trace, "lru", 2))

    def test_nobody_beats_belady(self):
        names = common.must_run([self.program, "-l"]).split()
        self.assertGreaterEqual(len(names), 8)
        for name in names:
            found = cachesim.run(self.program, name,
                                 LISTS + SLOTS + ("opt",), 128)
            best = found.pop("opt")[0]
            for policy, result in found.items():
                self.assertLessEqual(result[0], best, (name, policy))

    def test_shadow_keeps_up(self):
        """What docs/cache-policy.md promises, with a small memory."""
        for name in ("zipf-1.0", "shift-loop", "fill-then-hot", "loop",
                     "write-beside", "scan-bursts"):
            found = cachesim.run(self.program, name,
                                 cachesim.IDEAL + ("shadow",), 2048)
            steady, second = cachesim.behind(found)
            self.assertGreater(steady, -3, name)
            if second is not None:
                self.assertGreater(second, -5, name)

    def test_different_sizes(self):
        found = cachesim.run(self.program, "zipf-1.0",
                             LISTS + ("shadow", "opt"), 256, True)
        for policy, result in found.items():
            self.assertGreater(result[0], 50, policy)

    def test_bad_traces(self):
        for text in ("", "x 1\n", "r\n", "r 1\nw two\n", "r 1\nq 3\n"):
            name = os.path.join(self.folder, "bad")
            with open(name, "w") as f:
                f.write(text)
            done = subprocess.run([self.program, name, "lru"], text=True,
                                  stderr=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stdout), (2, ""), text)
            self.assertIn(name, done.stderr)

    def test_log_of_nbdkit(self):
        log = ["2026-01-01 00:00:00.1 connection=1 Connect export='' size=0x9",
               "2026-01-01 00:00:00.2 connection=1 Read id=1 offset=0x1000 "
               "count=0x2000 ...",
               "2026-01-01 00:00:00.3 connection=1 ...Read id=1 return=0",
               "2026-01-01 00:00:00.4 connection=1 Write id=2 offset=0x200 "
               "count=0x1000 fua=1 ..."]
        out = io.StringIO()
        cachesim.convert(log, out)
        self.assertEqual(out.getvalue(), "r 1\nr 2\nw 0\nw 1\n")


if __name__ == "__main__":
    unittest.main()
