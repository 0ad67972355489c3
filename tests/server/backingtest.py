# SPDX-License-Identifier: BSD-3-Clause
"""Load on a disk whose memory is too small for it.

Every block contains its number and its version, and 2700 bytes of noise made
from these.  So two thirds of a block must be stored, and no block can be
mistaken for another one or for an older version.

  Backing(folder, size)            an NBD server for a backing store

  Load(sock, blocks).fill()      all blocks, version 1
            .start() .stop()     threads that rewrite, read and compare
            .verify()            all blocks

With strict=False requests may fail.  After a failed write each of its blocks
has its old or its new version; a failed read proves nothing.
"""

import os
import subprocess
import threading

from zramtest import (K, NBDKIT, check, connect, nbd, random, time,
                      wait_listening)

BLOCK = 4 * K
RUN = 32            # most blocks in a request


def content(index, version):
    line = b"block %12d version %12d\n" % (index, version)
    noise = random.Random(index << 32 | version).randbytes(2700)
    return (line * 64)[:BLOCK - len(noise)] + noise


class Backing:
    """An NBD server that can be killed."""

    def __init__(self, folder, size):
        self.sock = os.path.join(folder, "store.sock")
        self.file = os.path.join(folder, "store.img")
        self.size = size
        self.job = None
        self.empty()
        self.start()

    def empty(self):
        with open(self.file, "wb") as f:
            f.truncate(self.size)

    def start(self):
        if os.path.exists(self.sock):
            os.unlink(self.sock)
        self.job = subprocess.Popen(
            [NBDKIT, "-f", "-U", self.sock, "file", self.file],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        check(wait_listening(self.sock, self.job), "no store")

    def kill(self):
        self.job.kill()
        self.job.wait()


class Load:
    def __init__(self, sock, blocks, threads=4, strict=True):
        self.sock = sock
        self.blocks = blocks
        self.strict = strict
        self.now = [{0}] * blocks        # versions that it may have
        self.version = [0] * blocks      # newest version ever written
        self.workers = []
        self.threads = threads
        self.stopping = threading.Event()
        self.wrong = None
        self.writes = self.reads = 0
        self.failed_writes = self.failed_reads = 0
        self.slowest = 0.0

    def write(self, h, first, n):
        parts = []
        for i in range(first, first + n):
            self.version[i] += 1
            parts.append(content(i, self.version[i]))
        begin = time.monotonic()
        try:
            h.pwrite(b"".join(parts), first * BLOCK)
        except nbd.Error:
            if self.strict:
                raise
            self.failed_writes += 1
            for i in range(first, first + n):
                self.now[i] = self.now[i] | {self.version[i]}
        else:
            for i in range(first, first + n):
                self.now[i] = {self.version[i]}
        self.slowest = max(self.slowest, time.monotonic() - begin)
        self.writes += 1

    def read(self, h, first, n):
        begin = time.monotonic()
        try:
            got = h.pread(n * BLOCK, first * BLOCK)
        except nbd.Error:
            if self.strict:
                raise
            self.failed_reads += 1
            return
        finally:
            self.slowest = max(self.slowest, time.monotonic() - begin)
        self.reads += 1
        for i in range(first, first + n):
            block = got[(i - first) * BLOCK:(i - first + 1) * BLOCK]
            for v in self.now[i]:
                if block == (content(i, v) if v else bytes(BLOCK)):
                    self.now[i] = {v}
                    break
            else:
                check(False, "block", i, "should be version", self.now[i],
                      "and is", block[:60])

    def _work(self, first, end, seed):
        rng = random.Random(seed)
        try:
            h = connect(self.sock)
            while not self.stopping.is_set():
                n = rng.randint(1, RUN)
                at = rng.randint(first, end - n)
                (self.write if rng.random() < 0.5 else self.read)(h, at, n)
            h.shutdown()
        except (AssertionError, nbd.Error) as e:
            self.wrong = self.wrong or e
            self.stopping.set()

    def start(self, seed):
        """Each thread has its own blocks, so it knows their contents."""
        self.stopping.clear()
        share = self.blocks // self.threads
        self.workers = [
            threading.Thread(target=self._work,
                             args=(k * share, (k + 1) * share, seed + k))
            for k in range(self.threads)]
        for w in self.workers:
            w.start()

    def run_for(self, seconds):
        self.stopping.wait(seconds)
        check(self.wrong is None, self.wrong)

    def stop(self):
        self.stopping.set()
        for w in self.workers:
            w.join()
        self.workers = []
        if self.wrong:
            raise self.wrong

    def fill(self):
        h = connect(self.sock)
        for i in range(0, self.blocks, RUN):
            self.write(h, i, min(RUN, self.blocks - i))
        h.shutdown()

    def verify(self):
        """No request may fail now."""
        self.strict = True
        h = connect(self.sock)
        for i in range(0, self.blocks, RUN):
            self.read(h, i, min(RUN, self.blocks - i))
        h.shutdown()

    def summary(self):
        return ("%d writes (%d failed), %d reads (%d failed), slowest %.1f s"
                % (self.writes, self.failed_writes, self.reads,
                   self.failed_reads, self.slowest))
