#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Every method and member of the control socket, against known data, and every
example of docs/protocol.md.
"""

import json
import os
import random
import re
import tempfile
import time

from controltest import PARAMS, REFUSED, ControlServer
from zramtest import K, M, check, errno_of

SRCDIR = os.environ.get("SRCDIR") or os.path.join(os.path.dirname(__file__),
                                                  "..", "..")
rng = random.Random(4)
SLOT = 4 * K
# Each slot of this text compresses to about a third.
_words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=7)) + b" "
          for _ in range(64)]
TEXT = b"".join(rng.choices(_words, k=1024 * SLOT // 8))


def noise(n):
    return rng.randbytes(n)


def equal(what, got, want):
    check(got == want, what, "is", got, "and not", want)


def files(c):
    return c.call("stats")["mm"]


# ---- the page

def examples():
    """[(request, answer)] in the order of the page."""
    with open(os.path.join(SRCDIR, "docs", "protocol.md")) as f:
        lines = f.read().split("\n")
    found = []
    for i, line in enumerate(lines):
        if line.startswith("--> "):
            check(lines[i + 1].startswith("<-- "), "no answer to", line)
            found.append((line[4:], json.loads(lines[i + 1][4:])))
    return found


def alike(got, want, where):
    """The same members with the same types.  Words and truth values are equal,
    and so is everything that is not measured.
    """
    name = where.rsplit(".", 1)[-1]
    if isinstance(want, dict):
        check(isinstance(got, dict), where, "is", got)
        equal("members of " + where, sorted(got), sorted(want))
        for k in want:
            alike(got[k], want[k], where + "." + k)
    elif isinstance(want, list):
        check(isinstance(got, list), where, "is", got)
        if name in ("classes", "buckets"):
            check(bool(got) or not want, where, "is empty")
            for g in got:
                if want:
                    alike(g, want[0], where + ".0")
        else:
            equal("length of " + where, len(got), len(want))
            for g, w in zip(got, want):
                alike(g, w, where + ".0")
    elif isinstance(want, bool) or want is None:
        equal(where, got, want)
    elif isinstance(want, str):
        check(isinstance(got, str) and got, where, "is", got)
        if name not in ("version", "text", "where"):
            equal(where, got, want)
    else:
        check(isinstance(got, (int, float)) and not isinstance(got, bool),
              where, "is", got)
        if name in ("code", "id", "job", "protocol", "i", "next", "marked",
                    "workers", "level", "clients", "stored", "slots"):
            equal(where, got, want)


def page():
    with tempfile.TemporaryDirectory(prefix="zram-test.") as folder, \
            ControlServer("64M", "mem_limit=32M", "workers=2",
                          "recompress=zstd:level=9", "compact_threshold=0",
                          "backing=%s/store" % folder,
                          "backing_size=16M") as server:
        h = server.connect()
        h.pwrite(b"abcdefgh12345678" * (SLOT // 16), 0)
        h.pwrite(b"12345678" * (SLOT // 8), SLOT)
        h.pwrite(noise(SLOT), 2 * SLOT)
        h.pwrite(TEXT[:SLOT], 300 * SLOT)
        c = server.control()
        shown = set()
        for request, want in examples():
            got = c.raw(request.encode())
            alike(got, want, request)
            parsed = json.loads(request)
            if isinstance(parsed, dict):
                shown.add(parsed["method"])
            if "job" in got.get("result", {}):
                c.wait(got["result"]["job"])
        header = os.path.join(SRCDIR, "include", "zram-protocol.h")
        with open(header) as f:
            methods = set(re.findall(r'ZRAM_VERB_\w+ "(\w+)"', f.read()))
        check(len(methods) > 10, "methods", methods)
        equal("methods with an example", shown - {"frobnicate"}, methods)


# ---- fields

def stats(server, h, c):
    s = c.call("stats")
    equal("fresh", s["mm"], dict.fromkeys(
        ("orig_data_size", "compr_data_size", "mem_used_total", "mem_limit",
         "mem_used_max", "same_pages", "pages_compacted", "huge_pages",
         "huge_pages_since"), 0))
    equal("order of mm", list(s["mm"]),
          ["orig_data_size", "compr_data_size", "mem_used_total", "mem_limit",
           "mem_used_max", "same_pages", "pages_compacted", "huge_pages",
           "huge_pages_since"])
    equal("order of io", list(s["io"]),
          ["failed_reads", "failed_writes", "invalid_io", "notify_free"])
    equal("order of bd", list(s["bd"]), ["bd_count", "bd_reads", "bd_writes"])
    equal("size", (s["disksize"], s["slot_size"], s["slots"]),
          (1 << 30, SLOT, (1 << 30) // SLOT))
    equal("clients", s["clients"], 1)
    h2 = server.connect()
    equal("clients", c.call("stats")["clients"], 2)
    h2.shutdown()
    server.handles.remove(h2)
    for _ in range(6000):
        if c.call("stats")["clients"] == 1:
            break
        time.sleep(0.01)
    else:
        check(False, "a client that left is still counted")
    check(0 <= s["uptime_s"] <= c.call("stats")["uptime_s"] < 3600, "uptime")

    h.pwrite(TEXT[:8 * SLOT], 0)                    # 8 slots
    h.pwrite(b"\0" * 4 * SLOT, 100 * SLOT)          # 4 same
    h.pwrite(noise(16 * SLOT), 200 * SLOT)          # 16 huge
    h.pread(SLOT, 0)
    h.pread(100, 5)
    h.flush()
    s = c.call("stats")
    mm = s["mm"]
    equal("orig", mm["orig_data_size"], 28 * SLOT)
    equal("same", mm["same_pages"], 4)
    equal("huge", (mm["huge_pages"], mm["huge_pages_since"]), (16, 16))
    check(16 * SLOT + 8 * 500 < mm["compr_data_size"] < 22 * SLOT,
          "compressed", mm["compr_data_size"])
    check(mm["compr_data_size"] < mm["mem_used_total"] < 4 * M, "used", mm)
    check(mm["mem_used_max"] >= mm["mem_used_total"], "peak", mm)
    equal("reads", s["ops"]["read"], {"requests": 2, "bytes": SLOT + 100})
    equal("writes", s["ops"]["write"], {"requests": 3, "bytes": 28 * SLOT})
    equal("flushes", s["ops"]["flush"], {"requests": 1})

    h.trim(8 * SLOT, 200 * SLOT)
    s = c.call("stats")
    equal("huge", s["mm"]["huge_pages"], 8)
    equal("huge ever", s["mm"]["huge_pages_since"], 16)
    equal("discards", s["ops"]["discard"], {"requests": 1, "bytes": 8 * SLOT})
    equal("freed", s["io"]["notify_free"], 8)


def classes(c):
    found = c.call("classes")["classes"]
    equal("indices", [k["class"] for k in found], list(range(len(found))))
    check(all(a["size"] < b["size"] for a, b in zip(found, found[1:])),
          "sizes do not rise")
    for k in found:
        zspages = sum(k["groups"])
        equal("groups", len(k["groups"]), 12)
        equal("pages of class %d" % k["class"], k["pages_used"],
              zspages * k["pages_per_zspage"])
        check(k["obj_used"] <= k["obj_allocated"], k)
        check((zspages > 0) == (k["obj_used"] > 0), k)
    equal("largest", found[-1]["size"], SLOT)
    equal("huge ones", found[-1]["obj_used"], 8)
    equal("all", sum(k["obj_used"] for k in found), 16)


def block_state(c):
    def ask(start, count):
        return c.call("block_state", start=start, count=count)

    whole = ask(0, 65536)
    equal("next", whole["next"], None)
    slots = whole["slots"]
    equal("indices", [s["i"] for s in slots],
          list(range(8)) + list(range(100, 104)) + list(range(208, 216)))
    for s in slots:
        same, huge = 100 <= s["i"] < 104, s["i"] >= 208
        equal("flags of %d" % s["i"], s["s"],
              "s....." if same else "..h..." if huge else "......")
        equal("codec of %d" % s["i"], s["codec"],
              "same" if same else "raw" if huge else "lz4")
        check(0 <= s["t"] < 600, s)
        check(s["size"] == (0 if same else SLOT) if same or huge
              else 0 < s["size"] < SLOT, s)

    def without_age(some):
        return [{k: v for k, v in s.items() if k != "t"} for s in some]

    # Reading one byte at a time gives the same answer.
    c.send(b'{"jsonrpc":"2.0","id":"b","method":"block_state",'
           b'"params":{"start":0,"count":65536}}\n')
    line = b""
    while not line.endswith(b"\n"):
        piece = c.s.recv(1)
        check(len(piece) == 1, "the answer ends after", line[-40:])
        line += piece
    equal("a byte at a time", without_age(json.loads(line)["result"]["slots"]),
          without_age(slots))

    # Slot by slot, and from hole to hole: the same.
    for count in (1, 3, 64):
        pieces, at = [], 0
        while at is not None:
            part = ask(at, count)
            check(all(at <= s["i"] < at + count for s in part["slots"]),
                  "asked for", at, count, "got", part)
            check(part["next"] is None or part["next"] >= at + count,
                  "next goes back:", part["next"])
            pieces += part["slots"]
            at = part["next"]
        equal("in pieces of %d" % count, without_age(pieces),
              without_age(slots))
    last = (1 << 30) // SLOT - 1
    equal("at the end", ask(last, 65536), {"slots": [], "next": None})
    equal("in a hole", ask(8, 10), {"slots": [], "next": 100})
    for params, words in (
            ({"start": last + 1, "count": 1}, ("start", last + 1, last)),
            ({"start": -1, "count": 1}, ("start=-1", last)),
            ({"start": 0, "count": 0}, ("count=0", "1 to 65536")),
            ({"start": 0, "count": 65537}, ("count=65537", "1 to 65536")),
            ({"start": 0, "count": 1.5}, ("count=1.5", "1 to 65536")),
            ({"start": "0", "count": 1}, ('start="0"',)),
            ({"start": None, "count": 1}, ("start=null",)),
            ({"count": 1}, ("start", "missing")),
            ({"start": 0}, ("count", "missing"))):
        c.refused(PARAMS, words, "block_state", **params)


def map_cells(c):
    whole = c.call("map", cells=1)["cells"]
    mm = files(c)
    equal("one cell", whole, [{
        "slots": (1 << 30) // SLOT, "stored": 20, "same": 4, "huge": 8,
        "idle": 0, "backed": 0, "orig": 20 * SLOT,
        "compr": mm["compr_data_size"]}])
    for cells in (2, 7, 1000, 65536):
        part = c.call("map", cells=cells)["cells"]
        equal("cells", len(part), cells)
        for k in whole[0]:
            equal("sum of %s in %d cells" % (k, cells),
                  sum(p[k] for p in part), whole[0][k])
        sizes = {p["slots"] for p in part}
        check(max(sizes) - min(sizes) <= 1, "cells of", sizes)
    # 2^18 slots in 2^16 cells: four slots each.
    equal("slots 100 to 103", part[25]["same"], 4)
    equal("slots 4 to 7", (part[1]["stored"], part[2]["stored"]), (4, 0))
    for cells in (0, -1, 65537, "4", 2.0, True):
        c.refused(PARAMS, ("cells", json.dumps(cells), "1 to 65536"), "map",
                  cells=cells)
    c.refused(PARAMS, ("cells", "missing"), "map")


def idle(h, c):
    def flags():
        return {s["i"] for s in c.call("block_state", start=0,
                                       count=65536)["slots"] if "i" in s["s"]}

    equal("range", c.call("idle", mode="range", start=2, count=100), {
        "marked": 8})
    equal("marked", flags(), set(range(2, 8)) | {100, 101})
    equal("none that old", c.call("idle", mode="age", seconds=30000)["marked"],
          8)
    equal("age 0", c.call("idle", mode="age", seconds=0)["marked"], 20)
    equal("all", c.call("idle", mode="all")["marked"], 20)
    equal("map", c.call("map", cells=1)["cells"][0]["idle"], 20)
    h.pread(1, 3 * SLOT + 17)
    h.pwrite(b"x", 209 * SLOT)
    equal("accessed", flags(), (set(range(8)) | set(range(100, 104)) |
                                set(range(208, 216))) - {3, 209})
    modes = "all, age or range"
    for params, words in (
            ({}, ("mode", modes)),
            ({"mode": "some"}, ('mode="some"', modes)),
            ({"mode": 1}, ("mode=1", modes)),
            ({"mode": "age"}, ("seconds", "missing")),
            ({"mode": "age", "seconds": -1}, ("seconds=-1", 32768)),
            ({"mode": "age", "seconds": 32769}, ("seconds=32769", 32768)),
            ({"mode": "range", "start": 0}, ("count", "missing")),
            ({"mode": "range", "start": 0, "count": 1 << 18 | 1},
             ("count", 1 << 18)),
            ({"mode": "all", "older": 3}, ("older", "unknown"))):
        c.refused(PARAMS, words, "idle", **params)


def memory(h, c):
    equal("unlimited", c.call("mem_limit"), {"mem_limit": 0})
    equal("set", c.call("mem_limit", set=M), {"mem_limit": M})
    equal("read", c.call("mem_limit"), {"mem_limit": M})
    equal("stats", files(c)["mem_limit"], M)
    check(errno_of(h.pwrite, noise(4 * M), 512 * M) != 0, "limit not kept")
    s = c.call("stats")
    equal("failed", s["io"]["failed_writes"], 1)
    check(all(s["warnings"][p] >= 1 for p in ("80", "90", "95")),
          "warnings", s["warnings"])
    equal("off", c.call("mem_limit", set=0), {"mem_limit": 0})
    h.pwrite(noise(4 * M), 512 * M)
    peak = c.call("mem_used_max")["mem_used_max"]
    check(peak >= 4 * M, "peak", peak)
    h.trim(4 * M, 512 * M)
    c.job("compact")
    equal("kept", c.call("mem_used_max"), {"mem_used_max": peak})
    now = c.call("mem_used_max", reset=True)["mem_used_max"]
    check(now < peak - 3 * M, "peak", now, "after", peak)
    equal("as used", now, files(c)["mem_used_total"])
    for bad in (-1, 1, M - 1, 1.5, "1M", None, True):
        c.refused(PARAMS, ("set=" + json.dumps(bad), "1048576"), "mem_limit",
                  set=bad)
    equal("still off", c.call("mem_limit"), {"mem_limit": 0})
    c.refused(PARAMS, ("reset=1", "true or false"), "mem_used_max", reset=1)


def warnings():
    """At 80, 90 and 95 % of the limit the log gets a line and a count grows:
    once on the way up, and again only after memory was far below.
    """
    limit = 20 * M
    with ControlServer("1G", "mem_limit=%d" % limit,
                       "compact_threshold=0") as server:
        h, c = server.connect(), server.control()

        def said():
            with open(server.log) as f:
                return [int(p) for p in re.findall(
                    r"warning: (\d+) %% of mem_limit=%d is used" % limit,
                    f.read())]

        for turn in (1, 2):
            want = dict.fromkeys(("80", "90", "95"), turn - 1)
            for at in range(0, 24 * M, 64 * K):
                s = c.call("stats")
                used = s["mm"]["mem_used_total"]
                for p in want:
                    if used * 100 >= limit * int(p):
                        want[p] = turn
                equal("warnings with %d used" % used, s["warnings"], want)
                equal("lines", len(said()), sum(want.values()))
                if used > limit * 97 / 100:
                    break
                h.pwrite(noise(64 * K), at)
            equal("lines", said(), [80, 90, 95] * turn)
            h.trim(24 * M, 0)
            c.job("compact")


def algorithm(h, c):
    names = ["lz4", "lz4hc", "zstd", "deflate"]
    for name, level in (("zstd", 3), ("lz4hc", 9), ("deflate", 6),
                        ("lz4", 1)):
        want = {"algorithm": name, "level": level, "available": names}
        equal(name, c.call("algorithm", set=name), want)
        equal(name, c.call("algorithm"), want)
        s = c.call("stats")
        equal("stats", (s["algorithm"], s["level"]), (name, level))
        h.pwrite(TEXT[:SLOT], 50 * SLOT)
        slot = c.call("block_state", start=50, count=1)["slots"][0]
        equal("written with", slot["codec"], name)
        equal("old data", h.pread(SLOT, 0), TEXT[:SLOT])
    equal("level", c.call("algorithm", set="zstd", level=-5)["level"], -5)
    for params, words in (
            ({"set": "lzo"}, ('set="lzo"', "lz4, lz4hc, zstd, deflate")),
            ({"set": 3}, ("set=3", "zstd")),
            ({"level": 3}, ("set", "missing", "zstd")),
            ({"set": "deflate", "level": 13}, ("level=13", "1 to 12")),
            ({"set": "zstd", "level": "3"}, ('level="3"', "22"))):
        c.refused(PARAMS, words, "algorithm", **params)
    equal("nothing changed", c.call("algorithm")["algorithm"], "zstd")
    h.trim(SLOT, 50 * SLOT)


def workers(h, c):
    for n in (1, 256, 3):
        equal("workers", c.call("workers", set=n), {"workers": n})
        equal("workers", c.call("workers"), {"workers": n})
        equal("stats", c.call("stats")["workers"], n)
        h.pwrite(TEXT[:256 * SLOT], 300 * SLOT)
        equal("data", h.pread(256 * SLOT, 300 * SLOT), TEXT[:256 * SLOT])
    for bad in (0, 257, -1, "2", 1.0):
        c.refused(PARAMS, ("set=" + json.dumps(bad), "1 to 256"), "workers",
                  set=bad)
    h.trim(256 * SLOT, 300 * SLOT)


def jobs(h, c):
    first = c.call("compact")["job"]
    done = c.wait(first)
    equal("kind", (done["kind"], done["state"], done["unit"]),
          ("compact", "done", "pages"))

    # Half-empty zspages: the purpose of compaction.
    h.pwrite(TEXT[:1024 * SLOT], 1024 * SLOT)
    for i in range(0, 1024, 2):
        h.trim(SLOT, (1024 + i) * SLOT)
    before = c.call("stats")
    check(before["compaction"]["freeable_pages"] > 20, before["compaction"])
    done = c.job("compact")
    after = c.call("stats")
    equal("state", done["state"], "done")
    result = done["result"]
    check(result["pages_freed"] >= before["compaction"]["freeable_pages"] / 2,
          "freed", result, "of", before["compaction"])
    equal("pages", after["mm"]["pages_compacted"],
          before["mm"]["pages_compacted"] + result["pages_freed"])
    equal("both", after["compaction"]["pages_compacted"],
          after["mm"]["pages_compacted"])
    check(result["objects_moved"] > 0, result)
    check(str(result["pages_freed"]) in done["message"], done)
    check(after["mm"]["mem_used_total"] < before["mm"]["mem_used_total"],
          "memory after compaction")
    for i in range(1, 1024, 2):
        equal("data", h.pread(SLOT, (1024 + i) * SLOT),
              TEXT[i * SLOT:(i + 1) * SLOT])

    for deep in (False, True):
        done = c.job("audit", deep=deep)
        equal("audit", (done["state"], done["done"]), ("done", done["total"]))
        equal("result", (done["result"]["sound"], done["result"]["deep"]),
              (True, deep))
        equal("slots", done["result"]["slots"] * SLOT,
              files(c)["orig_data_size"])
    last = done["id"]
    equal("numbers", last, first + 3)

    equal("cancelled late", c.call("job_cancel", id=last), {"heeded": False})
    equal("and still done", c.call("job", id=last)["state"], "done")
    for method in ("job", "job_cancel"):
        for bad in (last + 1, 0, -1, "1"):
            c.refused(PARAMS, ("id=" + json.dumps(bad),), method, id=bad)
        c.refused(PARAMS, ("id", "missing"), method)
    for _ in range(16):
        c.job("compact")
    c.refused(PARAMS, ("16",), "job", id=last)
    equal("the 16th last", c.call("job", id=last + 1)["state"], "done")
    c.refused(PARAMS, ("deep=1", "true or false"), "audit", deep=1)
    c.refused(PARAMS, ("force", "true or false"), "reset", force="yes")


def latency(h, c):
    def times():
        return c.call("latency")

    before = times()
    equal("kinds", list(before), ["read", "write", "discard", "flush",
                                  "compress", "decompress", "lock_wait"])
    ops = c.call("stats")["ops"]
    for kind in ("read", "write", "discard", "flush"):
        equal("count of " + kind, before[kind]["count"],
              ops[kind]["requests"])
    equal("sampled", [k for k in before if "sampled" in before[k]],
          ["compress", "decompress"])
    for _ in range(64):
        h.pwrite(TEXT[:SLOT], 0)
        h.pread(SLOT, 0)
    h.flush()
    after = times()
    for kind, n in (("write", 64), ("read", 64), ("flush", 1)):
        equal("more of " + kind, after[kind]["count"] -
              before[kind]["count"], n)
        check(after[kind]["sum_ns"] > before[kind]["sum_ns"], kind)
    check(after["compress"]["count"] > before["compress"]["count"],
          "no compression timed")
    for kind, t in after.items():
        uppers = [u for u, _ in t["buckets"]]
        equal("order of " + kind, uppers, sorted(set(uppers)))
        check(all(n > 0 for _, n in t["buckets"]), "empty bucket in", kind)
        equal("sum of " + kind, sum(n for _, n in t["buckets"]), t["count"])
        # Each time is above the bound of the bucket before (at least 4/5 of its
        # own).
        check(t["sum_ns"] <= sum(u * n for u, n in t["buckets"]), kind, t)
        check(t["sum_ns"] >= sum(u * n for u, n in t["buckets"] if u > 64)
              * 4 / 5 - 64, kind, t)


def metrics(c):
    text = c.call("metrics")["text"]
    values = dict(re.findall(r"^(nbdzram_[^ ]+) ([^ ]+)$", text, re.M))
    s = c.call("stats")
    for name, want in (
            ("nbdzram_disk_size_bytes", s["disksize"]),
            ("nbdzram_slot_size_bytes", s["slot_size"]),
            ("nbdzram_workers", s["workers"]),
            ("nbdzram_clients", s["clients"]),
            ("nbdzram_orig_data_bytes", s["mm"]["orig_data_size"]),
            ("nbdzram_compr_data_bytes", s["mm"]["compr_data_size"]),
            ("nbdzram_mem_used_bytes", s["mm"]["mem_used_total"]),
            ("nbdzram_mem_used_max_bytes", s["mm"]["mem_used_max"]),
            ("nbdzram_mem_limit_bytes", s["mm"]["mem_limit"]),
            ("nbdzram_freeable_bytes",
             s["compaction"]["freeable_pages"] * 4 * K),
            ("nbdzram_same_slots", s["mm"]["same_pages"]),
            ("nbdzram_huge_slots", s["mm"]["huge_pages"]),
            ("nbdzram_huge_slots_stored_total", s["mm"]["huge_pages_since"]),
            ("nbdzram_compacted_pages_total", s["mm"]["pages_compacted"]),
            ('nbdzram_limit_warnings_total{percent="90"}',
             s["warnings"]["90"]),
            ('nbdzram_requests_total{op="write"}',
             s["ops"]["write"]["requests"]),
            ('nbdzram_request_bytes_total{op="discard"}',
             s["ops"]["discard"]["bytes"]),
            ('nbdzram_requests_failed_total{op="write"}',
             s["io"]["failed_writes"]),
            ("nbdzram_slots_freed_total", s["io"]["notify_free"]),
            ('nbdzram_request_duration_seconds_count{op="flush"}',
             s["ops"]["flush"]["requests"]),
            ('nbdzram_algorithm_info{algorithm="%s",level="%d"}'
             % (s["algorithm"], s["level"]), 1)):
        check(name in values, "no", name)
        equal(name, float(values[name]), float(want))
    check(float(values["nbdzram_uptime_seconds"]) <= s["uptime_s"], "uptime")


def reset(server, h, c):
    c.refused(REFUSED, ("1 NBD client", "force"), "reset")
    c.refused(REFUSED, ("1 NBD client", "force"), "reset", force=False)
    equal("kept", h.pread(SLOT, 0), TEXT[:SLOT])
    done = c.job("reset", force=True)
    equal("state", (done["kind"], done["state"]), ("reset", "done"))
    check(done["done"] == done["total"] == done["result"]["slots"] > 0, done)
    equal("gone", h.pread(M, 0), bytes(M))
    s = c.call("stats")
    equal("nothing", (s["mm"]["orig_data_size"], s["mm"]["compr_data_size"],
                      s["mm"]["huge_pages_since"]), (0, 0, 0))
    equal("compaction", (s["mm"]["pages_compacted"],
                         s["compaction"]["objects_moved"],
                         s["compaction"]["zspages_migrated"]), (0, 0, 0))
    equal("counted anew", s["ops"]["write"], {"requests": 0, "bytes": 0})
    equal("one read since", s["ops"]["read"], {"requests": 1, "bytes": M})
    equal("audit", c.job("audit", deep=True)["state"], "done")
    h.pwrite(TEXT[:SLOT], 0)
    h.shutdown()
    server.handles.remove(h)
    for _ in range(6000):
        if c.call("stats")["clients"] == 0:
            break
        time.sleep(0.01)
    done = c.job("reset")               # no client is connected: no force
    equal("slots", done["result"], {"slots": 1})


page()
with ControlServer("1G", "compact_threshold=0", "algorithm=lz4") as server:
    h, c = server.connect(), server.control()
    stats(server, h, c)
    classes(c)
    block_state(c)
    map_cells(c)
    idle(h, c)
    memory(h, c)
    algorithm(h, c)
    workers(h, c)
    jobs(h, c)
    latency(h, c)
    metrics(c)
    reset(server, h, c)

warnings()

# Pages are 4 KiB whatever the slot size.
with ControlServer("1G", "slot_size=64k", "compact_threshold=0") as server:
    h, c = server.connect(), server.control()
    h.pwrite(noise(64 * K), 0)
    h.pwrite(bytes(128 * K), M)
    mm = files(c)
    equal("64k: orig", mm["orig_data_size"], 192 * K)
    equal("64k: same and huge", (mm["same_pages"], mm["huge_pages"]),
          (32, 16))
