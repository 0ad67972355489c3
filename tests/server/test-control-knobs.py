#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every setting of the control socket is read while it is written, under load:
mem_limit, algorithm, workers, idle, compact, statistics and scrapes at
once, with clients that verify all they read.  At the end everything is
audited.
"""

import errno
import random
import threading
import time
import urllib.request

from controltest import REFUSED, ControlServer, Refused
from zramtest import K, M, SANITIZER, Data, Model, check, errno_of, free_port, seed

number = seed()
LIMIT = 12 * M
PART = 16 * M                           # of the disk, for each client
CLIENTS = 3
CODECS = {"lz4": (1, 3), "zstd": (-3, 1, 3), "deflate": (1, 6),
          "lz4hc": (3, 9)}
ROUNDS = 40 if SANITIZER else 150       # of every thread, at least


class Crew:
    """Threads that run until each has done its rounds."""

    def __init__(self):
        self.rounds = {}
        self.failures = []
        self.threads = []

    def add(self, name, work):
        """work (rng): one round."""
        rng = random.Random("%d %s" % (number, name))
        self.rounds[name] = 0

        def run():
            try:
                while not self.failures and \
                        min(self.rounds.values()) < ROUNDS:
                    work(rng)
                    self.rounds[name] += 1
            except BaseException as e:
                self.failures.append((name, e))
        self.threads.append(threading.Thread(target=run))

    def run(self):
        for t in self.threads:
            t.start()
        for t in self.threads:
            t.join()
        if self.failures:
            print("rounds:", self.rounds)
            raise self.failures[0][1]


class Writer:
    """A client with its own part of the disk, and a model of it."""

    def __init__(self, h, offset):
        self.h, self.offset = h, offset
        self.model = Model(PART)

    def round(self, rng):
        data = Data(rng)
        n = rng.choice((100, 4 * K, 4 * K, 64 * K, 300 * K))
        at = rng.randrange(PART - n)
        kind = rng.random()
        if kind < 0.6:
            buf = data.any(n)
            e = errno_of(self.h.pwrite, buf, self.offset + at)
            if e == 0:
                self.model.write(at, buf)
            else:
                check(e == errno.ENOSPC, "write gives errno", e)
                self.settle(at, n)
        elif kind < 0.8:
            self.h.trim(n, self.offset + at)
            self.trimmed(at, at + n)
        self.compare(at, n)

    def trimmed(self, at, end):
        """Zeros, except edges inside a slot for which there was no memory."""
        first, last = (at + 4095) & -4096, end & -4096
        edges = [(at, min(first, end)), (max(last, at), end)]
        if first < last:
            self.model.zero(first, last - first)
        elif first > last:
            edges = [(at, end)]
        for a, b in edges:
            if a < b:
                got = self.h.pread(b - a, self.offset + a)
                check(got in (bytes(b - a), self.model.read(a, b - a)),
                      "an edge of a trim is neither old nor zeros")
                self.model.write(a, got)

    def settle(self, at, n):
        """The request failed: write known data there again."""
        lo, hi = at & -4096, min((at + n + 4095) & -4096, PART)
        check(self.h.pread(at - lo, self.offset + lo) ==
              self.model.read(lo, at - lo) if at > lo else True,
              "data before a failed request")
        self.model.write(lo, self.h.pread(hi - lo, self.offset + lo))

    def compare(self, at, n):
        got = self.h.pread(n, self.offset + at)
        check(got == self.model.read(at, n), "data at", self.offset + at,
              "of", n, "bytes is not what was written")


def with_own(server, work):
    """work (control, rng), with a connection of its own."""
    c = server.control()
    return lambda rng: work(c, rng)


def algorithm(c, rng):
    name = rng.choice(list(CODECS))
    level = rng.choice(CODECS[name])
    try:
        got = c.call("algorithm", set=name, level=level)
        check(got["level"] in sum(CODECS.values(), ()), got)
    except Refused as e:
        check(e.code == REFUSED and "job" in e.message, e)


def read_algorithm(c, rng):
    for got in (c.call("algorithm"), c.call("stats")):
        # The name and the level must match, even while they are changed.
        check(got["level"] in CODECS[got["algorithm"]], got["algorithm"],
              got["level"])


def workers(c, rng):
    n = rng.choice((1, 2, 3, 8))
    try:
        check(c.call("workers", set=n) == {"workers": n}, "not set")
    except Refused as e:
        check(e.code == REFUSED and "job" in e.message, e)


def read_workers(c, rng):
    check(c.call("workers")["workers"] in (1, 2, 3, 8), "workers")
    s = c.call("stats")
    check(0 <= s["streams_busy"] <= 8, s["streams_busy"])


def mem_limit(c, rng):
    n = rng.choice((LIMIT, LIMIT // 2, 2 * LIMIT, 0))
    check(c.call("mem_limit", set=n) == {"mem_limit": n}, "not set")


def read_memory(c, rng):
    check(c.call("mem_limit")["mem_limit"] in
          (LIMIT, LIMIT // 2, 2 * LIMIT, 0), "limit")
    mm = c.call("stats")["mm"]
    check(mm["mem_used_total"] < 3 * CLIENTS * PART, mm)
    check(mm["orig_data_size"] <= CLIENTS * PART, mm)
    check(c.call("mem_used_max", reset=rng.random() < 0.2)["mem_used_max"]
          < 3 * CLIENTS * PART, "peak")


def idle(c, rng):
    c.call("idle", mode="all")
    c.call("idle", mode="range", start=rng.randrange(1000),
           count=rng.randrange(1, 1000))


def read_slots(c, rng):
    cells = c.call("map", cells=rng.choice((1, 64, 1000)))["cells"]
    check(sum(x["slots"] for x in cells) == CLIENTS * PART // (4 * K),
          "slots of the map")
    at = 0
    while at is not None:
        part = c.call("block_state", start=at, count=4096)
        for s in part["slots"]:
            check(s["codec"] in ("same", "raw", *CODECS) and
                  0 <= s["size"] <= 4 * K and len(s["s"]) == 6, s)
        at = part["next"]


def jobs(c, rng):
    kind, params = rng.choice((("compact", {}),) * 4 +
                              (("audit", {"deep": rng.random() < 0.5}),))
    id = c.call(kind, **params)["job"]
    if rng.random() < 0.3:
        c.call("job_cancel", id=id)
    done = c.wait(id)
    check(done["state"] in ("done", "cancelled"), done)
    check(kind == "compact" or done["state"] == "done" or
          done["message"].startswith("nothing "), done)


def looker(c, rng):
    for method in ("version", "latency", "classes", "metrics"):
        c.call(method)


def scrape(port):
    def work(rng):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % port,
                                    timeout=60) as r:
            text = r.read().decode()
        check(text.endswith("\n") and "\nnbdzram_mem_used_bytes " in text,
              "half a scrape:", text[-200:])
    return work


port = free_port()
with ControlServer(CLIENTS * PART, "mem_limit=%d" % LIMIT, "workers=2",
                   "compact_threshold=1", "metrics=%d" % port) as server:
    writers = [Writer(server.connect(), i * PART) for i in range(CLIENTS)]
    crew = Crew()
    for i, w in enumerate(writers):
        crew.add("client %d" % i, w.round)
    for work in (algorithm, read_algorithm, workers, read_workers, mem_limit,
                 read_memory, idle, read_slots, jobs, looker):
        crew.add(work.__name__, with_own(server, work))
    crew.add("scrape", scrape(port))
    crew.run()
    print("rounds:", crew.rounds)

    c = server.control()
    c.call("mem_limit", set=0)
    for w in writers:
        for at in range(0, PART, M):
            w.compare(at, M)
    done = c.job("audit", deep=True)
    check(done["state"] == "done", done)

    # During a reset each block is unchanged, or zeros.
    stop = threading.Event()
    failures = []

    def rewrite(w):
        rng = random.Random(w.offset)
        try:
            while not stop.is_set():
                at = rng.randrange(PART // (4 * K)) * 4 * K
                buf = rng.randbytes(8) * 4 + bytes(4 * K - 32)
                w.h.pwrite(buf, w.offset + at)
                got = w.h.pread(4 * K, w.offset + at)
                check(got in (buf, bytes(4 * K)), "neither data nor zeroes")
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=rewrite, args=(w,)) for w in writers]
    for t in threads:
        t.start()
    for _ in range(20):
        check(c.job("reset", force=True)["state"] == "done", "reset")
    stop.set()
    for t in threads:
        t.join()
    check(not failures, repr(failures[:1]))
    done = c.job("audit", deep=True)
    check(done["state"] == "done", done)
    check(c.job("reset", force=True)["state"] == "done", "reset")
    mm = c.call("stats")["mm"]
    check(mm["orig_data_size"] == 0 == mm["compr_data_size"], mm)
