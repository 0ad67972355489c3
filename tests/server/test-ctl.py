#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""nbdzramctl: every verb and field against known data, JSON for all verbs,
exit statuses.

The disk, in slots of 4 KiB:

     0  ..  255   one word repeated        (same)
   256  ..  511   noise                    (huge)
   512  .. 1023   one part noise in eight  (4:1 or more)
  1024  .. 1279   three parts in eight     (2:1 or more)
  1280  ...       never written
"""

import json
import os
import random
import re
import socket
import subprocess

from controltest import ControlServer
from ctltest import (CTL, NO_SERVER, OK, REFUSED, USAGE, Ctl, environment)
from zramtest import K, M, T, check, errno_of, seed

SLOT = 4 * K
SAME, HUGE, GOOD, FAIR = range(0, 256), range(256, 512), range(512, 1024), \
    range(1024, 1280)
STORED = 1280
LIMIT = 16 * M

MM = ["orig_data_size", "compr_data_size", "mem_used_total", "mem_limit",
      "mem_used_max", "same_pages", "pages_compacted", "huge_pages",
      "huge_pages_since"]
IO = ["failed_reads", "failed_writes", "invalid_io", "notify_free"]
BD = ["bd_count", "bd_reads", "bd_writes"]
DEBUG = ["writestall", "miss_free"]
KINDS = ["read", "write", "discard", "flush", "compress", "decompress",
         "lock_wait"]

# Every verb that only reads, in every format.
LOOKS = [[], ["mm_stat"], ["io_stat"], ["bd_stat"], ["debug_stat"],
         ["block_state"], ["block_state", "7"], ["block_state", "250-260"],
         ["block_state", "1270-"], ["block_state", "5000-6000"], ["classes"],
         ["latency"], ["metrics"], ["mem_limit"], ["mem_used_max"],
         ["algorithm"], ["workers"], ["top"], ["top", "--once"], ["map"],
         ["map", "--once", "2"]]

number = seed()
rng = random.Random(number)


def part_noise(n, parts):
    """n slots; so many eighths of each are noise."""
    return b"".join(rng.randbytes(SLOT * parts // 8)
                    + bytes(SLOT - SLOT * parts // 8) for _ in range(n))


def fill(h):
    h.pwrite(b"abcdefgh" * (len(SAME) * SLOT // 8), 0)
    h.pwrite(rng.randbytes(len(HUGE) * SLOT), HUGE.start * SLOT)
    h.pwrite(part_noise(len(GOOD), 1), GOOD.start * SLOT)
    h.pwrite(part_noise(len(FAIR), 3), FAIR.start * SLOT)


def numbers(line):
    return [int(n) for n in line.split()]


def equal(got, want, *what):
    check(got == want, *what, ": got", got, "and not", want)


# ---- statistics

def kernel_files(ctl):
    """Layout and order as in the kernel's files, the same
    numbers as in JSON.
    """
    for verb, fields in ("mm_stat", MM), ("io_stat", IO), ("bd_stat", BD), \
            ("debug_stat", DEBUG):
        text, values = ctl(verb), ctl.json(verb)
        equal(list(values), fields, verb, "fields")
        if verb == "debug_stat":
            check(text.startswith("version: 1\n"), text)
            text = text[len("version: 1\n"):]
        equal(text, " ".join("%8d" % values[f] for f in fields) + "\n", verb)


def known_figures(ctl):
    slots = ctl.json("block_state")["slots"]
    mm = ctl.json("mm_stat")
    compressed = sum(s["size"] for s in slots)
    equal(mm["orig_data_size"], STORED * SLOT, "orig_data_size")
    equal(mm["compr_data_size"], compressed, "compr_data_size")
    check(len(HUGE) * SLOT < compressed < mm["mem_used_total"] < 4 * M,
          "mem_used_total", mm, compressed)
    check(mm["mem_used_max"] >= mm["mem_used_total"], "mem_used_max", mm)
    equal(mm["mem_limit"], LIMIT, "mem_limit")
    equal(mm["same_pages"], len(SAME), "same_pages")
    equal(mm["huge_pages"], len(HUGE), "huge_pages")
    equal(mm["huge_pages_since"], len(HUGE), "huge_pages_since")
    equal(mm["pages_compacted"], 0, "pages_compacted")
    equal(set(ctl.json("bd_stat").values()), {0}, "bd_stat")
    equal(ctl.json("io_stat"), dict.fromkeys(IO, 0), "io_stat")


def failures(ctl, h):
    """Errors and freed slots are counted."""
    equal(ctl("mem_limit", "1M"), "1048576\n", "mem_limit 1M")
    check(errno_of(h.pwrite, rng.randbytes(SLOT), 40 * M), "over the limit")
    equal(ctl.json("io_stat")["failed_writes"], 1, "failed_writes")
    equal(ctl("mem_limit", LIMIT), "%d\n" % LIMIT, "mem_limit")
    h.trim(10 * SLOT, SAME.start * SLOT)
    equal(numbers(ctl("io_stat")), [0, 1, 0, 10], "io_stat after a trim")
    h.pwrite(b"abcdefgh" * (10 * SLOT // 8), SAME.start * SLOT)


def table(ctl):
    heading, line = ctl().splitlines()
    equal(heading.split(),
          "NAME DISKSIZE DATA COMPR ALGORITHM STREAMS ZERO-PAGES TOTAL "
          "MEM-LIMIT MEM-USED MIGRATED COMP-RATIO".split(), "headings")
    check(len(heading) == len(line) or len(line) > len(heading), "columns")
    mm, cells = ctl.json("mm_stat"), line.split()
    ratio = "%.2f" % (mm["orig_data_size"] / mm["mem_used_total"])
    equal([cells[i] for i in (0, 1, 2, 4, 5, 6, 8, 10, 11)],
          [ctl.path, "64M", "5M", "lz4", "2", "256", "16M",
           str(mm["pages_compacted"]), ratio],
          "table")
    exact = ctl("-b", "-n").split()
    equal(exact[:4] + exact[7:10],
          [ctl.path, str(64 * M), str(mm["orig_data_size"]),
           str(mm["compr_data_size"]), str(mm["mem_used_total"]), str(LIMIT),
           str(mm["mem_used_max"])], "table in bytes")
    # 1.2M is the value of -b, rounded.
    for text, n in zip(cells, exact):
        m = re.fullmatch(r"([\d.]+)([BKMG])", text)
        if m:
            unit = 1024 ** "BKMG".index(m[2])
            check(abs(float(m[1]) - int(n) / unit) <= 0.051 or
                  (int(n) / unit >= 99 and
                   abs(float(m[1]) - int(n) / unit) <= 0.51),
                  "table has", text, "for", n)


def block_state(ctl):
    """Flags of each part; slot by slot equals all at once."""
    text = ctl("block_state").splitlines()
    equal(len(text), STORED, "lines of block_state")
    slots = ctl.json("block_state")["slots"]
    equal([s["i"] for s in slots], list(range(STORED)), "slots")
    for line, s in zip(text, slots):
        m = re.fullmatch(r"( *\d+) +(\d+)\.000000 ([swhirn.]{6})", line)
        check(m and len(m[1]) == 12, "line", line)
        equal((int(m[1]), m[3]), (s["i"], s["s"]), "text and JSON")
        check(0 <= s["t"] <= 300, "age", s)
    for part, flags, codec in (SAME, "s.....", "same"), \
            (HUGE, "..h...", "raw"), (GOOD, "......", "lz4"), \
            (FAIR, "......", "lz4"):
        for i in part:
            s = slots[i]
            equal((s["s"], s["codec"]), (flags, codec), "slot", i)
            check(s["size"] == (SLOT if part is HUGE else 0 if part is SAME
                                else s["size"]), "size of", s)
            if part in (GOOD, FAIR):
                share = 1 if part is GOOD else 3
                check(share * SLOT // 8 <= s["size"] <=
                      share * SLOT // 8 + 64, "size of", s)

    def without_age(lines):
        return [re.sub(r" +\d+\.\d+ ", " ", line) for line in lines]

    # Around every border, and some in between; then in pieces of any size.
    one = [i for i in range(STORED + 20)
           if i % 256 in (0, 1, 254, 255) or i % 97 == 0 or i > STORED - 3]
    for i in one:
        equal(without_age(ctl("block_state", i).splitlines()),
              without_age(text[i:i + 1]), "slot", i, "by itself")
    at = 0
    pieces = []
    while at < STORED + 100:
        n = rng.randrange(1, 200)
        pieces += ctl("block_state", "%d-%d" % (at, at + n - 1)).splitlines()
        at += n
    equal(without_age(pieces), without_age(text), "in pieces")
    equal(without_age(ctl("block_state", "1000-").splitlines()),
          without_age(text[1000:]), "from 1000 on")


def far_slots():
    """More than the server sends at once, on a large disk."""
    with ControlServer("1T") as server:
        h = server.connect()
        ctl = Ctl(server.path)
        far = [0, 1, 65535, 65536, 65537, 131072, 10**8, T // SLOT - 1]
        for i in far:
            h.pwrite(b"x", i * SLOT)
        equal([numbers(line[:13])[0]
               for line in ctl("block_state").splitlines()], far, "far slots")
        for start in 1, 65536, 10**8:
            equal([s["i"] for s in
                   ctl.json("block_state", "%d-" % start)["slots"]],
                  [i for i in far if i >= start], "from", start)
        equal([s["i"] for s in
               ctl.json("block_state", "65536-131071")["slots"]],
              [65536, 65537], "range")


def classes(ctl):
    values = ctl.json("classes")["classes"]
    lines = ctl("classes").splitlines()
    equal(lines[0].split(),
          ["class", "size"] + ["%d%%" % p for p in range(10, 100, 10)]
          + "99% 100% obj_allocated obj_used pages_used pages_per_zspage "
            "freeable".split(), "headings")
    equal(len(lines), len(values) + 3, "lines of classes")
    for line, c in zip(lines[1:], values):
        equal(numbers(line),
              [c["class"], c["size"]] + c["groups"][1:] +
              [c[f] for f in ("obj_allocated", "obj_used", "pages_used",
                              "pages_per_zspage", "freeable")], "class")
    equal(lines[-2], "", "line before the totals")
    total = lines[-1].split()
    equal(total[0], "Total", "totals")
    sums = [sum(c["groups"][g] for c in values) for g in range(1, 12)] + \
        [sum(c[f] for c in values) for f in ("obj_allocated", "obj_used",
                                             "pages_used", "freeable")]
    equal(numbers(" ".join(total[1:])), sums, "totals")
    equal(sums[-3], len(HUGE) + len(GOOD) + len(FAIR), "objects")
    sizes = [c["size"] for c in values]
    equal(sizes, sorted(sizes), "sizes")


def latency(ctl, h):
    before = ctl.json("latency")
    equal(list(before), KINDS, "kinds")
    for _ in range(20):
        h.pread(SLOT, GOOD.start * SLOT)
    h.flush()
    after = ctl.json("latency")
    equal(after["read"]["count"] - before["read"]["count"], 20, "reads")
    for kind in KINDS:
        k = after[kind]
        equal(sum(n for _, n in k["buckets"]), k["count"], "buckets of", kind)
        uppers = [u for u, _ in k["buckets"]]
        equal(uppers, sorted(set(uppers)), "buckets of", kind)
        check(k["sum_ns"] <= sum(u * n for u, n in k["buckets"]), kind, k)
    lines = ctl("latency").splitlines()
    equal(lines[0].split(), "KIND COUNT MEAN P50 P90 P99 P99.9 MAX".split(),
          "headings")
    equal([line.split()[0] for line in lines[1:]], KINDS, "lines")
    for line in lines[1:]:
        kind, count, *figures = line.split()
        k = after[kind]
        equal(int(count), k["count"] * k.get("sampled", 1), "count of", kind)
        if not k["count"]:
            equal(figures, ["-"] * 6, kind)
            continue
        unit = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}
        ns = [float(re.match(r"[\d.]+", f)[0])
              * unit[re.search(r"[a-z]+", f)[0]] for f in figures]
        upper = [u for u, n in k["buckets"] for _ in range(n)]
        for got, share in zip(ns[1:], (0.5, 0.9, 0.99, 0.999, 1)):
            at = next(i for i in range(len(upper))
                      if i + 1 >= share * len(upper))
            check(abs(got - upper[at]) <= 0.06 * upper[at], kind, share,
                  "is", got, "and not", upper[at])
        check(abs(ns[0] - k["sum_ns"] / k["count"]) <= 0.06 * ns[0],
              "mean of", kind)


def metrics(ctl):
    """The text unchanged; promtool checks it elsewhere."""
    text = ctl("metrics")
    check(text.startswith("# ") and text.endswith("\n"), text[:100])
    names = re.findall(r"^# TYPE (\S+) (?:counter|gauge|histogram)$", text,
                       re.M)
    check(len(names) > 10 and len(set(names)) == len(names), names)
    check(all(n.startswith("nbdzram_") for n in names), names)
    equal(set(re.findall(r"^# TYPE (\S+) ", ctl.json("metrics")["text"],
                         re.M)), set(names), "metrics")


# ---- settings

def settings(ctl, h):
    equal(ctl("algorithm"), "[lz4] lz4hc zstd deflate\nlevel: 1\n",
          "algorithm")
    equal(ctl("algorithm", "zstd", "-5"),
          "lz4 lz4hc [zstd] deflate\nlevel: -5\n", "algorithm zstd -5")
    h.pwrite(part_noise(1, 2), 50 * M)
    slot = 50 * M // SLOT
    equal(ctl.json("block_state", slot)["slots"][0]["codec"], "zstd", "codec")
    h.trim(SLOT, 50 * M)
    equal(ctl.json("algorithm", "lz4")["level"], 1, "algorithm lz4")

    equal(ctl("workers"), "2\n", "workers")
    equal(ctl("workers", 5), "5\n", "workers 5")
    equal(ctl("--json", "workers", "2"), '{\n  "workers": 2\n}\n', "JSON")

    equal(ctl("mem_limit", "0"), "0\n", "mem_limit 0")
    for word, n in ("1g", 1 << 30), ("2G", 2 << 30), ("1048576", M), \
            ("16M", LIMIT):
        equal(ctl("mem_limit", word), "%d\n" % n, "mem_limit", word)
    equal(ctl("mem_limit"), "%d\n" % LIMIT, "mem_limit")

    h.pwrite(rng.randbytes(2 * M), 50 * M)
    h.trim(2 * M, 50 * M)
    mm = ctl.json("mm_stat")
    check(mm["mem_used_max"] >= mm["mem_used_total"] + 3 * M // 2, "peak", mm)
    equal(int(ctl("mem_used_max")), mm["mem_used_max"], "mem_used_max")
    now = int(ctl("mem_used_max", "reset"))
    check(now < mm["mem_used_max"] - M, "peak after reset", now, mm)
    equal(ctl.json("mm_stat")["mem_used_max"], now, "peak")


def idle_slots(ctl):
    return {s["i"] for s in ctl.json("block_state")["slots"] if "i" in s["s"]}


def idle(ctl, h):
    equal(ctl("idle", "3600"), "0 slots marked idle\n", "idle 3600")
    equal(idle_slots(ctl), set(), "idle")
    equal(ctl("idle", "range", "300-309"), "10 slots marked idle\n", "range")
    equal(ctl("idle", "range", "7"), "1 slots marked idle\n", "range 7")
    equal(ctl.json("idle", "range", "1278-"), {"marked": 2}, "range 1278-")
    equal(idle_slots(ctl), {7, 1278, 1279} | set(range(300, 310)), "idle")
    h.pread(SLOT, 7 * SLOT)
    h.pwrite(rng.randbytes(SLOT), 305 * SLOT)
    equal(idle_slots(ctl), {1278, 1279} | set(range(300, 310)) - {305},
          "idle after use")
    equal(ctl("idle", "all"), "%d slots marked idle\n" % STORED, "idle all")
    equal(len(idle_slots(ctl)), STORED, "idle")
    equal(ctl.json("idle", "0"), {"marked": STORED}, "idle 0")
    h.pread(STORED * SLOT, 0)
    equal(idle_slots(ctl), set(), "idle after reading all")


# ---- pictures, as text

def pictures(ctl):
    for lines, columns in (24, 80), (50, 132), (6, 30):
        size = {"LINES": str(lines), "COLUMNS": str(columns)}
        for verb in "top", "map":
            text = ctl(verb, **size)
            check(text.isascii(), verb, "is not ASCII in the C locale")
            rows = text.splitlines()
            check(len(rows) <= lines and max(map(len, rows)) <= columns,
                  verb, "does not fit", lines, columns, text)
    rows = ctl("top", LINES="24", COLUMNS="80").splitlines()
    for begin in "on average", "read", "write", "discard", "flush", \
            "compress", "decompress", "lock wait", "Memory", "Data", "Ratio", \
            "Streams", "Passes", "class":
        check(sum(r.startswith(begin) for r in rows) == 1, begin, rows)
    rows = ctl("map", LINES="24", COLUMNS="80").splitlines()
    grid = "".join(r[9:] for r in rows[2:20])
    equal(len(grid), 71 * 18, "cells")
    # 12.8 slots a cell: slots on a border may count for either.
    for part, look in (SAME, "="), (HUGE, "#"), (GOOD, "-"), (FAIR, "+"), \
            (range(STORED, 64 * M // SLOT), "."):
        a = part.start * len(grid) // (64 * M // SLOT) + 1
        b = part.stop * len(grid) // (64 * M // SLOT) - 1
        check(b > a and set(grid[a:b]) == {look}, "cells", a, b, grid[a:b])


# ---- JSON for all, exit statuses

def json_for_all(ctl):
    for words in LOOKS:
        for order in (["--json", *words], [*words, "--json"], ["-j", *words]):
            value = json.loads(ctl(*order))
            check(isinstance(value, dict) and value, order, "gave", value)
    equal(set(ctl.json("top")), {"stats", "latency", "classes"}, "top")
    equal(ctl.json("map")["cells"][0]["slots"], 64 * M // SLOT // 1440, "map")


def recompression(ctl, h):
    """What the verbs print and do; the server's own tests check the rest."""
    ctl("algorithm", "lz4")
    equal(ctl("recomp_algorithm"), "", "none")
    ctl.fails(REFUSED, "secondary", "recompress")
    equal(ctl("recomp_algorithm", "zstd:level=9,lz4hc"),
          "1: zstd, level 9\n2: lz4hc, level 9\n", "set")
    equal((ctl("auto_recompress", 0), ctl("auto_recompress")),
          ("0\n", "0\n"), "age")
    h.pwrite(b"".join(b"%d %d\n" % (i, i * i * 977) for i in range(3000))
             [:8 * 4096], 0)
    said = ctl("recompress", "algorithm=zstd", "range=2-3", "max_slots=1",
               "threshold=0")
    check(said.startswith("recompress: done after ") and
          ", 1/1 slots: 1 slots recompressed, " in said, said)
    equal([line.split()[2] for line in
           ctl("block_state", "0-7").splitlines()].count("....r."), 1,
          "letters")
    equal(ctl.json("recompress", "range=2-")["kind"], "recompress", "by JSON")
    equal(ctl("recomp_algorithm", ""), "", "none")


def usage(ctl):
    for words, about in (
            (["frobnicate"], "frobnicate"),
            (["mm_stat", "x"], ["mm_stat", "x"]),
            (["--frob"], "--frob"),
            (["-q"], "-q"),
            (["-s"], "-s"),
            (["--socket"], "--socket"),
            (["reset", "--deep"], ["reset", "--deep"]),
            (["audit", "--force"], ["audit", "--force"]),
            (["compact", "now"], ["compact", "now"]),
            (["idle"], "idle"),
            (["idle", "some"], ["idle", "some"]),
            (["idle", "all", "7"], "7"),
            (["idle", "-1"], "-1"),
            (["idle", "range"], "range"),
            (["idle", "range", "9-5"], "9-5"),
            (["idle", "range", "5", "6"], "6"),
            (["idle", "range", "99999999"], "99999999"),
            (["block_state", "x"], "x"),
            (["block_state", "5-x"], "5-x"),
            (["block_state", "-5"], "-5"),
            (["block_state", "99999999"], "99999999"),
            (["mem_limit", "much"], "much"),
            (["mem_limit", "5"], "5"),
            (["mem_limit", "-5"], "-5"),
            (["mem_limit", "16EE"], "16EE"),
            (["mem_limit", "9E"], "9E"),
            (["mem_used_max", "now"], "now"),
            (["algorithm", "rot13"], "rot13"),
            (["algorithm", "zstd", "99"], "99"),
            (["algorithm", "zstd", "x"], "x"),
            (["recompress", "now"], ["now", "type="]),
            (["recompress", "threshold=much"], "much"),
            (["recompress", "max_slots=-1"], "-1"),
            (["recompress", "priority=0"], "0"),
            (["recompress", "range=9-5"], "9-5"),
            (["train", "samples"], ["samples", "size="]),
            (["train", "size=x"], "x"),
            (["train", "size=1"], "256"),
            (["auto_recompress", "-1"], "-1"),
            (["auto_recompress", "32768"], "32767"),
            (["recomp_algorithm", "rot13"], "rot13"),
            (["recomp_algorithm", "zstd:dict=x"], "begin with /"),
            (["workers", "0"], "0"),
            (["workers", "many"], "many"),
            (["workers", "9999"], "9999"),
            (["top", "0"], "0"),
            (["top", "1", "2"], "2"),
            (["map", "often"], "often")):
        ctl.fails(USAGE, about, *words)
    p = ctl.run("--help", leaks=True)
    equal((p.returncode, p.stderr), (OK, ""), "--help")
    for verb in {w[0] for w in LOOKS if w} | {"idle", "compact", "reset",
                                              "audit"}:
        check(re.search(r"^  %s " % verb, p.stdout, re.M), verb, "in --help")
    check(re.fullmatch(r"nbdzramctl \S+\n", ctl("--version")), "--version")


def no_server(ctl, folder):
    for words in LOOKS + [["compact"], ["reset"], ["audit"], ["idle", "all"]]:
        Ctl(folder + "/nobody").fails(NO_SERVER, "nobody", *words)
    # Errors in the usage are reported first.
    Ctl(folder + "/nobody").fails(USAGE, "x", "mem_limit", "x")
    long = folder + "/" + "x" * 300
    Ctl(long).fails(NO_SERVER, "xxx")

    # Another program's socket, and one that hangs up.
    for i, answer in enumerate((b"hello\n", b"", b"[]\n", b'{"id":1}\n',
                                b'{"id":1,"result":{"protocol":999}}\n')):
        path = "%s/other%d" % (folder, i)
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen()
        p = subprocess.Popen([CTL, "-s", path, "mm_stat"], text=True,
                             stderr=subprocess.PIPE, env=environment())
        peer, _ = s.accept()
        peer.recv(1000)
        peer.sendall(answer)
        peer.close()
        _, err = p.communicate(timeout=60)
        equal((p.returncode, err.count("\n")), (NO_SERVER, 1), answer, err)
        s.close()


def finds_socket(ctl, folder):
    """NBDZRAM_SOCKET, and -s before it; paths that are too long."""
    def run(*words, cwd=None, **env):
        return subprocess.run([CTL, *words], capture_output=True, text=True,
                              cwd=cwd, env=environment(**env), timeout=60)

    want = ctl("mm_stat")
    p = run("mm_stat", NBDZRAM_SOCKET=ctl.path)
    equal((p.returncode, p.stdout), (OK, want), "NBDZRAM_SOCKET", p.stderr)
    p = run("-s", ctl.path, "mm_stat", NBDZRAM_SOCKET="/nobody")
    equal((p.returncode, p.stdout), (OK, want), "-s over the variable")
    p = run("mm_stat", NBDZRAM_SOCKET="/nobody")
    equal(p.returncode, NO_SERVER, "NBDZRAM_SOCKET is listened to")
    deep = folder + "/" + "d" * 120
    os.mkdir(deep)
    os.symlink(ctl.path, deep + "/control.sock")
    p = run("-s", deep + "/control.sock", "mm_stat")
    equal((p.returncode, p.stdout), (OK, want), "a long path", p.stderr)
    # An installed nbdzramctl does not trust files in the current folder.
    for run_folder in "/top/build/run", "/top/run":
        os.makedirs(folder + run_folder)
        os.symlink(ctl.path, folder + run_folder + "/control.sock")
    os.makedirs(folder + "/bin")
    subprocess.run(["cp", CTL, folder + "/bin/nbdzramctl"], check=True)
    p = subprocess.run([folder + "/bin/nbdzramctl", "mm_stat"], text=True,
                       capture_output=True, cwd=folder + "/top",
                       env=environment(), timeout=60)
    equal((p.returncode, p.stdout, p.stderr), (NO_SERVER, "",
          "nbdzramctl: which server? (-s SOCKET, or NBDZRAM_SOCKET)\n"),
          "called beside somebody's socket")
    # One of a build tree does.
    os.makedirs(folder + "/tree/ctl")
    os.makedirs(folder + "/tree/run")
    os.symlink(ctl.path, folder + "/tree/run/control.sock")
    subprocess.run(["cp", CTL, folder + "/tree/ctl/nbdzramctl"], check=True)
    p = subprocess.run([folder + "/tree/ctl/nbdzramctl", "mm_stat"],
                       text=True, capture_output=True, cwd="/",
                       env=environment(), timeout=60)
    equal((p.returncode, p.stdout), (OK, want), "a build tree's", p.stderr)
    # Another user's socket in it.
    if os.geteuid() == 0:
        os.chown(folder + "/tree/run/control.sock", 12345, -1)
        p = subprocess.run([folder + "/tree/ctl/nbdzramctl", "mm_stat"],
                           text=True, capture_output=True, cwd="/",
                           env=environment(), timeout=60)
        os.chown(ctl.path, 0, -1)
        equal((p.returncode, p.stdout), (NO_SERVER, ""), "a stranger's")
        check("belongs to somebody else" in p.stderr, p.stderr)


def full_disk(ctl):
    """If output cannot be written, the verb fails."""
    with open("/dev/full", "w") as full:
        p = subprocess.run([CTL, "-s", ctl.path, "mm_stat"], stdout=full,
                           stderr=subprocess.PIPE, text=True,
                           env=environment(), timeout=60)
    equal(p.returncode, REFUSED, "output to a full disk", p.stderr)


far_slots()
with ControlServer("64M", "workers=2", "mem_limit=%d" % LIMIT,
                   "compact_threshold=0") as server:
    h = server.connect()
    ctl = Ctl(server.path)
    fill(h)
    kernel_files(ctl)
    known_figures(ctl)
    failures(ctl, h)
    kernel_files(ctl)
    table(ctl)
    block_state(ctl)
    classes(ctl)
    latency(ctl, h)
    metrics(ctl)
    pictures(ctl)
    json_for_all(ctl)
    settings(ctl, h)
    idle(ctl, h)
    recompression(ctl, h)
    usage(ctl)
    no_server(ctl, server.control_dir)
    finds_socket(ctl, server.control_dir)
    full_disk(ctl)
