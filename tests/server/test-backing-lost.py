#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The backing goes away, comes back, comes back empty, and has damaged data.

  killed and restarted under load, soon: requests wait and none fails
  for longer: only slots there fail; it recovers, nothing is lost
  back without its data: EIO for those slots, all others are intact
  bits flipped in a file: EIO for those slots, and each can be rewritten
  the file of a server that ended: the next one starts empty
"""

import os
import shutil
import tempfile

from backingtest import BLOCK, Load, Backing, content
from zramtest import (K, SANITIZER, Server, check, errno, nbd, random, seed,
                      skip_if_errors_hang, time)

BLOCKS = 1500 if SANITIZER else 4000
LIMIT = BLOCKS * K          # a third of the memory it would take


def disk(store, timeout):
    return Server(BLOCKS * BLOCK, "mem_limit=%d" % LIMIT,
                  "backing=nbd+unix:///?socket=" + store.sock,
                  "backing_timeout=%d" % timeout)


def restarted(store, timeout, away, strict):
    with disk(store, timeout) as s:
        load = Load(s.sock, BLOCKS, strict=strict)
        load.fill()
        load.start(seed())
        load.run_for(1)
        for _ in range(2):
            store.kill()
            load.run_for(away)
            store.start()
            load.run_for(1 + (0 if strict else 2))
        load.stop()
        print(load.summary(), flush=True)
        check(load.reads and load.writes, "no load")
        if not strict:
            check(load.failed_reads, "nothing failed without a store")
        # It may take a while until it is connected again.
        h = s.connect()
        for _ in range(1200):
            try:
                for i in range(0, BLOCKS, 64):
                    h.pread(BLOCK, i * BLOCK)
                break
            except nbd.Error:
                time.sleep(0.1)
        load.verify()


def read(h, i):
    """The block; None: EIO."""
    try:
        return h.pread(BLOCK, i * BLOCK)
    except nbd.Error as e:
        check(e.errnum == errno.EIO, "errno", e.errnum)
        return None


def lost_blocks(h, wrong):
    """The blocks that give EIO; each other one has its content."""
    lost = []
    for i in range(BLOCKS):
        got = read(h, i)
        check(got in (None, content(i, 1)), "block", i, "is", wrong)
        if got is None:
            lost.append(i)
    return lost


def heal(h, lost):
    """Lost slots can be rewritten, in whole, and discarded."""
    for n, i in enumerate(lost):
        if n % 2:
            h.trim(BLOCK, i * BLOCK)
            check(read(h, i) == bytes(BLOCK), "discarded block", i)
        else:
            h.pwrite(content(i, 2), i * BLOCK)
            check(read(h, i) == content(i, 2), "rewritten block", i)


def came_back_empty(store):
    with disk(store, 5) as s:
        h = s.connect()
        for i in range(BLOCKS):
            h.pwrite(content(i, 1), i * BLOCK)
        store.kill()
        store.empty()
        store.start()
        lost = lost_blocks(h, "another's")
        check(BLOCKS // 4 < len(lost) < BLOCKS, len(lost), "blocks lost")
        again = [i for i in range(BLOCKS) if read(h, i) is None]
        check(again == lost, "others are lost on the second look")
        heal(h, lost)
        check(all(read(h, i) for i in range(BLOCKS)), "not healed")


def bits_flipped(folder, rng):
    path = os.path.join(folder, "flipped.img")
    with Server(BLOCKS * BLOCK, "mem_limit=%d" % LIMIT, "backing=" + path,
                "backing_size=%d" % (BLOCKS * 8 * K), "promote=no") as s:
        h = s.connect()
        for i in range(BLOCKS):
            h.pwrite(content(i, 1), i * BLOCK)
        written = None      # until the evicted slots are
        while written != (written := os.stat(path).st_mtime_ns):
            time.sleep(1)
        with open(path, "r+b") as f:
            size = os.stat(path).st_size
            flips = 0
            while flips < 40:
                at = rng.randrange(size)
                f.seek(at)
                byte = f.read(1)
                if byte != b"\0":
                    f.seek(at)
                    f.write(bytes((byte[0] ^ 1 << rng.randrange(8),)))
                    flips += 1
        lost = lost_blocks(h, "damaged")
        # A flip may hit padding, or two the same slot.
        check(10 < len(lost) <= 40, len(lost), "slots lost by 40 flips")
        heal(h, lost)


def started_again(folder):
    """Nothing survives its server, and the next one ignores the old file."""
    path = os.path.join(folder, "again.img")
    for life in range(1, 3):
        with Server(BLOCKS * BLOCK, "mem_limit=%d" % LIMIT, "backing=" + path,
                    "backing_size=%d" % (BLOCKS * 8 * K)) as s:
            h = s.connect()
            for i in range(0, BLOCKS, 64):
                n = min(64, BLOCKS - i) * BLOCK
                check(h.pread(n, i * BLOCK) == bytes(n), "life", life,
                      "begins with data at block", i)
            for i in range(BLOCKS):
                h.pwrite(content(i, life), i * BLOCK)
            h.flush()
            for i in range(BLOCKS):
                check(read(h, i) == content(i, life), "block", i)
        check(os.stat(path).st_blocks, "nothing was written to the store")


def main():
    skip_if_errors_hang()
    rng = random.Random(seed())
    folder = tempfile.mkdtemp(prefix="zram-lost.")
    store = Backing(folder, BLOCKS * 8 * K)
    try:
        for test, *args in ((restarted, store, 20, 0.5, True),
                            (restarted, store, 1, 3, False),
                            (came_back_empty, store),
                            (bits_flipped, folder, rng),
                            (started_again, folder)):
            begin = time.monotonic()
            test(*args)
            print("%s: %.1f s" % (test.__name__, time.monotonic() - begin),
                  flush=True)
    finally:
        store.kill()
        shutil.rmtree(folder)


main()
