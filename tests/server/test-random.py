#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Operations of random kind, offset and length against a flat model.

  SEED=N              repeats a run
  ZRAM_RANDOM_OPS=N   operations in total (100000)

Requests are pipelined over several connections.  Requests in flight at one
time never overlap, but often share a slot.
"""

import os
import random

import nbd
from controltest import ControlServer
from zramtest import (HOLE, K, M, SANITIZER, ZERO, Data, Model, Pipeline,
                      all_extents, check, extents, same, seed)

TOTAL = int(os.environ.get("ZRAM_RANDOM_OPS")
            or (40000 if SANITIZER else 100000))

# A compactor that never rests: objects move all the time.
MOVING = ("-D", "zram.compact=1")

# part of the operations, size of the disk, keys, options of nbdkit
RUNS = [(0.20, 6 * M + 777, ["algorithm=lz4", "slot_size=4k"]),
        # So small that only part of the data finds room there.
        (0.15, 6 * M + 777, ["algorithm=lz4", "slot_size=4k",
                             "write_buffer=1M"], MOVING),
        (0.10, 5 * M + 99, ["algorithm=lz4", "slot_size=4k"], MOVING),
        (0.15, 3 * M + 512, ["algorithm=zstd", "slot_size=16k"]),
        (0.10, 2 * M + 1, ["algorithm=deflate", "slot_size=64k"], MOVING),
        (0.10, 1 * M + 4095, ["algorithm=lz4hc", "slot_size=4k"]),
        (0.10, 4 * M + 333, ["algorithm=lz4", "slot_size=4k",
                             "allocator=z3fold"]),
        (0.10, 1 * M, ["algorithm=zstd", "level=-1", "slot_size=32k",
                       "workers=1"])]


class Run:
    def __init__(self, server, size, slot, rng):
        self.size, self.slot, self.rng = size, slot, rng
        self.handles = [server.connect() for _ in range(3)]
        self.pipe = Pipeline(self.handles, depth=24)
        self.model = Model(size)
        self.data = Data(rng)

    def span(self):
        """Mostly a few bytes or a slot or two, sometimes many."""
        rng, slot = self.rng, self.slot
        kind = rng.randrange(100)
        if kind < 30:
            n = rng.randrange(1, 64)
        elif kind < 55:
            n = slot
        elif kind < 75:
            n = rng.randrange(1, 2 * slot)
        elif kind < 97:
            n = rng.randrange(1, 5) * slot + rng.choice((-1, 0, 0, 0, 1))
        else:
            n = rng.randrange(1, 300 * K)
        n = min(n, self.size)
        at = rng.randrange(self.size - n + 1)
        if rng.random() < 0.5:
            at -= at % slot
        return at, n

    def write(self, at, n):
        buf = self.data.any(n)
        self.model.write(at, buf)
        flags = self.rng.choice((0, 0, 0, nbd.CMD_FLAG_FUA))
        self.pipe.submit(at, at + n, "pwrite", nbd.Buffer.from_bytearray(
            bytearray(buf)), at, flags)

    def read(self, at, n):
        # No request in flight overlaps it, so the model has the answer now.
        want, buf = self.model.read(at, n), nbd.Buffer(n)

        def done():
            same(bytes(buf.to_bytearray()), want, at, "read")

        self.pipe.submit(at, at + n, "pread", buf, at, 0, done=done)

    def trim(self, at, n):
        self.model.zero(at, n)
        self.pipe.submit(at, at + n, "trim", n, at, 0)

    def zero(self, at, n):
        self.model.zero(at, n)
        flags = self.rng.choice((0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FUA))
        self.pipe.submit(at, at + n, "zero", n, at, flags)

    def cache(self, at, n):
        self.pipe.submit(at, at + n, "cache", n, at, 0)

    def flush(self, at, n):
        self.pipe.submit(0, 0, "flush", 0)

    def status(self, at, n):
        """An extent marked as zero must be zero."""
        self.pipe.drain()
        h = self.rng.choice(self.handles)
        flags = self.rng.choice((0, nbd.CMD_FLAG_REQ_ONE))
        for begin, length, kind in extents(h, n, at, flags):
            self.judge(begin, length, kind)

    def judge(self, at, n, kind):
        check(kind in (0, ZERO, HOLE | ZERO), "extent type", kind)
        if kind & ZERO:
            check(not any(self.model.read(at, n)),
                  "extent [%d, +%d) claims zero" % (at, n))

    def whole(self):
        self.pipe.drain()
        self.model.compare(self.rng.choice(self.handles), what="whole disk")
        for extent in all_extents(self.handles[0], 0, self.size):
            self.judge(*extent)

    def run(self, count):
        names = ["write", "read", "trim", "zero", "cache", "flush", "status"]
        picks = self.rng.choices(names, (46, 36, 7, 7, 1, 1, 2), k=count)
        for i, name in enumerate(picks):
            try:
                getattr(self, name)(*self.span())
                if i == count // 2:
                    self.whole()
            except Exception:
                print("at operation %d of %d (%s)" % (i, count, name))
                raise
        self.whole()
        # Everything is freed again, and is one hole.
        self.handles[0].trim(self.size, 0)
        check(all_extents(self.handles[0], 0, self.size)
              == [(0, self.size, HOLE | ZERO)], "not empty after trim")


number = seed()
for share, size, keys, *options in RUNS:
    slot = int(keys[1 if "slot" in keys[1] else 2].split("=")[1][:-1]) * K
    count = int(TOTAL * share)
    print("%d operations, %d bytes, %s" % (count, size, " ".join(keys)),
          flush=True)
    options = options[0] if options else ()
    with ControlServer(size, *keys, options=options) as server:
        rng = random.Random("%d %s" % (number, keys))
        Run(server, size, slot, rng).run(count)
        if options:
            moved = server.control().call("stats")["compaction"]
            check(moved["objects_moved"], "nothing was moved:", moved)
