#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A backing that is slow, or stopped, and requests meanwhile.

  slow      a deep audit reads it slot by slot: memory is read all the while
  stopped   audits are cancelled, workers are changed, block_state and stats
            answer, memory is read and written, with a read and workers asleep
            in the backing; when it goes on, everything is sound

Times are checked only for requests that must not wait for the backing at all.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading

from controltest import ControlServer, sound
from backingtest import BLOCK, content
from zramtest import K, M, NBDKIT, check, skip, time, wait_listening

BACKED = 256            # blocks [0, BACKED) are in the backing
BLOCKS = 512
SOON = 30               # seconds; the backing is stopped for longer than this


class Backing:
    def __init__(self, folder, *filters):
        self.sock = os.path.join(folder, "store.sock")
        self.job = subprocess.Popen(
            [NBDKIT, "-f", "-U", self.sock, *filters],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        if not wait_listening(self.sock, self.job):
            check(self.job.poll() is not None, "no store")
            skip("needs nbdkit's memory plugin and delay filter")

    def stop(self):
        self.job.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.job.send_signal(signal.SIGCONT)

    def kill(self):
        self.go_on()
        self.job.kill()
        self.job.wait()


def fill(s):
    h = s.connect()
    for i in range(BLOCKS):
        h.pwrite(content(i, 1), i * BLOCK)
    with s.control() as c:
        job = c.job("writeback", page_indexes=[[0, BACKED - 1]])
        check(job["state"] == "done", job)
        check(c.call("stats")["backing"]["slots"]["stored"] == BACKED,
              "not all went to the store")
    return h


def memory_goes_on(h, n=20):
    for i in range(n):
        index = BACKED + i % (BLOCKS - BACKED)
        check(h.pread(BLOCK, index * BLOCK) == content(index, 1), "read")
        h.pwrite(content(index, 1), index * BLOCK)


def soon(what, begun):
    took = time.monotonic() - begun
    check(took < SOON, what, "took", took)


def running(c, job):
    return c.call("job", id=job)["state"] == "running"


def cancel(c, job):
    begun = time.monotonic()
    check(c.call("job_cancel", id=job)["heeded"], "not heeded")
    state = c.wait(job, 2 * SOON)
    check(state["state"] == "cancelled", state)
    check(state["result"]["sound"] is None, state)
    soon("cancel", begun)


def answers(c):
    begun = time.monotonic()
    for n in (1, 5, 2):
        check(c.call("workers", set=n)["workers"] == n, "workers")
        check(c.call("stats")["workers"] == n, "stats")
    check(len(c.call("block_state", start=0, count=BLOCKS)["slots"]) == BLOCKS,
          "block_state")
    soon("settings", begun)


def slow(folder):
    store = Backing(folder, "--filter=delay", "memory", "%d" % (16 * M),
                  "rdelay=50ms")
    try:
        with ControlServer(64 * M, "workers=2",
                           "backing=nbd+unix:///?socket=" + store.sock) as s:
            h = fill(s)
            with s.control() as c:
                job = c.call("audit", deep=True)["job"]
                while c.call("job", id=job)["done"] < 1:
                    check(running(c, job), "too fast:", c.call("job", id=job))
                    time.sleep(0.01)
                memory_goes_on(h)
                answers(c)
                check(running(c, job), "too fast:", c.call("job", id=job))
                cancel(c, job)
            h.trim(BACKED * BLOCK, 0)   # the audit at the end would read these
            h.shutdown()
    finally:
        store.kill()


def read_all(s):
    """Large, so that workers help, and sleep too."""
    h = s.connect()
    got = h.pread(BACKED * BLOCK, 0)
    for i in range(BACKED):
        if got[i * BLOCK:(i + 1) * BLOCK] != content(i, 1):
            s.wrong = i
    h.shutdown()


def stopped(folder):
    store = Backing(folder, "memory", "%d" % (16 * M))
    try:
        with ControlServer(64 * M, "workers=4", "backing_timeout=600",
                           "backing=nbd+unix:///?socket=" + store.sock) as s:
            h = fill(s)
            s.wrong = None
            c = s.control()
            store.stop()

            # Only the audit itself sends requests to the backing.
            begun = time.monotonic()
            job = c.job("audit")
            check(job["state"] == "done" and job["result"]["sound"], job)
            soon("an audit that needs no store", begun)
            job = c.call("audit", deep=True)["job"]
            while c.call("stats")["backing"]["io"]["in_flight"] < 1:
                time.sleep(0.01)
            memory_goes_on(h)
            answers(c)
            check(running(c, job), "who answered?")
            cancel(c, job)

            # A client does, too.
            reader = threading.Thread(target=read_all, args=(s,))
            reader.start()
            while c.call("stats")["backing"]["io"]["in_flight"] < 2:
                time.sleep(0.01)
            answers(c)
            for deep in (False, True):
                job = c.call("audit", deep=deep)["job"]
                begun = time.monotonic()
                memory_goes_on(h)
                soon("memory", begun)
                if running(c, job):
                    cancel(c, job)
            # In time it ends by itself, and reports neither that all is well
            # nor that it is not.
            job = c.job("audit")
            check(job["state"] == "failed" and
                  job["result"]["sound"] is None and
                  "backing store does not answer" in job["message"], job)
            memory_goes_on(h)

            store.go_on()
            reader.join()
            check(s.wrong is None, "block", s.wrong, "was read wrong")
            sound(c)
            answers(c)
            c.close()
            h.shutdown()
    finally:
        store.kill()


def main():
    folder = tempfile.mkdtemp(prefix="zram-test.")
    try:
        for part in (slow, stopped):
            part(folder)
            os.unlink(os.path.join(folder, "store.sock"))
            print(part.__name__, "ok", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()
