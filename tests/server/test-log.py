#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""How much clients can make the server log, whatever they do.

  lost    a backing that is gone, read, written and zeroed by many
  full    a disk that is full and written to
  marks   a disk that is filled and emptied across its marks

Few lines are written, with the first of each kind among them.  The others are
counted, and the sum is right.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time

from controltest import ControlServer
from zramtest import (K, M, NBDKIT, check, errno, errno_of, nbd,
                      random, seed, skip_if_errors_hang, wait_listening)

SLOT = 4 * K
CLIENTS = 4
SECONDS = 2

# As in base/log_limit.h: lines of a kind at once, and seconds for one more.
BURST, PERIOD = 8, 10

LEFT_OUT = re.compile(r"error: (\d+) lines like these left out: (.*), in the ")


class Log:
    """Its lines about failed requests, and about lines left out."""

    def __init__(self, text):
        self.lines = re.findall(
            r"error: (read|write|trim|zero|block status) of \d+ bytes at \d+: "
            r"(.*)", text)
        self.left_out = sum(int(n) for n, _ in LEFT_OUT.findall(text))
        for n, kinds in LEFT_OUT.findall(text):
            check(int(n) == sum(int(k.split()[0]) for k in kinds.split(", ")),
                  "the sum is wrong:", n, kinds)


class Logged(ControlServer):
    """A server whose log can be read when it has ended."""

    def stop(self):
        super().stop()
        self.text = self._read(self.log)


def storm(handles, call):
    """Requests on all connections at once; returns how many failed, for each
    errno.
    """
    failed = {}

    def done(error, *ignored):
        failed[error.value] = failed.get(error.value, 0) + 1
        return 1

    until = time.monotonic() + SECONDS
    while (time.monotonic() < until
           or sum(failed.values()) <= 10 * BURST):  # a very slow machine
        for h in handles:
            for _ in range(16):
                call(h, done)
        for h in handles:
            while h.aio_in_flight():
                h.poll(-1)
    return failed


def expect_few_lines(text, total, most, begin):
    """So many requests failed, and each is in a line or counted.  'most' lines
    at once, and for each kind one more in each period since 'begin'.
    """
    most += (time.monotonic() - begin) // PERIOD * most // BURST
    log = Log(text)
    print("%d failed, %d lines, %d left out"
          % (total, len(log.lines), log.left_out), flush=True)
    check(total > 10 * BURST, "no storm:", total)
    check(len(log.lines) + log.left_out == total, "not all are counted:",
          len(log.lines), log.left_out, total)
    check(0 < len(log.lines) <= most, len(log.lines), "lines")
    return log


def start_store(sock, file):
    with open(file, "wb") as f:
        f.truncate(16 * M)
    store = subprocess.Popen([NBDKIT, "-f", "-U", sock, "file", file],
                             stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    check(wait_listening(sock, store), "no store")
    return store


def lost(folder):
    sock = folder + "/store"
    store = start_store(sock, folder + "/image")
    begin = time.monotonic()
    with Logged("16M", "backing=nbd+unix:///?socket=" + sock,
                "backing_timeout=1", "promote=0") as server:
        h, c = server.connect(), server.control()
        h.pwrite(random.randbytes(64 * SLOT), 0)
        job = c.job("writeback", page_indexes=[[0, 63]])
        check(job["state"] == "done", job)
        store.kill()
        store.wait()
        os.unlink(sock)
        check(errno_of(h.pread, SLOT, 0) == errno.EIO, "no EIO")
        handles = [server.connect() for _ in range(CLIENTS)]
        buf = nbd.Buffer(SLOT)
        failed = storm(handles, lambda h, done: h.aio_pread(
            buf, 0, completion=done))
        check(set(failed) == {errno.EIO}, "errors:", failed)
        # Other kinds appear in the middle of that.
        check(errno_of(h.pwrite, b"x", 1) == errno.EIO, "no EIO")
        check(errno_of(h.zero, 1, 1) == errno.EIO, "no EIO")
        total = failed[errno.EIO] + 3
        error = c.call("stats")["backing"]["io"]["last_error"]
        check(error["of"] == "connection" and error["error"] and
              error["age_s"] < 60, error)
        # Meanwhile a period passes, after which the lines left out are counted.
        full()
        marks()
        for _ in range(2400):
            if LEFT_OUT.search(server._read(server.log)):
                break
            time.sleep(0.05)
        else:
            check(False, "nothing is said to be left out")
        h.trim(64 * SLOT, 0)    # or the audit at the end fails to read it
    log = expect_few_lines(server.text, total, 3 * (BURST + 4), begin)
    for what in ("read", "write", "zero"):
        check([1 for w, why in log.lines if w == what and
               "cannot be reached: " in why], "no line of a", what, log.lines)


def full():
    begin = time.monotonic()
    with Logged("64M", "mem_limit=2M") as server:
        handles = [server.connect() for _ in range(CLIENTS)]
        data = random.randbytes(SLOT)
        at = 0
        while errno_of(handles[0].pwrite, random.randbytes(SLOT), at) == 0:
            at += SLOT
        failed = storm(handles, lambda h, done: h.aio_pwrite(
            data, 32 * M, completion=done))
    total = 1 + failed.pop(errno.ENOSPC)
    check(not failed or set(failed) == {0}, "errors:", failed)
    log = expect_few_lines(server.text, total, BURST + 4, begin)
    check("mem_limit=2097152 is used up" in log.lines[0][1], log.lines[0])


def marks():
    """Across the marks of 80, 90 and 95 %, and back."""
    with Logged("64M", "mem_limit=1M") as server:
        h = server.connect()
        start, rounds = time.monotonic(), 0
        while rounds < 200 and time.monotonic() < start + SECONDS:
            at = 0
            while errno_of(h.pwrite, random.randbytes(16 * K), at) == 0:
                at += 16 * K
            h.trim(at + 16 * K, 0)
            rounds += 1
    lines = server.text.count("warning: ")
    print("%d rounds, %d warnings" % (rounds, lines), flush=True)
    periods = (time.monotonic() - start) // PERIOD
    check(0 < lines <= 3 * (BURST + 3 + periods), lines, "warnings")
    for percent in (80, 90, 95):
        check("warning: %d %% of mem_limit" % percent in server.text, percent)


def main():
    skip_if_errors_hang()
    random.seed(seed())
    folder = tempfile.mkdtemp(prefix="zram-log.")
    try:
        lost(folder)
    finally:
        shutil.rmtree(folder)


main()
