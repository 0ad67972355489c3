#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Disks of awkward sizes: their first and last bytes, the last slot's edge,
requests beyond the end, extents and zeroes up to the end.
"""

import errno
import random

import nbd
from zramtest import (HOLE, K, ZERO, Data, Model, Server, all_extents,
                      check, errno_of, extents)

MAX = 2**63 - 1


def beyond(h, size):
    """Every command that passes the end is refused, and no other."""
    buf = b"x" * 16
    calls = [(h.pread, 1, size), (h.pwrite, b"x", size),
             (h.pread, 16, size - 1), (h.pwrite, buf, size - 1),
             (h.trim, 16, size - 1), (h.zero, 16, size - 1),
             (h.cache, 16, size - 1), (h.trim, 1, size), (h.zero, 1, size)]
    for call, *args in calls:
        if args[-1] > MAX:
            continue            # not an offset that nbd has
        e = errno_of(call, *args)
        check(e in (errno.EINVAL, errno.ENOSPC), call.__name__, args,
              "at size", size, "gave errno", e)


def near(h, model, size, slot, data):
    """Write and read around every edge that the disk has."""
    last = (size - 1) // slot * slot            # where the last slot begins
    places = {0, 1, last - 1, last, last + 1, last - slot, size - 1,
              size - 2, size - slot, size - slot - 1, size // 2, 511, 4095}
    for at in sorted(p for p in places if 0 <= p < size):
        for n in (1, 2, 511, slot - 1, slot, slot + 1, 2 * slot):
            n = min(n, size - at)
            buf = data.any(n)
            h.pwrite(buf, at)
            model.write(at, buf)
            lo, hi = max(0, at - slot), min(size, at + n + slot)
            model.compare(h, lo, hi - lo, "size %d" % size)


def tail(h, model, size, slot, data):
    """Extents near the end, then zero and trim to the end."""
    span = min(size, 4 * slot + 100)
    begin = size - span
    buf = data.noise(span)
    h.pwrite(buf, begin)
    model.write(begin, buf)
    for n in {1, min(span, slot), span}:
        found = all_extents(h, size - n, size)
        check(found == [(size - n, n, 0)], "extents of data", found)
        extents(h, n, size - n, nbd.CMD_FLAG_REQ_ONE)

    for what, n in (("zero", 1), ("trim", min(span, slot // 2)),
                    ("zero", min(span, slot + 1)), ("trim", span)):
        getattr(h, what)(n, size - n)
        model.zero(size - n, n)
        model.compare(h, begin, span, "%s to the end of %d" % (what, size))
    # All whole slots there are holes now, and so is the last, short one.
    first = (begin + slot - 1) // slot * slot if begin else 0
    if first < size:
        check(all_extents(h, first, size)
              == [(first, size - first, HOLE | ZERO)],
              "extents after trim", all_extents(h, first, size))


def one_size(size, slot, rng):
    with Server(size, "slot_size=%d" % slot) as server:
        h = server.connect(bounds=False)
        check(h.get_size() == size, "size", h.get_size(), size)
        model, data = Model(size), Data(rng)
        found = extents(h, min(size, 2**32 - 1), 0)
        check(all(kind == HOLE | ZERO for _, _, kind in found),
              "an empty disk of", size, "has", found)
        for _ in range(2):      # the second time over data
            near(h, model, size, slot, data)
        beyond(h, size)
        tail(h, model, size, slot, data)
        if size > 64 * K:
            # The two ends do not affect each other.
            model.compare(h, 0, 32 * K)
        else:
            model.compare(h)


rng = random.Random(1)
for slot in (4 * K, 64 * K):
    sizes = [1, 511, 512, 4095, 4096, 4097, slot - 1, slot, slot + 1,
             2**32 * slot - slot, 2**32 * slot - 1, 2**32 * slot,
             2**32 * slot + 1, 2**32 * slot + slot, MAX - slot, MAX - 511,
             MAX]
    for size in sorted(set(sizes)):
        one_size(size, slot, rng)
