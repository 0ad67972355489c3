#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Memory of the process follows the stored data, and so do the statistics."""

import os
import random
import re

from controltest import ControlServer
from zramtest import (HOLE, K, M, SANITIZER, T, ZERO, Data, Server,
                      all_extents, check, seed, skip)

# A thread of nbdkit has a buffer as large as its largest request so far, and
# chance decides which thread takes a request.  So there is only one thread
# where such a buffer would be visible.
ONE_THREAD = ("-t", "1")

if SANITIZER:
    skip("memory of a server under a sanitizer (%s) says nothing" % SANITIZER)


def fill_and_discard(rng, keys):
    """RSS falls back when everything is discarded, more than once."""
    with Server("1G", *keys, options=ONE_THREAD) as server:
        h = server.connect()
        data = Data(rng)

        def round(count):
            for at in range(0, count, 256 * K):
                h.pwrite(data.mixed(128 * K) + data.text(128 * K), at)

        # nbdkit's thread allocates its buffer, and the codec its own.
        round(32 * M)
        h.trim(2 * M, 0)
        h.trim(2**30, 0)
        start = server.rss()
        for i in range(3):
            round(128 * M)
            full = server.rss()
            check(full - start > 16 * M, "128M of data in", full - start)
            check(full - start < 144 * M, "128M of data need", full - start)
            h.trim(2**30, 0)
            check(all_extents(h, 0, 2**30) == [(0, 2**30, HOLE | ZERO)],
                  "not empty")
            end = server.rss()
            check(end - start < 6 * M, "round", i, "all discarded, and",
                  end - start, "bytes more than at the start")


def overwritten(rng):
    """Overwriting does not make memory grow."""
    with Server("64M", options=ONE_THREAD) as server:
        h = server.connect()
        data = Data(rng)
        grown = []
        for i in range(6):
            for at in range(0, 32 * M, 256 * K):
                h.pwrite(data.mixed(256 * K), at)
            grown.append(server.rss())
        check(grown[-1] - grown[1] < 10 * M, "overwriting grows:", grown)


def lone_slots(rng):
    """A thousand places spread over a terabyte: each takes little."""
    with Server("1T") as server:
        h = server.connect()
        h.pwrite(b"warm", 0)
        start = server.rss()
        for i in range(1000):
            h.pwrite(rng.randbytes(100), i * T // 1000 // 512 * 512 + 5)
        grown = server.rss() - start
        # A leaf and nodes of the table, 24 KiB, and a small object.
        check(grown < 1000 * 24 * K + 4 * M, "1000 places need", grown)
        h.trim(2**32 - 512, 0)
        for i in range(1000):
            h.trim(512, i * T // 1000 // 512 * 512)


def fills(rng):
    """Repeated words and zeros need no object, only the table."""
    with Server("1G", options=ONE_THREAD) as server:
        h = server.connect()
        for _ in range(64):
            h.pwrite(b"x" * 256 * K, 0)
        start = server.rss()
        for at in range(0, 256 * M, 256 * K):
            h.pwrite(rng.randbytes(8) * (32 * K), at)
        grown = server.rss() - start
        check(grown < 8 * M, "256M of fills need", grown)


# ---- mem_used_total is the truth

HONEST = 320 * M                        # of the disk


def real_files(rng, size):
    """Contents of this machine's own files, unselected."""
    names = sorted(os.path.join(folder, name)
                   for folder, _, files in os.walk("/usr") for name in files)
    rng.shuffle(names)
    out = bytearray()
    for name in names:
        if os.path.islink(name) or not os.path.isfile(name):
            continue
        try:
            with open(name, "rb") as f:
                out += f.read(4 * M)
        except OSError:
            continue
        if len(out) >= size:
            return bytes(out[:size])
    check(out, "no files in /usr")
    while len(out) < size:              # a small system: the same files again
        out += out[:size - len(out)]
    return bytes(out)


def private_memory(pid):
    """(Private_Dirty, Anonymous) of all mappings of a process, in bytes."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        text = f.read()
    return tuple(int(re.search(r"^%s:\s*(\d+) kB" % name, text, re.M)[1]) * K
                 for name in ("Private_Dirty", "Anonymous"))


class Honesty:
    """Compares the growth of the process with mem_used_total.  The growth
    counts from the moment when it had served a little of every kind and was
    empty again.

    nbdkit, the stacks and buffers of its threads, and the codecs' contexts are
    also memory of the process.  But the disk does not take them, and they
    exist before it holds anything.  So only the growth is compared.  All later
    growth must be in mem_used_total: objects, the allocator's descriptors, the
    slot table, and memory kept for reuse.  Private_Dirty and Anonymous are
    both memory that no other process shares; pages of a file that were read
    are in neither.
    """

    def __init__(self, server, control):
        self.server, self.control = server, control
        self.start, self.used = self.measure()

    def measure(self):
        used = self.control.call("stats")["mm"]["mem_used_total"]
        return private_memory(self.server.pid), used

    def check(self, stage):
        memory, used = self.measure()
        used -= self.used
        check(used > 40 * M, stage, "is too little to be measured:", used)
        for name, now, start in zip(("Private_Dirty", "Anonymous"), memory,
                                    self.start):
            off = (now - start) / used - 1
            print("%s: mem_used_total %.1f MiB, %s %+.2f %%"
                  % (stage, used / M, name, 100 * off))
            check(abs(off) < 0.02, stage, "mem_used_total is", used,
                  "and the process has grown by", now - start, name)
        return used


def honest(rng, data, keys, unit):
    """Filled, overwritten, discarded, compacted."""
    with ControlServer(HONEST, "compact_threshold=0", *keys,
                       options=ONE_THREAD) as server:
        h, c = server.connect(), server.control()
        for at in range(0, 32 * M, M):
            h.pwrite(data[at:at + M], at)
            h.pread(M, at)
        h.trim(HONEST, 0)
        c.job("compact")
        now = Honesty(server, c)

        for at in range(0, HONEST, M):
            h.pwrite(data[at:at + M], at)
        full = now.check("filled")
        for _ in range(HONEST // (64 * K) // 2):    # half, some slots twice
            at, source = (rng.randrange(HONEST // (64 * K)) * 64 * K
                          for _ in range(2))
            h.pwrite(data[source:source + 64 * K], at)
        now.check("overwritten")
        for at in range(0, HONEST, unit):
            if rng.random() < 0.5:
                h.trim(unit, at)
        now.check("half of it discarded")
        c.job("compact")
        left = now.check("compacted")
        check(left < 0.95 * full, "half of it gone leaves", left, "of", full)
        h.trim(HONEST, 0)
        c.job("compact")
        memory, used = now.measure()
        check(used <= now.used + M, "nothing is left, and mem_used_total is",
              used)
        check(memory[1] < now.start[1] + 2 * M, "nothing is left, and",
              memory[1] - now.start[1], "bytes more than at the start")


rng = random.Random(seed())
data = real_files(rng, HONEST)
honest(rng, data, [], 4 * K)
honest(rng, data, ["slot_size=64k", "algorithm=zstd", "level=1"], 64 * K)
del data
for keys in ([], ["algorithm=zstd", "slot_size=64k"]):
    fill_and_discard(rng, keys)
overwritten(rng)
lone_slots(rng)
fills(rng)
