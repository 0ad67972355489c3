#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A server that stood still for longer than its deadlines.

Reads and evictions wait for a slow backing when the server is stopped.  The
backing answers meanwhile, or is stopped too.  When both go on, nothing has
failed and the backing does not count as down: time in which the server did not
run does not count, and answers that have arrived are read first.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from controltest import ControlServer
from zramtest import (K, M, NBDKIT, check, nbd, random, seed,
                      wait_listening)

SLOT = 4 * K
SLOTS = 256
TIMEOUT = 4                 # seconds: backing_timeout
FROZEN = TIMEOUT + 1


class SlowStore:
    """An NBD server that delays each request."""

    def __init__(self, folder):
        self.sock = os.path.join(folder, "store")
        file = os.path.join(folder, "image")
        with open(file, "wb") as f:
            f.truncate(64 * M)
        self.job = subprocess.Popen(
            [NBDKIT, "-f", "-U", self.sock, "--filter=delay", "file", file,
             "rdelay=100ms", "wdelay=100ms"], stdin=subprocess.DEVNULL)
        check(wait_listening(self.sock, self.job), "no store")

    def end(self):
        self.job.send_signal(signal.SIGCONT)
        self.job.kill()
        self.job.wait()


def freeze(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(FROZEN)
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)


def store_is_well(c):
    io = c.call("stats")["backing"]["io"]
    check(not io["down"] and not io["read_errors"] and not io["write_errors"],
          "the store was given up:", io)
    if not io["last_error"] is None:
        print("last error:", io["last_error"], flush=True)


def reads(server, store, both):
    """Reads of slots in the backing, more than it serves at once."""
    h, c = server.connect(), server.control()
    data = random.randbytes(SLOTS * SLOT)
    h.pwrite(data, 0)
    job = c.job("writeback", page_indexes=[[0, SLOTS - 1]])
    check(job["state"] == "done" and
          job["result"]["slots"] == SLOTS, job)
    bufs, errors = [], []
    for i in range(0, SLOTS, 4):
        bufs.append((i, nbd.Buffer(SLOT)))
        h.aio_pread(bufs[-1][1], i * SLOT, completion=lambda e:
                    errors.append(e.value) or 1)
    while c.call("stats")["backing"]["io"]["in_flight"] == 0:
        h.poll(10)
    freeze(server.pid, *([store.job.pid] if both else []))
    while h.aio_in_flight():
        h.poll(-1)
    check(len(errors) == len(bufs), "answers", len(errors))
    check(not any(errors), sum(1 for e in errors if e), "of", len(errors),
          "reads failed:", {e for e in errors if e})
    for i, buf in bufs:
        check(buf.to_bytearray() == data[i * SLOT:(i + 1) * SLOT],
              "slot", i)
    store_is_well(c)
    h.trim(len(data), 0)    # the audit at the end reads these slowly


def writers(server, store, both):
    """Writes that wait for room from eviction."""
    h, c = server.connect(), server.control()
    data = [random.randbytes(64 * K) for _ in range(96)]
    c.call("mem_limit", set=2 * M)
    errors = []

    def write():
        for i, part in enumerate(data):
            try:
                h.pwrite(part, i * len(part))
            except nbd.Error as e:
                errors.append((i, e.errnum))

    writer = threading.Thread(target=write)
    writer.start()
    while c.call("stats")["debug"]["writestall"] == 0:
        check(writer.is_alive(), "nothing waits for room")
        time.sleep(0.005)
    freeze(server.pid, *([store.job.pid] if both else []))
    writer.join()
    check(not errors, "writes failed:", errors)
    store_is_well(c)
    for i in range(0, len(data), 16):
        check(h.pread(SLOT, i * 64 * K) == data[i][:SLOT], "part", i)
    h.trim(len(data) * 64 * K, 0)


def main():
    random.seed(seed())
    failures = []

    def run(test, both):
        """With its own server and backing, because it mostly waits."""
        folder = tempfile.mkdtemp(prefix="zram-frozen.")
        store = SlowStore(folder)
        try:
            with ControlServer("64M", "backing=nbd+unix:///?socket=" +
                               store.sock, "backing_timeout=%d" % TIMEOUT,
                               "promote=0") as server:
                test(server, store, both)
        except BaseException as e:
            failures.append("%s, %s stopped: %s" % (
                test.__name__, "both" if both else "the server", e))
        finally:
            store.end()
            shutil.rmtree(folder)

    threads = [threading.Thread(target=run, args=(test, both))
               for test in (reads, writers) for both in (False, True)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not failures, "\n".join(failures))


main()
