#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""write_buffer=: a burst is kept uncompressed and compressed later.  Data that
are overwritten meanwhile are never compressed.  The buffer's memory is
counted, bounded and given back.
"""

import errno
import random
import re
import time

from controltest import PARAMS, ControlServer
from zramtest import (K, M, SANITIZER, Data, Model, check, errno_of, seed)

BURST = 8 * M


def buffer(c):
    return c.call("stats")["write_buffer"]


def wait_until(what, done, seconds=90):
    for _ in range(seconds * 20):
        if done():
            return
        time.sleep(0.05)
    raise AssertionError("not in %d seconds: %s" % (seconds, what))


def smaps(pid):
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return int(re.search(r"^Private_Dirty:\s*(\d+) kB", f.read(),
                             re.M)[1]) * K


class Disk:
    def __init__(self, server, rng):
        self.h, self.c = server.connect(), server.control()
        self.model = Model(1 << 30)
        self.data, self.rng = Data(rng), rng

    def write(self, at, buf):
        self.h.pwrite(buf, at)
        self.model.write(at, buf)

    def burst(self, start=0, size=BURST):
        """In pieces, and in any order."""
        pieces = list(range(start, start + size, 64 * K))
        self.rng.shuffle(pieces)
        for at in pieces:
            self.write(at, self.data.mixed(32 * K) + self.data.text(32 * K))

    def intact(self, what, end=2 * BURST):
        self.model.compare(self.h, 0, end, what)


def burst(rng):
    """Fast into the buffer, compressed a little later, and then its memory is
    free.
    """
    with ControlServer("1G", "write_buffer=16M") as server:
        d = Disk(server, rng)
        d.burst()
        s = buffer(d.c)
        check(s["size"] == 16 * M and s["capacity"] == 4096, s)
        check(s["written"] >= BURST // (4 * K) and s["passed"] == 0, s)
        check(s["slots"] <= s["capacity"], s)
        d.intact("just written")
        state = d.c.call("block_state", start=0, count=3)["slots"]
        check(all(x["codec"] in ("buffered", "lz4", "raw") for x in state),
              state)
        wait_until("all is compressed", lambda: buffer(d.c)["slots"] == 0)
        s = buffer(d.c)
        check(s["drained"] >= BURST // (4 * K) and s["failed"] == 0, s)
        d.intact("compressed")
        wait_until("its memory is given back",
                   lambda: buffer(d.c)["memory"] == 0)
        text = d.c.call("metrics")["text"]
        check(re.search(r"^nbdzram_write_buffer_drains_total"
                        r"\{outcome=\"done\"\} %d$" % buffer(d.c)["drained"],
                        text, re.M), "metrics", text)
        d.h.trim(1 << 30, 0)
        check(d.c.call("stats")["mm"]["compr_data_size"] == 0, "not empty")


def memory(rng):
    """mem_used_total contains it: within 2 % of the growth of the process."""
    if SANITIZER:
        return
    # One thread of nbdkit: each has a buffer from its first request on.
    with ControlServer("1G", "write_buffer=48M",
                       options=("-t", "1")) as server:
        d = Disk(server, rng)
        d.burst(0, 4 * M)               # the thread's buffer
        d.h.trim(1 << 30, 0)
        start, used = smaps(server.pid), \
            d.c.call("stats")["mm"]["mem_used_total"]
        d.burst(0, 44 * M)
        grown = smaps(server.pid) - start
        counted = d.c.call("stats")["mm"]["mem_used_total"] - used
        check(counted > 20 * M, "counted", counted)
        check(abs(grown - counted) < counted * 0.02 + 256 * K,
              "memory grew by", grown, "and counted are", counted)


def overwritten(rng):
    """Again and again in the same place: hardly anything is compressed."""
    with ControlServer("1G", "write_buffer=16M") as server:
        d = Disk(server, rng)
        for _ in range(6):
            d.burst(0, 2 * M)
        s = buffer(d.c)
        # On a slow machine a second may pass between two writes of a slot.
        check(s["overwritten"] + s["drained"] >= 5 * 512, s)
        check(s["written"] + s["overwritten"] == 6 * 512, s)
        d.intact("overwritten")
        before = buffer(d.c)["drained"]
        d.h.trim(1 << 30, 0)
        d.model.pages.clear()
        check(buffer(d.c)["slots"] == 0, "discarded, and still there")
        time.sleep(0.3)
        check(buffer(d.c)["drained"] == before, "discarded data came back")
        d.intact("discarded")


def limit(rng):
    """At the limit buffered slots are compressed before a write fails."""
    with ControlServer("1G", "mem_limit=16M", "write_buffer=64M") as server:
        d = Disk(server, rng)
        check(buffer(d.c)["capacity"] == 512, "an eighth of the limit")
        at = 0
        while errno_of(d.h.pwrite, buf := d.data.text(64 * K), at) == 0:
            d.model.write(at, buf)
            at += 64 * K
            if at % M == 0:
                mm = d.c.call("stats")["mm"]
                check(mm["mem_used_total"] <= 16 * M, "over the limit", mm)
            check(at < 1 << 29, "the limit is not kept")
        check(errno_of(d.h.pwrite, d.data.noise(64 * K), at)
              == errno.ENOSPC, "full, and yet it fits")
        # Noise, of which one slot did not fit, is discarded again.
        d.h.trim(64 * K, at)
        plain = 0
        with ControlServer("1G", "mem_limit=16M") as other:
            h = other.connect()
            while errno_of(h.pwrite, d.data.text(64 * K), plain) == 0:
                plain += 64 * K
        check(at >= plain * 0.92, "with a buffer", at, "without", plain)
        d.intact("full", at)

        # Lowered below its use: the buffer makes room.
        d.h.trim(at // 2, 0)
        d.model.zero(0, at // 2)
        d.burst(0, 2 * M)
        used = d.c.call("stats")["mm"]["mem_used_total"]
        d.c.call("mem_limit", set=max(used - M, 2 * M))
        wait_until("it makes way", lambda: buffer(d.c)["slots"] == 0)
        d.intact("lowered", at)


def knob(rng):
    """Switched on and off and on again while it is in use."""
    with ControlServer("1G", "recompress=zstd") as server:
        d = Disk(server, rng)
        check(d.c.call("write_buffer") == {"write_buffer": 0}, "is on")
        d.burst()
        check(buffer(d.c)["written"] == 0, buffer(d.c))
        check(d.c.call("write_buffer", set=8 * M) == {"write_buffer": 8 * M},
              "not set")
        d.burst()
        check(buffer(d.c)["written"] > 0, buffer(d.c))
        d.c.call("write_buffer", set=0)
        d.burst(BURST)
        wait_until("all is compressed", lambda: buffer(d.c)["slots"] == 0)
        d.intact("off")
        for bad in (-1, 4096, 1 << 50, "8M", 1.5, None):
            d.c.refused(PARAMS, ["set"], "write_buffer", set=bad)
        d.c.call("write_buffer", set=16 * M)
        d.burst()
        check(d.c.job("audit", deep=True)["state"] == "done", "audit")
        # Jobs by hand work on all slots that were written.
        d.burst()
        check(d.c.job("recompress")["state"] == "done", "recompress")
        for slot in d.c.call("block_state", start=0, count=64)["slots"]:
            check(slot["codec"] != "buffered", slot)
        d.intact("recompressed")
        d.burst()
        check(d.c.job("reset", force=True)["state"] == "done", "reset")
        check(buffer(d.c)["slots"] == 0, buffer(d.c))
        d.model.pages.clear()
        d.intact("reset")


number = seed()
for test in (burst, memory, overwritten, limit, knob):
    test(random.Random("%d %s" % (number, test.__name__)))
