#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The backing through the control socket and nbdzramctl: the slots that each
parameter of writeback selects, budget, marks and promotion, the statistics
and metrics, a backing that is full and one that goes away, and passes that
are cancelled, reset and audited while they run.
"""

import errno
import os
import random
import re
import shutil
import subprocess
import tempfile
import time

from controltest import PARAMS, REFUSED, ControlServer, metric, sound
from ctltest import REFUSED as CTL_REFUSED
from ctltest import USAGE, Ctl
from zramtest import (K, M, SANITIZER, Data, check, errno_of, seed, skip,
                      wait_listening)

SLOT = 4 * K
number = seed()
rng = random.Random(number)
folder = tempfile.mkdtemp(prefix="zram-test.")


def equal(what, got, want):
    check(got == want, what, "is", got, "and not", want)


def noise(slots):
    return rng.randbytes(slots * SLOT)


def packed(slots, share=2):
    """Slots with noise in one part of so many."""
    n = SLOT // share
    return b"".join(rng.randbytes(n) + bytes(SLOT - n) for _ in range(slots))


def where(name):
    return "backing=%s/%s" % (folder, name)


def backed(c, count=65536, start=0):
    return [s["i"] for s in c.call("block_state", start=start,
                                   count=count)["slots"] if "w" in s["s"]]


def done(c, **params):
    job = c.job("writeback", **params)
    equal("state of %s" % job, job["state"], "done")
    equal("stopped_by", job["result"]["stopped_by"], None)
    return job["result"]


def until(what, condition, *words):
    for _ in range(12000):
        if condition(*words):
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in time: " + what)


# ---- the selected slots, and reports about them

def selection():
    with ControlServer("16M", where("selection"), "backing_size=16M",
                       "recompress=zstd:level=3", "auto_recompress=0",
                       "promote=0", "compact_threshold=0") as server:
        h, c = server.connect(), server.control()
        # 0-99 compress, 100-119 do not, 120-124 are one word.
        data = packed(100) + noise(20) + b"abcdefgh" * (5 * SLOT // 8)
        h.pwrite(data, 0)
        before = c.call("stats")
        equal("fresh", before["bd"], {"bd_count": 0, "bd_reads": 0,
                                      "bd_writes": 0})
        b = before["backing"]
        equal("the store", (b["where"], b["kind"], b["size"], b["blocks"],
                            b["used_blocks"], b["free_blocks"],
                            b["live_bytes"]),
              (folder + "/selection", "file", 16 * M, 4096, 0, 4096, 0))
        equal("nothing is idle", done(c, type="idle")["slots"], 0)

        r = done(c, page_index=[7, 3], page_indexes=[[10, 19], [15, 21]])
        want = [3, 7] + list(range(10, 22))
        equal("indices", backed(c), want)
        equal("count", (r["slots"], r["lost"], r["failed"]), (14, 0, 0))
        sizes = {s["i"]: s["size"] for s in
                 c.call("block_state", start=0, count=200)["slots"]}
        equal("bytes", r["bytes"], sum(sizes[i] for i in want))
        check(r["bytes"] < r["store_bytes"] <= r["bytes"] + 4 * 2 * SLOT, r)
        s = c.call("stats")
        equal("bd", s["bd"], {"bd_count": 14, "bd_reads": 0, "bd_writes": 14})
        equal("stored", s["mm"]["orig_data_size"],
              before["mm"]["orig_data_size"])
        equal("in memory", s["mm"]["compr_data_size"],
              before["mm"]["compr_data_size"] - r["bytes"])
        b = s["backing"]
        equal("live bytes", b["live_bytes"], r["bytes"] + 14 * 16)
        equal("blocks", b["used_blocks"] + b["waiting_blocks"]
              + b["free_blocks"], 4096)
        check(0 < b["used_blocks"] * SLOT - b["live_bytes"] < 4 * 2 * SLOT, b)
        equal("written", (b["io"]["write_bytes"], b["io"]["write_errors"]),
              (r["store_bytes"], 0))
        equal("same-filled stay", done(c, page_indexes=[[120, 124]])["slots"],
              0)

        c.call("idle", mode="range", start=98, count=4)
        equal("huge and idle", done(c, type="huge_idle")["slots"], 2)
        equal("which", backed(c, start=98), [100, 101])
        equal("idle", done(c, type="idle")["slots"], 2)
        equal("which", backed(c, start=98), [98, 99, 100, 101])
        equal("huge", done(c, type="huge")["slots"], 18)
        equal("which", backed(c, start=100), list(range(100, 120)))
        equal("letters", {s["i"]: s["s"] for s in c.call(
            "block_state", start=98, count=24)["slots"]},
            dict([(98, ".w.i.."), (99, ".w.i.."), (100, ".whi.."),
                  (101, ".whi..")] + [(i, ".wh...") for i in range(102, 120)]
                 + [(120, "s....."), (121, "s.....")]))
        equal("map", c.call("map", cells=1)["cells"][0]["backed"], 36)

        # Slots for which the last secondary algorithm did not help.
        h.pwrite(noise(4), 200 * SLOT)
        equal("not tried", done(c, type="incompressible")["slots"], 0)
        job = c.job("recompress", start=200, count=3)
        equal("vain", job["result"]["vain"], 3)
        equal("incompressible", done(c, type="incompressible")["slots"], 3)
        equal("which", backed(c, start=200), [200, 201, 202])

        equal("data", h.pread(len(data), 0), data)
        s = c.call("stats")
        equal("read", (s["bd"]["bd_count"], s["bd"]["bd_reads"]), (39, 36))
        equal("not promoted", s["backing"]["slots"]["promoted"], 0)
        for name, value in (("backed_slots", 39),
                            ("backing_slots_read_total", 36),
                            ("backing_slots_written_total", 39),
                            ("backing_size_bytes", 16 * M),
                            ("backing_used_bytes",
                             s["backing"]["used_blocks"] * SLOT),
                            ("backing_live_bytes",
                             s["backing"]["live_bytes"]),
                            ('backing_requests_total{op="write"}',
                             s["backing"]["io"]["writes"]),
                            ("backing_down", 0), ("eviction_hopeless", 0)):
            equal(name, metric(c, name), value)
        sound(c)
        equal("again", done(c, type="huge")["slots"], 1)    # slot 203

        # Rewritten and discarded slots leave nothing there.
        h.pwrite(data[:50 * SLOT], 0)
        h.trim(16 * M - 50 * SLOT, 50 * SLOT)
        s = c.call("stats")
        equal("gone", (s["bd"]["bd_count"], s["backing"]["used_blocks"],
                       s["backing"]["live_bytes"]), (0, 0, 0))
        until("punching", lambda: c.call("stats")["backing"]["free_blocks"]
              == 4096)
        sound(c)

        # Promotion: slots that are read come back.
        done(c, page_indexes=[[0, 9]])
        equal("promote", (c.call("promote"), c.call("promote", set=True)),
              ({"promote": False}, {"promote": True}))
        equal("data", h.pread(10 * SLOT, 0), data[:10 * SLOT])
        s = c.call("stats")
        equal("promoted", (s["backing"]["slots"]["promoted"],
                           s["bd"]["bd_count"], backed(c)), (10, 0, []))
        sound(c)
        c.job("reset", force=True)
        s = c.call("stats")
        equal("reset", (s["bd"], s["backing"]["used_blocks"]), (
            {"bd_count": 0, "bd_reads": 0, "bd_writes": 0}, 0))


def pages():
    """Units of 4 KiB whatever the slot size."""
    with ControlServer("16M", where("pages"), "backing_size=16M",
                       "slot_size=64k", "promote=0") as server:
        h, c = server.connect(), server.control()
        h.pwrite(noise(32), 0)
        c.call("writeback_limit", set=20)
        job = c.job("writeback", type="huge")
        equal("limit", (job["state"], job["result"]["slots"],
                        job["result"]["stopped_by"]),
              ("failed", 1, "writeback_limit is used up"))
        h.pread(1, 0)
        equal("bd", c.call("stats")["bd"],
              {"bd_count": 16, "bd_reads": 16, "bd_writes": 16})
        equal("left", c.call("writeback_limit"), {"writeback_limit": 4})


# ---- settings, and refused values

def settings():
    with ControlServer("16M") as server:
        c = server.control()
        equal("none", c.call("stats")["backing"], None)
        for method, params in (("writeback", {"type": "idle"}),
                               ("writeback", {"page_index": [0]}),
                               ("writeback_limit", {}),
                               ("writeback_limit", {"set": 5}),
                               ("evict", {}), ("evict", {"low": 5}),
                               ("promote", {}), ("promote", {"set": True})):
            c.refused(REFUSED, ("backing=",), method, **params)
        ctl = Ctl(server.path)
        for words in (["writeback", "type=idle"], ["writeback_limit"],
                      ["evict"], ["promote"]):
            ctl.fails(CTL_REFUSED, "backing=", *words)
        equal("size", metric(c, "backing_size_bytes"), 0)

    with ControlServer("16M", where("settings"), "backing_size=1M",
                       "evict_low=40", "evict_high=60", "promote=0",
                       "writeback_limit=3", "mem_limit=8M") as server:
        h, c = server.connect(), server.control()
        ctl = Ctl(server.path)
        equal("as configured", (ctl("writeback_limit"), ctl("evict"),
                                ctl("promote")),
              ("3\n", "low=40 high=60\n", "off\n"))
        h.pwrite(packed(10), 0)
        job = c.job("writeback", page_indexes=[[5, 4095]])
        equal("limit", (job["state"], job["result"]["slots"],
                        job["result"]["stopped_by"]),
              ("failed", 3, "writeback_limit is used up"))
        equal("used up", ctl("writeback_limit"), "0\n")
        equal("bd_stat", ctl.json("bd_stat"),
              {"bd_count": 3, "bd_reads": 0, "bd_writes": 3})
        equal("set", (ctl("writeback_limit", 2), c.call("writeback_limit")),
              ("2\n", {"writeback_limit": 2}))
        equal("off", ctl("writeback_limit", "off"), "off\n")
        equal("off", c.call("stats")["backing"]["writeback_limit"], None)
        said = ctl("writeback", "page_index=0", "page_index=9",
                   "page_indexes=1-2", "page_indexes=4")
        check(said.startswith("writeback: done after ") and
              ", 5/5 slots: 5 slots written back, " in said, said)
        equal("which", backed(c), [0, 1, 2, 4, 5, 6, 7, 9])
        equal("by JSON", ctl.json("writeback", "type=huge")["result"]["slots"],
              0)
        equal("marks", (ctl("evict", "low=30"), ctl("evict", "high=70"),
                        ctl("evict", "low=90", "high=90"), ctl.json("evict")),
              ("low=30 high=60\n", "low=30 high=70\n", "low=90 high=90\n",
               {"low": 90, "high": 90}))
        equal("promote", (ctl("promote", "on"), ctl.json("promote"),
                          ctl("promote", "off")),
              ("on\n", {"promote": True}, "off\n"))
        heading, line = ctl().splitlines()
        equal("last column", heading.split()[-1], "BACKED")
        equal("BACKED", int(ctl("-b", "-n").split()[-1]),
              c.call("stats")["backing"]["live_bytes"])
        top = [r for r in ctl("top", "--once").splitlines()
               if r.startswith("Store")]
        check(len(top) == 1 and re.search(r" up: [\d.]+K of 1M, ", top[0]),
              "top", top)
        for words, about in (
                (["writeback"], ["writeback", "type="]),
                (["writeback", "idle"], ["idle", "type="]),
                (["writeback", "type=big"], ["big", "incompressible"]),
                (["writeback", "page_index=x"], "x"),
                (["writeback", "page_index=-1"], "-1"),
                (["writeback", "page_index=4096"], ["4096", "4095"]),
                (["writeback", "page_indexes=9-5"], "9-5"),
                (["writeback", "page_indexes=9-4096"], ["4096", "4095"]),
                (["writeback", "type=idle", "page_index=1"], "together"),
                (["writeback_limit", "-1"], "-1"),
                (["writeback_limit", "many"], "many"),
                (["writeback_limit", "1", "2"], "2"),
                (["evict", "5"], ["5", "low="]),
                (["evict", "low=0"], "0"),
                (["evict", "high=101"], "101"),
                (["evict", "low=95"], ["low=95", "high=90"]),
                (["promote", "maybe"], ["maybe", "on or off"])):
            ctl.fails(USAGE, about, *words)
        for method, params, words in (
                ("writeback", {}, ("type", "page_index", "page_indexes")),
                ("writeback", {"type": 1}, ("type=1", "huge_idle")),
                ("writeback", {"page_index": 3}, ("page_index=3", "list")),
                ("writeback", {"page_index": []}, ("page_index=[]", "list")),
                ("writeback", {"page_index": [1, 1.5]}, ("1.5", "4095")),
                ("writeback", {"page_indexes": [1, 2]}, ("=1", "pairs")),
                ("writeback", {"page_indexes": [[1, 2, 3]]}, ("[1,2,3]",)),
                ("writeback", {"page_indexes": [[2, 1]]}, ("[2,1]", "4095")),
                ("writeback", {"page_indexes": [[0, 4096]]}, ("4095",)),
                ("writeback_limit", {"set": -1}, ("set=-1", "4 KiB")),
                ("writeback_limit", {"set": "on"}, ('set="on"', "off")),
                ("evict", {"low": 0}, ("low=0", "1 to 100")),
                ("evict", {"high": 20}, ("low=90", "high=20")),
                ("promote", {"set": 1}, ("set=1", "true or false"))):
            c.refused(PARAMS, words, method, **params)
        equal("as it was", (ctl("evict"), ctl("promote")),
              ("low=90 high=90\n", "off\n"))
        sound(c)


# ---- full, in every sense

def full():
    with ControlServer("64M", where("full"), "backing_size=1M",
                       "compact_threshold=0", "promote=0") as server:
        h, c = server.connect(), server.control()
        data = noise(512)
        h.pwrite(data, 0)
        job = c.job("writeback", type="huge")
        equal("full", (job["state"], job["result"]["stopped_by"]),
              ("failed", "the backing store is full"))
        slots = job["result"]["slots"]
        check(200 < slots < 256, "slots", slots)
        check(str(slots) in job["message"], job)
        equal("stored", len(backed(c)), slots)
        equal("data", h.pread(len(data), 0), data)
        # With a limit, the error then says which of them is full.
        c.call("mem_limit", set=2 * M)
        equal("no room", errno_of(h.pwrite, noise(1024), 16 * M),
              errno.ENOSPC)
        log = server._read(server.log)
        for words in ("mem_limit=2097152 is used up", "is full",
                      where("full"), "of 1048576 bytes used"):
            check(words in log, repr(words), "is not in the log:", log)
        s = c.call("stats")
        check(s["backing"]["eviction"]["hopeless"], s["backing"]["eviction"])
        equal("metric", metric(c, "eviction_hopeless"), 1)
        equal("data", h.pread(len(data), 0), data)
        sound(c)


def eviction():
    """Automatically, while it is audited, and marks and the limit change."""
    with ControlServer("64M", where("eviction"), "backing_size=64M",
                       "mem_limit=4M", "workers=2") as server:
        h, c = server.connect(), server.control()
        data = b""
        for i in range(16):
            part = noise(256)
            h.pwrite(part, i * M)
            data += part
            if i % 4 == 3:
                sound(c)
        s = c.call("stats")
        e = s["backing"]["eviction"]
        check(e["slots"] >= 12 * 256 and e["rounds"] > 0 and
              e["bytes"] >= e["slots"] * SLOT // 2, "evicted", e)
        equal("failed", (s["io"]["failed_writes"], e["failed"]), (0, 0))
        check(s["mm"]["mem_used_max"] <= 4 * M, "over the limit", s["mm"])
        for name, value in (("evicted_slots_total", e["slots"]),
                            ("eviction_rounds_total", e["rounds"]),
                            ("write_stalls_total", s["debug"]["writestall"])):
            check(metric(c, name) >= value, name)
        equal("data", h.pread(16 * M, 0), data)

        def used():
            return c.call("stats")["mm"]["mem_used_total"]

        c.call("promote", set=False)
        c.call("evict", low=20, high=30)
        until("the new marks", lambda: used() <= 4 * M * 30 // 100)
        c.call("mem_limit", set=2 * M)
        until("the new limit", lambda: used() <= 2 * M * 30 // 100)
        equal("data", h.pread(16 * M, 0), data)
        sound(c)


def interrupted():
    with ControlServer("256M", where("interrupted"), "backing_size=256M",
                       "promote=0", "workers=2") as server:
        h, c = server.connect(), server.control()
        data = packed(4096)
        for i in range(12):
            h.pwrite(data, i * 16 * M)
        last = 12 * 4096 - 1
        job = c.call("writeback", page_indexes=[[0, last]])["job"]
        until("progress", lambda: c.call("job", id=job)["done"] > 0)
        equal("heeded", c.call("job_cancel", id=job), {"heeded": True})
        state = c.wait(job)
        equal("state", state["state"], "cancelled")
        r = state["result"]
        equal("written", (r["slots"], r["stopped_by"]),
              (len(backed(c)), None))
        check(0 < r["slots"] <= state["done"] < state["total"],
              "there was no middle", state)
        sound(c)
        # A trim of everything wins, and so do written data.
        job = c.call("writeback", page_indexes=[[0, last]])["job"]
        c.refused(REFUSED, ("job %d (writeback)" % job,), "audit")
        h.trim(128 * M, 64 * M)
        h.pwrite(data, 0)
        equal("state", c.wait(job)["state"], "done")
        equal("written", h.pread(16 * M, 0), data)
        equal("kept", h.pread(16 * M, 32 * M), data)
        equal("trimmed", h.pread(M, 100 * M), bytes(M))
        sound(c)


# ---- a backing that goes away

class Backing:
    """An NBD server over a file that survives the server."""

    def __init__(self):
        self.sock = folder + "/nbd"
        self.file = folder + "/remote"
        with open(self.file, "wb") as f:
            f.truncate(16 * M)
        self.start()

    def start(self):
        self.job = subprocess.Popen(
            ["nbdkit", "-f", "-U", self.sock, "file", self.file],
            stdin=subprocess.DEVNULL,
            env={k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})
        check(wait_listening(self.sock, self.job), "no store")

    def kill(self):
        self.job.kill()
        self.job.wait()
        if os.path.exists(self.sock):
            os.unlink(self.sock)


def down():
    store = Backing()
    try:
        with ControlServer("16M", "backing=nbd+unix:///?socket=" + store.sock,
                           "backing_timeout=1", "promote=0",
                           "compact_threshold=0") as server:
            h, c = server.connect(), server.control()
            data = Data(rng).text(64 * SLOT)
            h.pwrite(data, 0)
            equal("written", done(c, page_indexes=[[0, 31]])["slots"], 32)
            b = c.call("stats")["backing"]
            equal("the store", (b["kind"], b["size"], b["io"]["down"]),
                  ("nbd", 16 * M, False))
            store.kill()
            equal("read", errno_of(h.pread, SLOT, 0), errno.EIO)
            equal("what is in memory", h.pread(32 * SLOT, 32 * SLOT),
                  data[32 * SLOT:])
            s = c.call("stats")
            b = s["backing"]
            equal("down", (b["io"]["down"], metric(c, "backing_down")),
                  (True, 1))
            check(b["slots"]["read_errors"] == 1 and
                  b["io"]["read_errors"] >= 1, "errors", b)
            equal("failed reads", s["io"]["failed_reads"], 1)
            top = Ctl(server.path)("top", "--once")
            check(re.search(r"^Store .* down: ", top, re.M), top)
            job = c.job("writeback", page_indexes=[[32, 40]])
            equal("failed", (job["state"], job["result"]["slots"],
                             job["result"]["failed"]), ("failed", 0, 9))
            check(job["result"]["stopped_by"], job)
            equal("kept", h.pread(32 * SLOT, 32 * SLOT), data[32 * SLOT:])
            equal("counted", c.call("stats")["backing"]["slots"]
                  ["write_errors"], 9)
            store.start()
            until("the store to be back", lambda: errno_of(
                h.pread, 1, 0) == 0)
            equal("data", h.pread(len(data), 0), data)
            b = c.call("stats")["backing"]["io"]
            check(not b["down"] and b["reconnects"] >= 1, "back", b)
            equal("written", done(c, page_indexes=[[32, 63]])["slots"], 32)
            equal("data", h.pread(len(data), 0), data)
            sound(c)
    finally:
        store.kill()


if not shutil.which("nbdkit"):
    skip("needs nbdkit")
try:
    selection()
    pages()
    settings()
    full()
    eviction()
    interrupted()
    # nbdkit under a sanitizer hangs in its exit handlers once it has printed
    # the system's words for an error (see test-signals.sh).
    if not SANITIZER:
        down()
finally:
    shutil.rmtree(folder, ignore_errors=True)
