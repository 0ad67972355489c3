#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""allocator=z3fold through the server: its reclaim evicts, the limit is kept,
and compact, classes and audits report its pages.

Random operations and fio with it are in test-random.py and test-fio.sh.
"""

import os
import shutil
import tempfile

from controltest import ControlServer, metric, sound
from backingtest import Load
from zramtest import (K, M, SANITIZER, check, errno, errno_of, random, seed,
                      time)

DISK = 64 * M


def eviction(folder):
    """Blocks with their own number, in a third of the memory they need, with
    audits meanwhile.
    """
    blocks = 1500 if SANITIZER else 6000
    with ControlServer(DISK, "allocator=z3fold", "mem_limit=%d" % (blocks * K),
                       "backing=" + os.path.join(folder, "evict"),
                       "backing_size=%d" % (blocks * 8 * K)) as s:
        load, c = Load(s.sock, blocks), s.control()
        load.fill()
        load.start(seed())
        for _ in range(3):
            time.sleep(0.5)
            sound(c)
        load.stop()
        load.verify()
        st = c.call("stats")
        e = st["backing"]["eviction"]
        check(e["pages_reclaimed"] > 0 and e["slots"] > 0, "reclaimed", e)
        check(metric(c, "reclaimed_pages_total") >= e["pages_reclaimed"] and
              metric(c, "reclaim_failures_total") >= e["reclaim_failures"],
              "metrics")
        check(st["mm"]["mem_used_max"] <= blocks * K, "over the limit",
              st["mm"])
        check(st["io"]["failed_writes"] == 0, "failed writes", st["io"])
        sound(c)


def both_full(folder):
    """ENOSPC only when neither has room; discards make room."""
    with ControlServer(DISK, "allocator=z3fold", "mem_limit=2M",
                       "backing=" + os.path.join(folder, "full"),
                       "backing_size=4M") as s:
        h, at = s.connect(), 0
        while at < DISK:
            e = errno_of(h.pwrite, os.urandom(4 * K), at)
            if e:
                check(e == errno.ENOSPC, "errno", e)
                break
            at += 4 * K
        check(4 * M + 256 * K < at < DISK, "full at", at)
        for _ in range(3):
            h.trim(M, 0)
            kept = os.urandom(512 * K)
            h.pwrite(kept, 0)
            check(h.pread(512 * K, 0) == kept, "not what was written")
        h.trim(at, 0)
        sound(s.control())


def limit(_folder):
    """Without a backing: ENOSPC, the old data stay, discards make room."""
    rng = random.Random(seed())
    with ControlServer(DISK, "allocator=z3fold", "mem_limit=2M") as s:
        h, n = s.connect(), 0
        first = rng.randbytes(4 * K)
        h.pwrite(first, 0)
        while errno_of(h.pwrite, rng.randbytes(4 * K), (n + 1) * 4 * K) == 0:
            n += 1
            check(n < 600, "no limit")
        check(n > 450, "full after", n)
        check(h.pread(4 * K, 0) == first, "the first slot changed")
        h.trim(64 * 4 * K, 4 * K)
        for i in range(64):
            h.pwrite(rng.randbytes(4 * K), (i + 1) * 4 * K)
        sound(s.control())


def compact(_folder):
    """Nothing waits for compaction, but it gives free pages back."""
    with ControlServer(DISK, "allocator=z3fold", "compact_threshold=0") as s:
        h, c = s.connect(), s.control()
        line = random.Random(seed()).randbytes(1200)
        for i in range(1024):
            h.pwrite(line + bytes(4 * K - 1200), i * 4 * K)
        three = c.call("classes")["classes"][0]
        check(three["obj_used"] == 1024 and
              three["pages_used"] <= 1024 // 3 + 8, "classes", three)
        # A page has its first object in front and its second at the end: the
        # one that is left moves to the front.
        for i in range(1024):
            if i % 3 != 2:
                h.trim(4 * K, i * 4 * K)
        st = c.call("stats")
        check(st["allocator"] == "z3fold", "allocator", st["allocator"])
        check(st["compaction"]["objects_moved"] > 0 and
              st["compaction"]["freeable_pages"] == 0, st["compaction"])
        before = st["mm"]["mem_used_total"]
        h.trim(3 * M, 0)
        job = c.job("compact")
        check(job["state"] == "done", "compact", job)
        used = c.call("stats")["mm"]["mem_used_total"]
        check(used < before - 700 * K, "given back: %d of %d" % (used, before))
        for i in range(768, 1024):
            want = line + bytes(4 * K - 1200) if i % 3 == 2 else bytes(4 * K)
            check(h.pread(4 * K, i * 4 * K) == want, "slot", i)
        sound(c)


folder = tempfile.mkdtemp(prefix="zram-z3fold.")
try:
    for test in (eviction, both_full, limit, compact):
        begin = time.monotonic()
        test(folder)
        print("%s: %.1f s" % (test.__name__, time.monotonic() - begin),
              flush=True)
finally:
    shutil.rmtree(folder)
