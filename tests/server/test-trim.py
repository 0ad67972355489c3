#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Trim is advice: it never fails for bytes that it may leave unchanged.

If one of its edges lies in a slot in the backing, and the backing is down, the
edge keeps its old data; everything between the edges is gone all the same.  A
zero request promises zeros, so it fails then, and each slot is old or new.
When the backing is up again, both do all of it.
"""

import shutil
import tempfile

from backingtest import BLOCK, Backing, content
from zramtest import (M, Server, check, errno, errno_of, nbd,
                      skip_if_errors_hang,
                      random, seed, time)

BLOCKS = 1000
FLAGS = [("trim", 0), ("trim", nbd.CMD_FLAG_FUA), ("zero", 0),
         ("zero", nbd.CMD_FLAG_NO_HOLE), ("zero", nbd.CMD_FLAG_FAST_ZERO)]


class Disk:
    def __init__(self, h):
        self.h = h
        self.model = [bytearray(content(i, 1)) for i in range(BLOCKS)]
        for i in range(BLOCKS):
            h.pwrite(self.model[i], i * BLOCK)

    def held(self, first, end):
        """The model's contents of these blocks."""
        return b"".join(self.model[first:end])

    def away(self):
        """The blocks that only the backing has, while it is down."""
        return [i for i in range(BLOCKS)
                if errno_of(self.h.pread, 1, i * BLOCK) == errno.EIO]

    def check(self, first, end):
        n = (end - first) * BLOCK
        check(self.h.pread(n, first * BLOCK) == self.held(first, end),
              "blocks", first, "to", end, "are not what they should be")

    def zeroed(self, i, at=0, end=BLOCK):
        self.model[i][at:end] = bytes(end - at)


def reconnected(h, blocks):
    for _ in range(1200):
        if not any(errno_of(h.pread, 1, i * BLOCK) for i in blocks):
            return
        time.sleep(0.1)
    check(False, "the store is not found again")


def one_request(d, name, flags, head, tail, away):
    """From the middle of block 'head' to the middle of block 'tail'."""
    at, n = head * BLOCK + 1000, (tail - head) * BLOCK + 500
    begin = time.monotonic()
    e = errno_of(getattr(d.h, name), n, at, flags)
    # Each edge may notice only after a second that the backing is down.
    check(time.monotonic() - begin < 20, name, "takes too long")
    lost = {head, tail} & away
    if name == "trim":
        check(e == 0, "trim with its edges in", lost, "gives", e)
    else:
        check(e == (errno.EIO if lost else 0), name, "with its edges in",
              lost, "gives", e)
    for i in range(head + 1, tail):
        d.zeroed(i)
    if head == tail:
        edges = {head: (1000, 1500)}
    else:
        edges = {head: (1000, BLOCK), tail: (0, 1500)}
    for i, (a, b) in edges.items():
        if i not in away:
            d.zeroed(i, a, b)
            d.check(i, i + 1)
    if tail > head + 1:
        d.check(head + 1, tail)


def down(folder, rng, *keys):
    store = Backing(folder, 64 * M)
    try:
        with Server(BLOCKS * BLOCK, "mem_limit=1M",
                    "backing=nbd+unix:///?socket=" + store.sock,
                    "backing_timeout=1", "promote=no", *keys) as s:
            d = Disk(s.connect())
            store.kill()
            away = d.away()
            here = sorted(set(range(BLOCKS)) - set(away))
            check(len(away) > 300 and here, len(away), "blocks in the store")
            gone = set(away)
            for n in range(40):
                name, flags = FLAGS[n % len(FLAGS)]
                head = rng.choice(away if n % 3 else here)
                tail = min(head + rng.choice((0, 0, 1, 2, 7)), BLOCKS - 1)
                one_request(d, name, flags, head, tail, gone)
                gone -= set(range(head + 1, tail))
                away = sorted(gone)
            store.start()
            reconnected(d.h, away)
            for i in range(0, BLOCKS, 50):
                d.check(i, i + 50)
            # The backing is up again, so both do all of it.
            for n, (name, flags) in enumerate(FLAGS):
                head = away[n * 40]
                one_request(d, name, flags, head, head + 3, set())
                d.check(head, head + 4)
    finally:
        store.kill()


skip_if_errors_hang()
rng = random.Random(seed())
for keys in ([], ["write_buffer=1M"], ["allocator=z3fold"],
             ["algorithm=zstd"]):
    folder = tempfile.mkdtemp(prefix="zram-trim.")
    begin = time.monotonic()
    try:
        down(folder, rng, *keys)
    finally:
        shutil.rmtree(folder)
    print("%s: %.1f s" % (" ".join(keys) or "plain",
                          time.monotonic() - begin), flush=True)
