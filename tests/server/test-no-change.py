#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Requests that leave the data unchanged need and take no memory.

  scattered  10,000 zero writes all over an empty disk: no memory at all
  full       on a full disk: zeros into holes, by writes, zero requests and
             trims of all sizes at all places; and writes of the same data
"""

import os
import shutil
import tempfile

from controltest import ControlServer
from zramtest import (G, HOLE, K, M, SANITIZER, T, ZERO, Data, Model, Pipeline,
                      all_extents, check, errno, errno_of, nbd, random, same,
                      seed, time)

MANY = 2000 if SANITIZER else 10000
ZERO_FLAGS = (0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FAST_ZERO,
              nbd.CMD_FLAG_FUA)


def used(server):
    return server.control().call("stats")["mm"]["mem_used_total"]


def compressed(server):
    """Waits until written data have left the write buffer, which takes another
    amount of memory.
    """
    c = server.control()
    for _ in range(2400):
        buffer = c.call("stats")["write_buffer"]
        if not buffer["slots"]:
            return
        time.sleep(0.05)
    check(False, "still in the write buffer:", buffer)


def scattered(rng, keys):
    with ControlServer(T, *keys) as server:
        h = server.connect()
        h.pwrite(b"data", 0)
        compressed(server)
        before = used(server)
        pipe = Pipeline([h], depth=64)
        zeros = nbd.Buffer.from_bytearray(bytearray(4 * K))
        part = nbd.Buffer.from_bytearray(bytearray(100))
        for i in range(MANY):
            at = (1 + rng.randrange(T // M - 2)) * M + rng.randrange(M)
            if i % 3:
                at &= -4096
                pipe.submit(at, at + 4 * K, "pwrite", zeros, at, 0)
            else:
                pipe.submit(at, at + 100, "pwrite", part, at, 0)
        pipe.drain()
        now = used(server)
        check(now <= before, MANY, "zero writes take", now - before, "bytes")
        # Some kernels write whole requests of them.
        for i in range(8):
            h.pwrite(bytes(M), rng.randrange(T - M))
        check(used(server) <= before, "MiBs of zeros take",
              used(server) - before, "bytes")
        check(all_extents(h, M, 4 * G) == [(M, 4 * G - M, HOLE | ZERO)],
              "zeros in a hole are no hole")
        check(h.pread(4, 0) == b"data", "the data")


def fill(h, model, rng, slot):
    """Noise until nothing more fits; returns where it ended."""
    at = 0
    for piece in (64 * K, slot):
        while True:
            check(at < 64 * M, "mem_limit is not kept")
            buf = rng.randbytes(piece)
            e = errno_of(h.pwrite, buf, at)
            if e:
                check(e == errno.ENOSPC, "a full disk gives", e)
                # Each slot is old or new.
                model.write(at, h.pread(piece, at))
                at = (at + piece + M - 1) // M * M
                break
            model.write(at, buf)
            at += piece
    return at


def zeros_in_holes(h, model, rng, slot, hole):
    """Every size at many places of [hole, 1G), by each kind of request."""
    sizes = (1, 8, 100, 512, slot - 1, slot, slot + 1, 5 * slot, 100 * K, M,
             3 * M)
    for n in sizes:
        for at in (hole, hole + 1, hole + 256 * slot - 5, G - n,
                   hole + rng.randrange(G - hole - n)):
            h.pwrite(bytes(n), at)
            h.pwrite(bytes(n), at, nbd.CMD_FLAG_FUA)
            for flags in ZERO_FLAGS:
                h.zero(n, at, flags)
            h.trim(n, at)
            same(h.pread(n, at), bytes(n), at, "zeros")


def again(h, model, rng, slot, end):
    """Writes the same data again, in whole and in part.

    Not with a backing: a whole slot is not read before it is written, so a
    slot there comes back into memory.
    """
    for i in range(300):
        n = rng.choice((1, 100, slot // 2, slot, 3 * slot, 20 * slot))
        at = rng.randrange(end - n)
        h.pwrite(model.read(at, n), at)
    # Zeros inside of the data, and zeros there again.
    for i in range(100):
        at = rng.randrange(end // slot) * slot + rng.randrange(slot // 2)
        e = errno_of(h.pwrite, bytes(slot // 4), at)
        if e == 0:
            model.write(at, bytes(slot // 4))
            h.pwrite(bytes(slot // 4), at)
            h.zero(slot // 8, at + 3)
            h.trim(slot // 8, at + 3)
        else:
            check(e == errno.ENOSPC, "errno", e)


def full(rng, keys, slot=4 * K):
    model = Model(G)
    with ControlServer(G, "mem_limit=2M", *keys) as server:
        h = server.connect()
        end = fill(h, model, rng, slot)
        zeros_in_holes(h, model, rng, slot, 128 * M)
        if not any(k.startswith("backing=") for k in keys):
            again(h, model, rng, slot, end)
        zeros_in_holes(h, model, rng, slot, 256 * M)
        for page in sorted(model.pages):
            model.compare(h, page * model.PAGE, model.PAGE, "full")
        check(all_extents(h, 128 * M, G) == [(128 * M, G - 128 * M,
                                              HOLE | ZERO)], "holes")


rng = random.Random(seed())
folder = tempfile.mkdtemp(prefix="zram-no-change.")
try:
    for keys in ([], ["write_buffer=64M"],
                 ["allocator=z3fold", "write_buffer=4M", "mem_limit=64M"]):
        scattered(rng, keys)
    for i, keys in enumerate(([], ["write_buffer=64M"], ["allocator=z3fold"],
                              ["algorithm=zstd", "write_buffer=64M",
                               "allocator=z3fold"])):
        full(rng, keys)
        if i % 2 == 0:
            full(rng, [*keys, "backing=" + os.path.join(folder, str(i)),
                       "backing_size=2M"])
    full(rng, ["slot_size=64k"], 64 * K)
finally:
    shutil.rmtree(folder)
