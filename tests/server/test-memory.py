#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Memory of the process follows what is stored."""

import random

from zramtest import (HOLE, K, M, SANITIZER, T, ZERO, Data, Server,
                      all_extents, check, seed, skip)

if SANITIZER:
    skip("memory of a server under a sanitizer (%s) says nothing" % SANITIZER)


def fill_and_discard(rng, keys):
    """RSS returns when everything is discarded, more than once."""
    with Server("1G", *keys) as server:
        h = server.connect()
        data = Data(rng)

        def round(count):
            for at in range(0, count, 256 * K):
                h.pwrite(data.mixed(128 * K) + data.text(128 * K), at)

        # All of nbdkit's threads get their buffers, and the codec its own.
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
    with Server("64M") as server:
        h = server.connect()
        data = Data(rng)
        grown = []
        for i in range(6):
            for at in range(0, 32 * M, 256 * K):
                h.pwrite(data.mixed(256 * K), at)
            grown.append(server.rss())
        check(grown[-1] - grown[1] < 10 * M, "overwriting grows:", grown)


def lone_slots(rng):
    """A thousand places spread over a terabyte: a little for each."""
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
    with Server("1G") as server:
        h = server.connect()
        for _ in range(64):
            h.pwrite(b"x" * 256 * K, 0)
        start = server.rss()
        for at in range(0, 256 * M, 256 * K):
            h.pwrite(rng.randbytes(8) * (32 * K), at)
        grown = server.rss() - start
        check(grown < 8 * M, "256M of fills need", grown)


rng = random.Random(seed())
for keys in ([], ["algorithm=zstd", "slot_size=64k"]):
    fill_and_discard(rng, keys)
overwritten(rng)
lone_slots(rng)
fills(rng)
