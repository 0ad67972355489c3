#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Recompression through the control socket: the slots that each parameter
selects, unchanged data, automatic recompression after a time, changed
methods, clients that write meanwhile, cancel and reset during a pass, and
damaged dictionary files.
"""

import glob
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time

from controltest import PARAMS, REFUSED, ControlServer, sound
from zramtest import K, M, NBDKIT, PLUGIN, SANITIZER, Data, check, seed

SLOT = 4 * K
number = seed()
rng = random.Random(number)
folder = tempfile.mkdtemp(prefix="zram-test.")


def equal(what, got, want):
    check(got == want, what, "is", got, "and not", want)


def real_data(size):
    """Programs and texts of this machine; words, if there are few."""
    data = bytearray()
    for name in sorted(glob.glob("/usr/lib/python3*/**/*.py", recursive=True)
                       + glob.glob("/usr/bin/*")):
        if len(data) >= size:
            break
        try:
            with open(name, "rb") as f:
                data += f.read(256 * K)
        except OSError:
            pass
        data += bytes(-len(data) % SLOT)
    words = [b"%x " % rng.getrandbits(20) for _ in range(500)]
    while len(data) < size:
        data += b" ".join(rng.choices(words, k=500))
    return bytes(data[:size])


DATA = real_data(8 * M)
TEXT = (b"".join(rng.choices([b"%s %d," % (w, i) for i, w in enumerate(
    b"the quick brown fox jumps over a lazy dog".split())], k=20000)))


def text(slots, at=0):
    """Slots that lz4 packs, and zstd packs better."""
    return b"".join(TEXT[(at + i) * 401:(at + i) * 401 + SLOT]
                    for i in range(slots))


def fill(h, data, offset=0):
    for at in range(0, len(data), M):
        h.pwrite(data[at:at + M], offset + at)


def same(h, data, offset=0):
    for at in range(0, len(data), M):
        check(h.pread(len(data[at:at + M]), offset + at) == data[at:at + M],
              "data near", offset + at)


def flags(c, start, count):
    return {s["i"]: s["s"] for s in c.call("block_state", start=start,
                                           count=count)["slots"]}


def done(c, **params):
    job = c.job("recompress", **params)
    equal("state of %s" % job, job["state"], "done")
    return job["result"]


# ---- a whole disk of real data

def whole():
    with ControlServer("16M", "recompress=zstd:level=9",
                       "auto_recompress=0") as server:
        h, c = server.connect(), server.control()
        fill(h, DATA)
        before = c.call("stats")
        equal("recompressed", before["recompression"]["recompressed"], 0)
        job = c.job("recompress")
        c.job("compact")
        result, after = job["result"], c.call("stats")
        equal("state", (job["state"], job["unit"]), ("done", "slots"))
        check(result["recompressed"] > 500, result)
        check(job["done"] == sum(result[k] for k in (
            "recompressed", "vain", "lost", "failed")), job)
        won = before["mm"]["compr_data_size"] - after["mm"]["compr_data_size"]
        equal("bytes won", (result["bytes_won"],
                            after["recompression"]["bytes_won"]), (won, won))
        check(after["mm"]["compr_data_size"] <
              0.9 * before["mm"]["compr_data_size"], before["mm"], after["mm"])
        check(after["mm"]["mem_used_total"] < before["mm"]["mem_used_total"],
              "memory", before["mm"], after["mm"])
        equal("stored", after["mm"]["orig_data_size"],
              before["mm"]["orig_data_size"])
        equal("counted", after["recompression"]["recompressed"],
              result["recompressed"])
        check(after["recompression"]["time_ns"] > 0, "time")
        got = flags(c, 0, 4096)
        equal("letters r", sum("r" in f for f in got.values()),
              result["recompressed"])
        equal("letters n", sum("n" in f for f in got.values()),
              result["vain"])
        same(h, DATA)
        sound(c)
        # A slot that was tried is not tried again until it is written.
        equal("again", done(c), dict.fromkeys(result, 0))
        h.pwrite(text(3), 0)
        equal("written", done(c)["recompressed"], 3)
        same(h, text(3) + DATA[3 * SLOT:])


# ---- which slots

def selection():
    with ControlServer("16M", "recompress=zstd:level=9",
                       "auto_recompress=0") as server:
        h, c = server.connect(), server.control()

        def afresh():
            """0-99 are text, 100-119 huge except for zstd, 120-129 noise."""
            fill(h, text(100))
            fill(h, almost_noise(20), 100 * SLOT)
            fill(h, noise, 120 * SLOT)

        def packed(start=0, count=200):
            return [i for i, f in flags(c, start, count).items() if "r" in f]

        noise = rng.randbytes(10 * SLOT)
        afresh()
        huge = [i for i, f in flags(c, 0, 200).items() if "h" in f]
        equal("huge", huge, list(range(100, 130)))

        equal("nothing is idle", done(c, type="idle")["recompressed"], 0)
        c.call("idle", mode="range", start=10, count=5)
        c.call("idle", mode="range", start=118, count=4)
        r = done(c, type="huge_idle")
        equal("huge and idle", packed(), [118, 119])
        equal("in vain", (r["vain"], flags(c, 120, 2)),
              (2, {120: "..hi.n", 121: "..hi.n"}))
        r = done(c, type="idle")
        equal("idle", (r["recompressed"], packed()),
              (5, [10, 11, 12, 13, 14, 118, 119]))
        check("i" in flags(c, 10, 1)[10], "recompression is no access")
        r = done(c, type="huge")
        equal("huge", (r["recompressed"], r["vain"]), (18, 8))
        equal("which", packed(100), list(range(100, 120)))

        afresh()
        r = done(c, start=20, count=7)
        equal("range", packed(), list(range(20, 27)))
        r = done(c, start=0, count=100, max_slots=5)
        equal("max_slots", (r["recompressed"], len(packed())), (5, 12))
        sizes = {s["i"]: s["size"] for s in
                 c.call("block_state", start=0, count=200)["slots"]}
        afresh()
        sizes = {s["i"]: s["size"] for s in
                 c.call("block_state", start=0, count=100)["slots"]}
        limit = sorted(sizes.values())[50]
        done(c, start=0, count=100, threshold=limit)
        for i in packed(0, 100):
            check(sizes[i] >= limit, "slot", i, "of", sizes[i], "below", limit)
        now = {s["i"]: s for s in
               c.call("block_state", start=0, count=100)["slots"]}
        for i, size in sizes.items():
            check(size < limit or now[i]["size"] < limit or
                  "n" in now[i]["s"], "slot", i, now[i])
        equal("smaller than all", done(c, threshold=4096, start=0,
                                       count=100)["recompressed"], 0)
        same(h, text(100))
        same(h, noise, 120 * SLOT)
        sound(c)
        for params, words in (
                ({"type": "big"}, ("big", "idle, huge or huge_idle")),
                ({"threshold": -1}, ("threshold=-1", "0 to 4096")),
                ({"priority": 2}, ("priority=2", "1 to 1")),
                ({"algorithm": "lz4"}, ("lz4", "one of: zstd")),
                ({"start": 4096}, ("start=4096", "4095")),
                ({"count": 4097}, ("count=4097", "4096")),
                ({"slots": 1}, ("slots", "unknown"))):
            c.refused(PARAMS, words, "recompress", **params)


def almost_noise(slots):
    """lz4 cannot pack bytes of few values in random order; zstd can."""
    return bytes(rng.choices(range(64), k=slots * SLOT))


# ---- methods that change

def methods():
    with ControlServer("16M", "auto_recompress=0") as server:
        h, c = server.connect(), server.control()
        fill(h, DATA[:2 * M])
        c.refused(REFUSED, ("secondary",), "recompress")
        sizes = []
        for i, method in enumerate(("lz4hc", "deflate:level=6",
                                    "zstd:level=9,deflate:level=12")):
            c.call("recomp_algorithm", set=method)
            done(c)
            sizes.append(c.call("stats")["mm"]["compr_data_size"])
            same(h, DATA[:2 * M])
        check(sizes[0] > sizes[1] >= sizes[2], "sizes", sizes)
        equal("methods", [(m["priority"], m["algorithm"], m["level"])
                          for m in c.call("recomp_algorithm")["methods"]],
              [(1, "zstd", 9), (2, "deflate", 12)])
        # Only one of them, by name.
        fill(h, text(50))
        done(c, algorithm="deflate", start=0, count=50)
        equal("codecs", {s["codec"] for s in c.call(
            "block_state", start=0, count=50)["slots"]}, {"deflate"})
        # The primary changes: existing data stay readable.
        c.call("algorithm", set="zstd")
        fill(h, text(20), 100 * SLOT)
        same(h, text(50) + DATA[50 * SLOT:100 * SLOT] + text(20))
        c.call("recomp_algorithm", set="")
        c.refused(REFUSED, ("secondary",), "recompress")
        same(h, text(50))
        sound(c)


# ---- automatically

def by_itself():
    with ControlServer("16M", "recompress=zstd",
                       "auto_recompress=1", "recompress_cpu=100") as server:
        h, c = server.connect(), server.control()
        fill(h, text(200))
        for _ in range(1200):
            r = c.call("stats")["recompression"]
            if r["recompressed"] == 200:
                break
            time.sleep(0.1)
        equal("by itself", (r["recompressed"], r["auto_recompress"]), (200, 1))
        equal("off", c.call("auto_recompress", set=0), {"auto_recompress": 0})
        fill(h, text(100), M)
        time.sleep(2.5)
        equal("not by itself",
              c.call("stats")["recompression"]["recompressed"], 200)
        same(h, text(200))


# ---- during a pass

def interrupted():
    with ControlServer("16M", "recompress=zstd:level=19", "workers=2",
                       "auto_recompress=1") as server:
        h, c = server.connect(), server.control()
        fill(h, DATA)
        job = c.call("recompress")["job"]
        while not c.call("stats")["recompression"]["recompressed"]:
            time.sleep(0.001)
        equal("heeded", c.call("job_cancel", id=job), {"heeded": True})
        state = c.wait(job)
        equal("state", state["state"], "cancelled")
        check(0 < state["done"] < state["total"], "there was no middle", state)
        check(str(state["result"]["recompressed"]) in state["message"], state)
        same(h, DATA)
        sound(c)                        # while the policy is at work
        fill(h, DATA)                   # the amount left is unknown
        job = c.call("recompress")["job"]
        c.refused(REFUSED, ("job %d (recompress)" % job,), "reset",
                  force=True)
        # A trim of everything during the pass wins.
        h.trim(16 * M, 0)
        equal("state", c.wait(job)["state"], "done")
        equal("stored", c.call("stats")["mm"]["orig_data_size"], 0)
        # A reset during an automatic pass.
        c.call("recomp_algorithm", set="zstd:level=15")
        fill(h, DATA)
        for _ in range(1200):
            if c.call("stats")["recompression"]["running"]:
                break
            time.sleep(0.05)
        else:
            check(False, "no pass by itself")
        equal("reset", c.job("reset", force=True)["state"], "done")
        equal("after reset", h.pread(M, 0), bytes(M))
        sound(c)


def beside_clients():
    """Random operations against a model while passes run one
    after the other.
    """
    size, stop, errors = 4 * M, threading.Event(), []
    with ControlServer(size, "recompress=zstd:level=3,lz4hc:level=12",
                       "auto_recompress=1") as server:
        c = server.control()

        def again():
            try:
                while not stop.is_set():
                    c.job("recompress")
            except BaseException as e:
                errors.append(e)

        h, model, data = server.connect(), bytearray(size), Data(rng)
        thread = threading.Thread(target=again)
        thread.start()
        try:
            for _ in range(1500 if SANITIZER else 4000):
                at = rng.randrange(size)
                n = min(rng.choice((1, 511, SLOT, 3 * SLOT, 64 * K)),
                        size - at)
                what = rng.random()
                if what < 0.5:
                    buf = data.any(n)
                    h.pwrite(buf, at)
                    model[at:at + n] = buf
                elif what < 0.6:
                    h.trim(n, at)
                    model[at:at + n] = bytes(n)
                else:
                    check(h.pread(n, at) == model[at:at + n], "data at", at)
        finally:
            stop.set()
            thread.join()
        check(not errors, errors)
        check(c.call("stats")["recompression"]["recompressed"] > 0,
              "nothing was recompressed")
        equal("in the end", h.pread(size, 0), bytes(model))
        sound(c)


# ---- dictionary files

def refused_at_start(key, words):
    p = subprocess.run([NBDKIT, "-U", "-", PLUGIN, "1M", key, "--run", "true"],
                       stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, timeout=60)
    check(p.returncode not in (0, 124), key, "was taken")
    equal("lines for %s: %s" % (key, p.stderr), p.stderr.count("\n"), 1)
    for word in words:
        check(word in p.stderr, key, ":", word, "is not in", p.stderr)


def dictionaries():
    def file(name, content):
        path = os.path.join(folder, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    good = file("good", text(16))
    # zstd's own kind, with nothing behind its magic number.
    damaged = file("damaged", b"\x37\xa4\x30\xec" + rng.randbytes(5000))
    for name, path in (("nothing", os.path.join(folder, "nothing")),
                       ("a folder", folder), ("empty", file("empty", b"")),
                       ("too long", file("long", rng.randbytes(M + 1))),
                       ("damaged", damaged)):
        for key in ("recompress=zstd:dict=" + path,
                    "recompress=lz4hc,zstd:level=3:dict=" + path):
            if not SANITIZER or name not in ("nothing", "a folder"):
                refused_at_start(key, (path,))
    refused_at_start("recompress=deflate:dict=" + good, (good,))
    refused_at_start("recompress=zstd:dict=", ("recompress=zstd:dict=",))

    with ControlServer("16M", "dict=" + good, "auto_recompress=0",
                       "recompress=zstd:level=9:dict=" + good) as server:
        h, c = server.connect(), server.control()
        fill(h, text(100, 50))
        equal("number", c.call("stats")["dictionaries"]["number"], 2)
        done(c)
        same(h, text(100, 50))
        with_it = c.call("stats")["mm"]["compr_data_size"]
        c.refused(REFUSED, (damaged,), "recomp_algorithm",
                  set="zstd:dict=" + damaged)
        equal("still", len(c.call("recomp_algorithm")["methods"]), 1)
        c.call("recomp_algorithm", set="zstd:level=9")
        fill(h, text(100, 50))
        done(c)
        check(c.call("stats")["mm"]["compr_data_size"] > with_it,
              "the dictionary is of no use")
        same(h, text(100, 50))
        sound(c)


try:
    whole()
    selection()
    methods()
    by_itself()
    interrupted()
    beside_clients()
    dictionaries()
finally:
    shutil.rmtree(folder, ignore_errors=True)
