#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""mem_limit: a full disk answers ENOSPC, loses nothing and recovers.

A write that fails leaves every slot of its range whole: with its old or its
new data.  A slot whose own write failed has its old data.
"""

import errno
import random

from zramtest import (K, M, SANITIZER, Data, Model, Server, check,
                      errno_of, seed)

LIMIT = 16 * M
OLD = 2 * M                     # compressible data in front


class Disk:
    def __init__(self, server, size, slot, rng):
        self.server, self.slot = server, slot
        self.h = server.connect()
        self.model = Model(size)
        self.data = Data(rng)
        self.rng = rng

    def write(self, at, buf):
        """True if it succeeded; otherwise each slot is old or new."""
        e = errno_of(self.h.pwrite, buf, at)
        if e == 0:
            self.model.write(at, buf)
            return True
        check(e == errno.ENOSPC, "a full disk gives errno", e)
        self.settle(at, buf)
        return False

    def settle(self, at, buf):
        """After a failed write: each slot is old or new, and stays so."""
        slot, end = self.slot, at + len(buf)
        new = 0
        for s in range(at // slot, (end + slot - 1) // slot):
            lo, hi = s * slot, (s + 1) * slot
            old = self.model.read(lo, slot)
            a, b = max(lo, at), min(hi, end)
            want = old[:a - lo] + buf[a - at:b - at] + old[b - lo:]
            got = self.h.pread(slot, lo)
            if got != old:
                check(got == want, "slot", s, "of the failed write at", at,
                      "is neither old nor new")
                self.model.write(lo, got)
                new += 1
        slots = (end - 1) // slot - at // slot + 1
        check(new < slots, "a write failed with all", slots, "slots new")

    def fill(self, at, piece):
        """Noise until the disk is full; returns where it ended."""
        while self.write(at, self.data.noise(piece)):
            at += piece
            check(at < self.model.size, "mem_limit is not kept")
        return at

    def brim(self, at):
        """In smaller and smaller pieces, until not even a slot fits."""
        for piece in (256 * K, 2 * self.slot + 100, self.slot):
            at = self.fill(at, piece)
        return at

    def old(self):
        """Compressible data in front, over any data."""
        self.h.trim(OLD, 0)
        self.model.zero(0, OLD)
        check(self.write(0, self.data.text(OLD)), "text does not fit")

    def intact(self, what):
        for page in sorted(self.model.pages):
            self.model.compare(self.h, page * self.model.PAGE,
                               self.model.PAGE, what)


def overwrite_fails(disk, end):
    """Compressible slots overwritten by noise, until a write fails."""
    slot = disk.slot
    for whole in (True, False):
        # Text again, for which there is room; then the rest of the memory is
        # filled.
        disk.h.trim(LIMIT + 4 * M, end - 2 * M)
        disk.model.zero(end - 2 * M, LIMIT + 4 * M)
        disk.old()
        end = disk.brim(end - 2 * M)
        failed = 0
        for i in range(OLD // slot):
            at = i * slot
            if whole:
                buf = disk.data.noise(slot)
            else:
                at += disk.rng.randrange(slot // 4)
                buf = disk.data.noise(slot * 5 // 8)
            failed += not disk.write(at, buf)
            if failed == 20:
                break
        check(failed, "at the limit and yet every overwrite fits")
        # A request over text, noise and holes that no limit can hold.
        big = disk.data.noise(LIMIT + 2 * M)
        check(not disk.write(OLD // 2 + disk.rng.randrange(slot), big),
              len(big), "bytes of noise fit in", LIMIT)
        disk.intact("after failed overwrites")
    return end


def fills_go_on(disk):
    """A repeated word needs no memory: it works on a full disk."""
    for i in range(64):
        at = (disk.rng.randrange(OLD // disk.slot)) * disk.slot
        buf = disk.data.fill(disk.slot)
        check(disk.write(at, buf), "a fill fails on a full disk")
    at = disk.rng.randrange(OLD // 2) // disk.slot * disk.slot
    check(disk.write(at, disk.data.fill(8 * disk.slot)[:8 * disk.slot]),
          "fills of several slots fail on a full disk")
    disk.h.zero(disk.slot, 0)
    disk.model.zero(0, disk.slot)


def one(keys, slot, number):
    rng = random.Random("%d %s" % (number, keys))
    with Server("1G", "mem_limit=%d" % LIMIT, *keys) as server:
        disk = Disk(server, 1 << 30, slot, rng)
        start = server.rss()
        disk.old()
        end = disk.brim(OLD)
        check(end - OLD >= LIMIT * 0.8, "only", end - OLD, "bytes of noise in",
              LIMIT)
        check(end - OLD <= LIMIT * 1.02, end - OLD, "bytes of noise in", LIMIT)
        if not SANITIZER:
            # nbdkit's buffers and threads do not count towards the limit.
            grown = server.rss() - start
            check(grown < LIMIT + 12 * M, "limit", LIMIT, "but", grown)
        disk.intact("full")

        overwrite_fails(disk, end)
        fills_go_on(disk)
        disk.intact("after fills")

        # Room again: part of the noise is discarded, and as much can be
        # written.
        away = (end - OLD) // 4 // slot * slot
        disk.h.trim(away, OLD)
        disk.model.zero(OLD, away)
        at = OLD + away
        for i in range(away // 2 // slot):
            at = OLD + i * slot
            check(disk.write(at, disk.data.noise(slot)),
                  "no room after a trim of", away, "at", i * slot)
        disk.fill(1 << 29, 64 * K)
        disk.intact("full again")

        # All of it, twice: the memory of failed writes was given back.
        for _ in range(2):
            disk.h.trim(1 << 30, 0)
            disk.model.pages.clear()
            again = disk.fill(0, slot)
            check(again >= (end - OLD) * 0.95, "first", end - OLD,
                  "bytes fitted, now", again)
        disk.intact("in the end")


def ever_other_places(number):
    """On a disk of 64T trimmed data leave nothing behind, not even in the
    table, so it works for ever.  16 MiB are the nodes of 2,000 such places.
    """
    rng = random.Random(number)
    with Server("64T", "mem_limit=%d" % LIMIT) as server:
        h = server.connect()
        for i in range(6000):
            at = rng.randrange((1 << 46) // K) * K
            buf = b"%16d" % i
            check(errno_of(h.pwrite, buf, at) == 0, "no room for place", i)
            if i % 100 == 0:
                check(h.pread(16, at) == buf, "wrong data at", at)
            h.trim(K, at)
            h.trim(4 * K, at & -4096)


number = seed()
ever_other_places(number)
for keys, slot in ((["algorithm=lz4"], 4 * K),
                   (["algorithm=lz4", "write_buffer=64M"], 4 * K),
                   (["algorithm=zstd"], 4 * K),
                   (["algorithm=lz4", "slot_size=64k"], 64 * K),
                   (["algorithm=deflate", "slot_size=16k", "workers=1"],
                    16 * K)):
    one(keys, slot, number)
