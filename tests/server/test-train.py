#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""train: a dictionary of the stored data is installed if it saves memory.
Later writes and recompression use it, and it is removed when nothing needs
it any more.
"""

import random
import time

from controltest import PARAMS, ControlServer
from zramtest import K, M, check, seed

SLOT = 4 * K
number = seed()
rng = random.Random(number)


def equal(what, got, want):
    check(got == want, what, "is", got, "and not", want)


def records(slots, names):
    """All slots have much in common, but repeat little within themselves."""
    out = []
    for _ in range(slots):
        slot = b""
        while len(slot) < SLOT:
            slot += b'{"%s":%d,"%s":"%x"},\n' % (
                rng.choice(names), rng.getrandbits(16), rng.choice(names),
                rng.getrandbits(40))
        out.append(slot[:SLOT])
    return b"".join(out)


def vocabulary():
    return [b"%s_%s_%x" % (a, b, rng.getrandbits(36))
            for a in (b"customer", b"invoice", b"shipment", b"warehouse")
            for b in (b"identifier", b"address", b"description", b"state")
            for _ in range(4)]


def fill(h, data):
    for at in range(0, len(data), M):
        h.pwrite(data[at:at + M], at)


def same(h, data):
    for at in range(0, len(data), M):
        check(h.pread(len(data[at:at + M]), at) == data[at:at + M],
              "data near", at)


def compressed(c):
    return c.call("stats")["mm"]["compr_data_size"]


def dictionaries(c):
    return c.call("stats")["dictionaries"]["number"]


def wait_for_dictionaries(c, n):
    for _ in range(1200):
        if dictionaries(c) == n:
            return
        time.sleep(0.05)
    equal("dictionaries", dictionaries(c), n)


def train(c, **params):
    job = c.job("train", **params)
    equal("state of %s" % job, (job["kind"], job["state"]), ("train", "done"))
    return job


def installed():
    with ControlServer("64M", "recompress=zstd:level=9", "workers=2",
                       "auto_recompress=0") as server:
        h, c = server.connect(), server.control()
        data = records(4096, vocabulary())
        fill(h, data)
        plain = compressed(c)
        job = train(c, samples=800, size=16 * K)
        result = job["result"]
        equal("samples", (result["samples"], result["held_out"]), (600, 200))
        equal("codecs", [g["algorithm"] for g in result["codecs"]],
              ["lz4", "zstd"])
        for g in result["codecs"]:
            check(g["installed"] and g["after"] < g["before"] and
                  g["saves"] > 2 * g["costs"] > 0, g)
            check("%s: " % g["algorithm"] in job["message"], job)
        equal("installed", (dictionaries(c), job["message"].count("installed")),
              (2, 2))
        stats = c.call("stats")
        check(stats["codec_memory"] > stats["dictionaries"]["memory"] > 32 * K,
              stats)
        method = c.call("recomp_algorithm")["methods"][0]
        equal("method", (method["algorithm"], method["level"],
                         method["dictionary"]["size"] > 1000),
              ("zstd", 9, True))
        # Existing data are unchanged; new data are smaller.
        equal("compressed", compressed(c), plain)
        same(h, data)
        fill(h, data)
        check(compressed(c) < 0.9 * plain, "later writes", compressed(c),
              plain)
        same(h, data)
        written = compressed(c)
        r = c.job("recompress")["result"]
        check(r["recompressed"] > 2000, r)
        check(compressed(c) < 0.95 * written, "recompressed", compressed(c))
        same(h, data)
        equal("audit", c.job("audit", deep=True)["state"], "done")

        # Other data, other dictionaries; the old ones stay for their slots.
        other = records(3072, vocabulary())
        fill(h, other)
        h.trim(len(data) - len(other), len(other))
        h.pwrite(data[:SLOT], 60 * M)
        c.job("recompress")
        job = train(c, samples=800, size=16 * K)
        equal("installed", job["message"].count("installed"), 2)
        check(c.call("recomp_algorithm")["methods"][0]["dictionary"]["id"]
              != method["dictionary"]["id"], "the same dictionary")
        # No slot needs the first one, because all were recompressed: it may be
        # gone.
        check(dictionaries(c) in (3, 4), "dictionaries", dictionaries(c))
        fill(h, other)
        c.job("recompress", start=0, count=3072)
        same(h, other)
        wait_for_dictionaries(c, 3)
        time.sleep(2.5)
        equal("the old one that a slot has", dictionaries(c), 3)
        equal("that slot", h.pread(SLOT, 60 * M), data[:SLOT])
        h.trim(SLOT, 60 * M)
        wait_for_dictionaries(c, 2)
        # And without methods that name them and without slots, all of them.
        c.call("recomp_algorithm", set="")
        c.call("algorithm", set="lz4")
        equal("reset", c.job("reset", force=True)["state"], "done")
        wait_for_dictionaries(c, 0)


def refused():
    with ControlServer("16M", "algorithm=deflate") as server:
        h, c = server.connect(), server.control()
        for params, words in (({"samples": 63}, ("samples=63", "64 to 65536")),
                              ({"size": 255}, ("size=255", "256 to 1048576")),
                              ({"sizes": 1}, ("sizes", "unknown"))):
            c.refused(PARAMS, words, "train", **params)
        job = c.job("train")
        check(job["state"] == "failed" and "too few" in job["message"], job)
        fill(h, records(256, vocabulary()))
        job = c.job("train")
        check(job["state"] == "failed" and "lz4" in job["message"], job)
        # Noise has nothing in common: nothing is installed.
        c.call("algorithm", set="lz4")
        fill(h, b"".join(rng.randbytes(SLOT // 2) + bytes(SLOT // 2)
                         for _ in range(512)))
        job = c.job("train", samples=400, size=8 * K)
        check(job["state"] == "failed" or
              not any(g["installed"] for g in job["result"]["codecs"]), job)
        equal("dictionaries", dictionaries(c), 0)


def cancelled():
    with ControlServer("64M", "algorithm=zstd") as server:
        h, c = server.connect(), server.control()
        fill(h, records(4096, vocabulary()))
        id = c.call("train", samples=4096, size=256 * K)["job"]
        equal("heeded", c.call("job_cancel", id=id), {"heeded": True})
        equal("state", c.wait(id)["state"], "cancelled")
        equal("dictionaries", dictionaries(c), 0)


installed()
refused()
cancelled()
