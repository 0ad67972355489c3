#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every command: all alignments, edges that survive, flags, extents."""

import errno
import random
import re

import nbd
from zramtest import (G, HOLE, K, M, ZERO, Data, Model, Server,
                      all_extents, check, errno_of, extents, same, seed)


def reads_and_writes(h, model, slot, data, rng):
    """Every length near a slot's edge at every offset near one."""
    base = 64 * slot
    edges = (-3, -1, 0, 1, 2, 511)
    for start in edges:
        for n in (1, 2, 3, 511, 512, 513, slot // 2, slot - 1, slot,
                  slot + 1, 2 * slot - 1, 2 * slot, 2 * slot + 1,
                  3 * slot + 7):
            at = base + start + slot * rng.randrange(8)
            buf = data.any(n)
            h.pwrite(buf, at)
            model.write(at, buf)
            model.compare(h, at - slot, n + 2 * slot, "write %d" % n)
            for off in edges:
                same(h.pread(n, base + off), model.read(base + off, n),
                     base + off, "read %d" % n)


def one_byte_at_a_time(h, model, slot):
    """A slot is written byte by byte, backwards, and read the same way."""
    at = 8 * slot
    for i in reversed(range(0, slot, slot // 256)):
        h.pwrite(bytes([i * 7 & 255]), at + i)
        model.write(at + i, bytes([i * 7 & 255]))
    model.compare(h, at, slot)
    for i in range(0, slot, 97):
        same(h.pread(1, at + i), model.read(at + i, 1), at + i)


def discards(h, model, slot, data):
    """trim and zero with each flag: the range reads as zeros, the bytes beside
    it survive.
    """
    base = 128 * slot
    ops = [("trim", f) for f in (0, nbd.CMD_FLAG_FUA)]
    ops += [("zero", f) for f in (0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FUA,
                                  nbd.CMD_FLAG_FAST_ZERO,
                                  nbd.CMD_FLAG_FAST_ZERO
                                  | nbd.CMD_FLAG_NO_HOLE)]
    spans = [(0, 1), (1, 1), (slot - 1, 1), (slot - 1, 2), (0, slot),
             (1, slot), (1, slot - 2), (slot // 2, slot), (0, 3 * slot),
             (100, 3 * slot), (slot - 1, slot + 2), (512, 5 * slot - 1024)]
    for kind in ("noise", "text", "fill"):
        for name, flags in ops:
            for start, n in spans:
                buf = getattr(data, kind)(6 * slot)
                h.pwrite(buf, base)
                model.write(base, buf)
                e = errno_of(getattr(h, name), n, base + start, flags)
                what = "%s flags %d [%d, +%d) of %s" % (name, flags, start,
                                                        n, kind)
                if flags & nbd.CMD_FLAG_FAST_ZERO and e == errno.ENOTSUP \
                   and (start % slot or n % slot):
                    pass        # allowed if it would be slow
                else:
                    check(e == 0, what, "errno", e)
                    model.zero(base + start, n)
                model.compare(h, base, 6 * slot, what)


def fua_flush_cache(h, model, slot, data):
    buf = data.text(3 * slot + 5)
    h.pwrite(buf, 11, nbd.CMD_FLAG_FUA)
    model.write(11, buf)
    h.flush()
    for at, n in ((0, 1), (11, len(buf)), (0, 32 * M)):
        h.cache(n, at)
    model.compare(h, 0, 5 * slot)


def large_requests(h, model, data):
    """The largest write and read that are allowed, not aligned to slots."""
    n = 32 * M
    buf = data.text(n - 13) + data.noise(13)
    at = 300 * M + 5
    h.pwrite(buf, at)
    model.write(at, buf)
    same(h.pread(n, at), buf, at, "32M")
    model.compare(h, at - 10, 20)
    model.compare(h, at + n - 10, 20)
    h.trim(n, at)
    model.zero(at, n)
    model.compare(h, at - 10, 20)
    model.compare(h, at, M)


def zero_across(h, model, slot, data):
    """A zero of more than 64 MiB; one that begins inside a slot and passes the
    disk's 128 MiB.
    """
    def mark(*places):
        for at in places:
            buf = data.noise(2 * slot)
            h.pwrite(buf, at)
            model.write(at, buf)

    # Nothing has been written after the boundary yet.
    for name, at in ("zero", 128 * M), ("trim", 640 * M):
        mark(at - 2 * slot)
        getattr(h, name)(66 * M, at - slot // 2)
        model.zero(at - slot // 2, 66 * M)
        model.compare(h, at - 3 * slot, 4 * slot, name + " past the boundary")
    for name in ("zero", "trim"):
        for begin, n in ((400 * M + 100, 200 * M), (100 * M + 3, 60 * M),
                         (128 * M - 1, 3), (128 * M - slot + 1, 2 * slot),
                         (1, 130 * M)):
            places = [max(0, begin - slot), begin + n // 2, begin + n - slot]
            places += [begin + k * 32 * M for k in range(1, n // (32 * M))]
            mark(*places)
            getattr(h, name)(n, begin)
            model.zero(begin, n)
            what = "%s [%d, +%d)" % (name, begin, n)
            for at in places:
                at = max(0, at - slot)
                model.compare(h, at, 4 * slot, what)


def kinds(h, slot, data):
    """Extents of a slot after each kind of change."""
    base = 10 * slot

    def at(i):
        return all_extents(h, base + i * slot, base + (i + 1) * slot)[0][2]

    def whole(i, kind):
        found = all_extents(h, base + i * slot, base + (i + 1) * slot)
        check(len(found) == 1 and found[0][2] == kind, "slot", i, found)

    h.trim(40 * slot, 0)
    h.pwrite(data.text(slot), base)                     # 0 data
    h.pwrite(data.noise(slot), base + slot)             # 1 incompressible
    h.pwrite(bytes(slot), base + 2 * slot)              # 2 zeros written
    h.pwrite(b"ab" * (slot // 2), base + 3 * slot)      # 3 fill
    h.pwrite(data.text(slot), base + 4 * slot)          # 4 trimmed
    h.trim(slot, base + 4 * slot)
    h.pwrite(data.text(slot), base + 5 * slot)          # 5 zeroed
    h.zero(slot, base + 5 * slot)
    h.pwrite(data.text(slot), base + 6 * slot)          # 6 zeroed, kept
    h.zero(slot, base + 6 * slot, nbd.CMD_FLAG_NO_HOLE)
    h.pwrite(data.text(slot), base + 7 * slot)          # 7 partly trimmed
    h.trim(slot - 1, base + 7 * slot)
    h.pwrite(b"x", base + 8 * slot + 5)                 # 8 one byte
    for i in (0, 1, 3, 7, 8):
        whole(i, 0)
    for i in (2, 6):
        check(at(i) & ZERO, "slot", i, "of zeros is", at(i))
    for i in (4, 5, 9, 10, -1):
        whole(i, HOLE | ZERO)

    # The same, seen through requests of any place and length.
    flat = [at(i) for i in range(-5, 20)]
    rng = random.Random(3)
    for _ in range(200):
        lo = rng.randrange(5 * slot, 29 * slot)
        n = rng.randrange(1, 30 * slot - lo + 1)
        flags = rng.choice((0, nbd.CMD_FLAG_REQ_ONE))
        where = lo
        for begin, length, kind in extents(h, n, lo, flags):
            check(begin == where, "gap at", where)
            where += length
            first, last = begin // slot - 5, (begin + length - 1) // slot - 5
            want = set(flat[first:last + 1])
            check(want == {kind}, "extent", begin, length, kind, "is", want)


def wide_block_status(server, slot):
    """2^32-1 bytes at once, aligned and not: the server survives, and every
    answer stays inside the request.
    """
    h = server.connect()
    size = h.get_size()
    check(size > 2**33, "disk too small for this")
    for at in (0, 1, 511, 4096, slot - 1, 2**32 - 1, size - 2**32 + 1):
        for n in (2**32 - 1, 2**32 - 512, 2**32 - 4096, 2**32 - 65536):
            n = min(n, size - at)
            for flags in (0, nbd.CMD_FLAG_REQ_ONE):
                extents(h, n, at, flags)
    # Without structured replies there is no block status; the rest is there.
    plain = nbd.NBD()
    plain.set_request_structured_replies(False)
    plain.connect_unix(server.sock)
    plain.pwrite(b"plain", 77)
    same(plain.pread(5, 77), b"plain", 77)
    plain.shutdown()
    same(h.pread(5, 77), b"plain", 77)


def sparse_data(h, slot, data):
    """Lone slots far apart are each found by one wide query."""
    size = h.get_size()
    h.trim(2**32 - 1, 0)
    h.trim(2**32 - 1, 2**32 - slot)
    places = [3 * slot, 1 * G, 2 * G + 5 * slot, 4 * G - slot,
              4 * G + 100 * slot]
    for at in places:
        h.pwrite(data.text(slot), at)
    found = [e for e in all_extents(h, 0, size) if e[2] == 0]
    check(found == [(at, slot, 0) for at in places], "sparse", found)
    for at in places:
        h.trim(slot, at)
    check(all_extents(h, 0, size) == [(0, size, HOLE | ZERO)],
          "not empty after trim")


rng = random.Random(seed())
for keys in (["slot_size=4k"], ["slot_size=64k", "algorithm=zstd"]):
    slot = int(re.search(r"slot_size=(\d+)k", keys[0]).group(1)) * K
    with Server("1G", *keys) as server:
        h = server.connect()
        data, model = Data(rng), Model(G)
        reads_and_writes(h, model, slot, data, rng)
        one_byte_at_a_time(h, model, slot)
        discards(h, model, slot, data)
        fua_flush_cache(h, model, slot, data)
        large_requests(h, model, data)
        zero_across(h, model, slot, data)
        h2 = server.connect()
        for page in sorted(model.pages):
            model.compare(h2, page * model.PAGE, model.PAGE, "at the end")
        kinds(h, slot, data)
    with Server("10G", *keys) as server:
        wide_block_status(server, slot)
        h = server.connect()
        sparse_data(h, slot, data)
