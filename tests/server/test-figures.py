#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The counters and gauges: one table in the plugin, and all other texts about
them.

plugin/control/figures.def is compared with the server's counters; with the
answer to stats and the metrics of a server that has a backing store (names,
order, kinds, values); with the list of docs/protocol.md and its example, both
ways; and with everything that names a figure: manuals, dashboard, alerts,
nbdzramctl.  Then each text is changed, in each place that is compared and for
each figure, and the test must notice it.
"""

import collections
import functools
import glob
import json
import os
import re
import tempfile
import time

from controltest import ControlServer
from zramtest import K, M, check

SRCDIR = os.environ.get("SRCDIR") or os.path.join(
    os.path.dirname(os.path.realpath(__file__)), "../..")

TABLE = "plugin/control/figures.def"
PAGE = "docs/protocol.md"
STAT = "ctl/print_stat.c"
MANUAL = "ctl/nbdzramctl.pod"
DASHBOARD = "scripts/monitoring/grafana-dashboard.json"
RULES = "scripts/monitoring/prometheus-rules.yml"

# Not in the table: strings, values that may be null, a list, a fraction.
WORDS = {"algorithm", "level", "allocator", "uptime_s", "recompression.methods",
         "backing.where", "backing.kind", "backing.writeback_limit",
         "backing.io.last_error"}
# Likewise, and histograms.
FAMILIES = {"build_info", "algorithm_info", "uptime_seconds",
            "request_duration_seconds", "codec_duration_seconds",
            "lock_wait_seconds"}
# Counters that only tests and the audit read.
INSIDE = {"DISK_OBJECTS", "DISK_BACKED_BYTES", "DISK_REQUESTS_SHARED"}
# Strings, keys and methods that the page describes in the same notation.
PROSE = {"version", "connection", "evict", "recomp_algorithm", "deep", "error",
         "of", "age_s", "methods"}

# The unit of a metric, and the unit in the answer to stats.
UNITS = {"COUNT": ("", ""), "FLAG": ("1 or 0", "true or false"),
         "BYTES": ("bytes", "bytes"), "SLOTS": ("slots", "slots"),
         "SLOTS_AS_PAGES": ("slots", "pages"), "PAGES": ("pages", "pages"),
         "BLOCKS": ("bytes", "units of 4 KiB"), "SECONDS": ("seconds", "seconds"),
         "NANOSECONDS": ("seconds", "nanoseconds"), "PERCENT": ("%", "%")}

Row = collections.namedtuple("Row", "of kind unit json metric label value help made_of")
Family = collections.namedtuple("Family", "name kind help labels")


# -- the table

ROW = re.compile(r"^(?:BOTH|METRIC|JSON|FIGURE) \(.*?\)\n(?=\S|\n)", re.S | re.M)
# The owner of a value, recognized by the expression that computes it.
MADE_OF = (("DISK", r"\bon_disk \(|\bdisk(->|\))"),
           ("STORE", r"\bin_pool \(|\bbudget->|\bdictionaries\."),
           ("BACKING", r"\b(io|blocks|evicted)\.\w+( \+|\)$)"))


@functools.lru_cache(None)
def row_of(text):
    macro, of, kind, unit = re.match(r"(\w+) \((\w+), (\w+), (\w+)",
                                     text).groups()
    a = [None if w == "NULL" else w[1:-1]
         for w in re.findall(r'"[^"]*"|\bNULL\b', text)]
    if macro == "METRIC":
        a = [None, a[0], None, None, a[1]]
    elif macro == "JSON":
        a = [a[0], None, None, None, a[1]]
    elif macro == "BOTH":
        a = [a[0], a[1], None, None, a[2]]
    made_of = [m for m, words in MADE_OF
               if re.search(words, re.sub(r'"[^"]*"', "", text).strip())]
    return Row(of, kind.lower(), unit, *a[:5], made_of)


@functools.lru_cache(None)
def rows_of(text):
    return [row_of(row) for row in ROW.findall(text)]


# -- a server's answers

def leaves(stats, path=""):
    """[(path, value)] in the answer's order."""
    for name, value in stats.items():
        if isinstance(value, dict) and value and path + name not in WORDS:
            yield from leaves(value, path + name + ".")
        else:
            yield path + name, value


def families_of(metrics):
    """[Family] in the text's order; labels has {"op": ["read", …]}."""
    found = []
    for line in metrics.splitlines():
        m = re.match(r"# HELP nbdzram_(\S+) (.*)", line)
        if m:
            found.append([m[1], None, m[2], {}])
            continue
        m = re.match(r"# TYPE nbdzram_(\S+) (.*)", line)
        if m:
            found[-1][1] = m[2]
            continue
        for name, value in re.findall(r'(\w+)="([^"]*)"', line):
            values = found[-1][3].setdefault(name, [])
            if value not in values:
                values.append(value)
    return [Family(*f) for f in found]


def sample(row):
    return "nbdzram_" + row.metric + (
        '{%s="%s"}' % (row.label, row.value) if row.label else "")


def in_metrics(row, value, slot_size):
    """The metric's value, if stats has this value."""
    return {"SLOTS_AS_PAGES": value // (slot_size // (4 * K)),
            "BLOCKS": value * 4 * K, "NANOSECONDS": value / 1e9,
            "FLAG": int(value)}.get(row.unit, value)


# -- the list that the page must have

def unit_of(row):
    units = [u for u, has in zip(UNITS[row.unit], (row.metric, row.json)) if has]
    return units[0] + (", in `stats` " + units[1]
                       if len(set(units)) > 1 and row.unit != "FLAG" else "")


def page_list(rows):
    def line(metric, paths, kind, unit, of, what):
        return "| %s | %s | %s | %s | %s | %s |" % (metric, paths, kind, unit, of,
                                                   what)

    lines = [line("metric", "in `stats`", "kind", "unit", "of", ""),
             "| --- | --- | --- | --- | --- | --- |"]
    tables = {}
    for f in rows:
        tables.setdefault(f.metric or f.json, []).append(f)
    lines += [line("`nbdzram_%s`" % f.name, "", f.kind, "", "", f.help)
              for f in families if f.name in FAMILIES]
    for same in tables.values():
        f = same[0]
        paths = ", ".join(("`%s`" % x.json if x.json else "") +
                          (' (`%s="%s"`)' % (x.label, x.value)
                           if x.label else "") for x in same)
        lines.append(line("`nbdzram_%s`" % f.metric if f.metric else "", paths,
                          f.kind, unit_of(f), f.of.lower(), f.help))
    return lines


# -- all contradictions: one check for each subject, of the texts that it reads

CHECKS = []     # (names of texts, function of these that yields complaints)


def held(*names):
    def add(function):
        CHECKS.append((names, functools.lru_cache(None)(
            lambda *texts: tuple(function(*texts)))))
        return function
    return add


def complaints(text):
    return [c for names, check in CHECKS for c in check(*map(text.get, names))]


def differ(where, got, want):
    for x in set(want) - set(got):
        yield "%s: is missing: %s" % (where, x)
    for x in set(got) - set(want):
        yield "%s: is too much: %s" % (where, x)
    if got != want and set(got) == set(want):
        yield "%s: in another order, or twice: %s" % (where, got)


@held(TABLE)
def table_and_server(table):
    rows = rows_of(table)
    yield from differ("stats", sorted(said), sorted(
        [f.json for f in rows if f.json] + list(WORDS)))
    yield from differ("metrics", [f[:3] for f in families
                                  if f.name not in FAMILIES],
                      [(f.metric, f.kind, f.help) for f in rows
                       if f.metric and f.help])
    ours = {"nbdzram_%s" % f.metric for f in rows}
    values = dict(line.split(" ") for line in metrics.splitlines()
                  if re.match("[a-z_]*", line)[0] in ours)
    yield from differ("samples", list(values),
                      [sample(f) for f in rows if f.metric])
    first = {}
    for f in rows:
        family = first.setdefault(f.metric or f.json, f)
        if f[:3] != family[:3]:
            yield "%s: not all of it is a %s of the %s" % (f.metric, f.kind,
                                                           f.of)
        if f.made_of and f.made_of != [f.of]:
            yield "%s: is of %s" % (f.metric or f.json, f.made_of)
        if f.json in said and isinstance(said[f.json], bool) != \
                (f.unit == "FLAG"):
            yield "stats: %s is %s" % (f.json, said[f.json])
        if not f.metric:
            continue
        if f.json in said and float(values.get(sample(f), -1)) != \
                in_metrics(f, said[f.json], said["slot_size"]):
            yield "%s and %s have not the same value" % (sample(f), f.json)
        if (f.unit in ("BYTES", "BLOCKS")) != ("_bytes" in f.metric) or \
                (f.unit in ("SECONDS", "NANOSECONDS")) != \
                ("_seconds" in f.metric):
            yield "%s has the unit %s" % (f.metric, f.unit)
        if (f.kind == "counter") != f.metric.endswith("_total"):
            yield "%s is a %s" % (f.metric, f.kind)


def engine_counters(header, query, table):
    body = re.search(r"\nenum \w+_counter\w* \{(.*?)\n\}", header, re.S)[1]
    used = set(re.findall(r"\b(?:DISK|POOL)_\w+", query + table))
    for i in set(re.findall(r"^  (\w+),", body, re.M)) - INSIDE - used:
        yield i + " is in no table"


for h in ("server/store/disk.h", "server/mem/pool.h"):
    held(h, "server/store/query.c", TABLE)(engine_counters)


def engine_stats(struct, part):
    def function(header, table):
        body = re.search(r"\nstruct %s \{(.*?)\n\}" % struct, header, re.S)[1]
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        used = re.findall(r"\b%s\.(\w+)" % part, table)
        for m in re.findall(r"\w+(?=[,;])", " ".join(
                re.findall(r"^  (?:uint64_t|bool) [^;]*;", body, re.M))):
            if m not in used:
                yield "%s.%s is in no table" % (struct, m)
    return function


held("server/dev/backing.h", TABLE)(engine_stats("backing_stats", "io"))
held("server/dev/blocks.h", TABLE)(engine_stats("blocks_stats", "blocks"))
held("server/maint/evictor.h", TABLE)(engine_stats("evictor_stats", "evicted"))


@held(PAGE, TABLE)
def page_and_table(page, table):
    there = re.search(r"\| metric \|.*?\n(?=\n)", page, re.S)
    yield from differ(PAGE, there[0].splitlines(), page_list(rows_of(table)))


@held(PAGE)
def page_and_server(page):
    example = re.search(r'^--> .*"method":"stats"\}\n<-- (.*)', page, re.M)
    yield from differ(PAGE + ": example",
                      [p for p, _ in leaves(json.loads(example[1])["result"])],
                      list(said))
    prose = page.split("\n### stats\n")[1].split("\n```")[0]
    for word in sorted(set(re.findall(r"`([a-z_0-9]+)`", prose))):
        if not {word, word + "_blocks"} & (parts | PROSE):
            yield "%s: stats has no %s" % (PAGE, word)


@held(STAT, MANUAL)
def kernel_files(stat, manual):
    """The kernel's files, as nbdzramctl prints them and its manual says."""
    for group in ("mm", "io", "bd", "debug"):
        want = [p.split(".")[1] for p in said if p.startswith(group + ".")]
        body = re.search(r"\nrun_%s_stat \(.*?fields\[\] = \{(.*?)\}" % group,
                         stat, re.S)[1]
        yield from differ(STAT + ": " + group, re.findall(r'"(\w+)"', body),
                          want)
        item = manual.split("=item B<%s_stat>\n" % group)[1].split("\n\n=")[0]
        yield from differ(MANUAL + ": " + group, re.findall(
            r"\b[a-z]+(?:_[a-z]+)+\b|\bwritestall\b", item), want)


def paths_asked_for(name):
    """By nbdzramctl, some of them below a part of the answer."""
    def function(source):
        for p in set(re.findall(r'"([a-z_]+(?:\.[a-z_0-9]+)+)"', source) +
                     re.findall(r'\bstats, "([a-z_.]+)"', source)):
            if not p.endswith(".h") and p != "result.protocol" and \
                    ".%s." % p not in dotted:
                yield "%s: stats has no %s" % (name, p)
    return function


def metrics_named(name):
    def function(source):
        for m in re.finditer(r'\bnbdzram_([a-z][a-z_]*)(\{[^}]*\})?(\[)?',
                             source.replace('\\"', '"')):
            f = by_name.get(m[1])
            if not f:
                yield "%s: no metric %s" % (name, m[1])
                continue
            if m[3] and f.kind != "counter":
                yield "%s: a range of %s, a %s" % (name, m[1], f.kind)
            for label, value in re.findall(r'(\w+)=~?"([^"]*)"', m[2] or ""):
                if label not in ("instance", "job") and \
                        value not in f.labels.get(label, []):
                    yield "%s: no %s=%s of %s" % (name, label, value, m[1])
    return function


@held(DASHBOARD)
def dashboard_labels(dashboard):
    for panel in json.loads(dashboard)["panels"]:
        for t in panel["targets"]:
            asked = re.findall(r"\{\{(\w+)\}\}", t["legendFormat"])
            for by in re.findall(r"\bby \(([^)]*)\)", t["expr"]):
                asked += by.split(", ")
            for name in re.findall(r"\bnbdzram_([a-z_]+)", t["expr"]):
                f = by_name.get(name)
                for a in set(asked) - {"instance"} - set(f.labels if f else ()):
                    yield "%s: no label %s of %s" % (DASHBOARD, a, name)


# -- each text changed

def spoilt(text):
    """(the change, the changed texts) for each change that must be noticed."""

    def file(name, old, new, count=1):
        assert old in text[name], (name, old)
        yield ("%s: %r -> %r" % (name, old, new),
               {**text, name: text[name].replace(old, new, count)})

    rows = rows_of(text[TABLE])
    listed = page_list(rows)[2:]
    yield from file(PAGE, listed[-1], listed[-1] + "\n" + listed[-1])
    yield from file(PAGE, "\n".join(listed[-2:]), "\n".join(listed[:-3:-1]))
    for line in listed:
        yield from file(PAGE, line + "\n", "")
        yield from file(PAGE, line, re.sub(
            r"counter|gauge|histogram",
            lambda m: "counter" if m[0] == "gauge" else "gauge", line, 1))
    for row in ROW.findall(text[TABLE]):
        yield from file(TABLE, row, "")
        yield from file(TABLE, row, row.replace(", GAUGE", ", XGAUGE", 1)
                        .replace(", COUNTER", ", GAUGE", 1)
                        .replace(", XGAUGE", ", COUNTER", 1))
        yield from file(TABLE, row, re.sub(
            r"\((DISK|STORE|BACKING)",
            lambda w: "(DISK" if w[1] != "DISK" else "(STORE", row, 1))
        for name in set(re.findall(r'"([a-z_.0-9]+)"', row)):
            yield from file(TABLE, row, row.replace('"%s"' % name,
                                                    '"%sx"' % name))
    for f in rows:
        if f.json:
            yield from file(PAGE, '"%s":' % f.json.split(".")[-1], '"x":', -1)
    for name in (DASHBOARD, RULES):
        for m in sorted(set(re.findall(r"nbdzram_[a-z_]+", text[name]))):
            yield from file(name, m, m + "x")
    for m in sorted(set(re.findall(r"rate\((nbdzram_[a-z_]+)", text[DASHBOARD]))):
        yield from file(DASHBOARD, m, "nbdzram_clients")
    for name in ("server/store/disk.h", "server/mem/pool.h"):
        yield from file(name, "\n  %s_COUNTERS" % (
            "DISK" if "disk" in name else "POOL"), "\n  DISK_NEW,\n  X_COUNTERS")
    for name, old, new in (
            ("server/dev/backing.h", "uint64_t retries;", "uint64_t retries, n;"),
            ("server/dev/blocks.h", "uint64_t waiting;", "uint64_t waiting, n;"),
            ("server/maint/evictor.h", "bool hopeless;", "bool hopeless, n;"),
            (STAT, '"failed_reads", ', ""), (STAT, '"bd_reads"', '"bd_read"'),
            (STAT, '"writestall", "miss_free"', '"miss_free", "writestall"'),
            (STAT, '"mem_used_max",', '"mem_used_max", "mem_free",'),
            (MANUAL, "mem_used_max (bytes)", "(bytes)"),
            (MANUAL, "bd_reads", "bd_writes"), (MANUAL, "writestall", "stalls"),
            ("ctl/top_frame.c", '"ops.read.bytes"', '"ops.reads.bytes"'),
            ("ctl/top_frame.c", '"io.down"', '"io.up"'),
            ("ctl/print_table.c", '"mm.same_pages"', '"mm.same_slots"'),
            (PAGE, "`swap_reserve` bytes", "`swap_reserved` bytes"),
            (PAGE, "`bytes_won` in", "`won` in"),
            (PAGE, '"low":85,"high":90', '"high":90,"low":85'),
            (RULES, 'op=\\"write\\"' if 'op=\\"write\\"' in text[RULES]
             else 'op="write"', 'op="writes"'),
            (DASHBOARD, "by (instance, op, le)", "by (instance, ops, le)"),
            (DASHBOARD, "{{op}}", "{{opp}}"),
            ("README.md", "# ", "# `nbdzram_no_such_total` ")):
        yield from file(name, old, new)


# -- everything

def take(c):
    """stats and metrics of one moment, when nothing runs."""
    for _ in range(3000):               # a minute, though it is a second
        before, text, after = c.call("stats"), c.call("metrics")["text"], \
            c.call("stats")
        for s in before, after:
            s.pop("uptime_s")
        if before == after and after["exact"]:
            return c.call("stats"), text
        time.sleep(0.02)
    raise AssertionError("it never holds still: %s" % after)


names = {name for check_of, _ in CHECKS for name in check_of} | {
    "README.md", "CHANGELOG.md", "ARCHITECTURE.md", DASHBOARD, RULES,
    "tests/static/monitoring-rules-test.yml"}
for pattern in ("docs/*.md", "plugin/*.pod", "ctl/*.pod", "ctl/*.c"):
    names |= {os.path.relpath(p, SRCDIR)
              for p in glob.glob(os.path.join(SRCDIR, pattern))}
texts = {}
for n in sorted(names):
    with open(os.path.join(SRCDIR, n), encoding="utf-8") as source_file:
        texts[n] = source_file.read()
    if n.startswith("ctl/") and n.endswith(".c"):
        held(n)(paths_asked_for(n))
    elif not n.endswith((".c", ".h", ".def")):
        held(n)(metrics_named(n))
check(len(rows_of(texts[TABLE])) > 90, TABLE, "where are they?")

with tempfile.TemporaryDirectory(prefix="zram-test.") as folder, \
        ControlServer("64M", "slot_size=8k", "mem_limit=32M",
                      "compact_threshold=0", "write_buffer=1M",
                      "recompress=zstd", "auto_recompress=0",
                      "backing=%s/store" % folder,
                      "backing_size=16M") as server:
    handle, control = server.connect(), server.control()
    handle.pwrite(b"".join(b"%d " % (i * i) for i in range(M // 8)), 0)
    handle.pwrite(os.urandom(4 * M), 8 * M)
    handle.pwrite(bytes(128 * K), 0)
    handle.pwrite(b"x", 5)
    handle.pread(300 * K, 100 * K)
    handle.trim(64 * K, 8 * M)
    handle.flush()
    control.job("recompress")
    control.job("writeback", type="huge")
    handle.pread(100 * K, 9 * M)
    stats, metrics = take(control)

said = dict(leaves(stats))
parts = {part for path in said for part in path.split(".")}
dotted = "".join(".%s. " % path for path in said)
families = families_of(metrics)
by_name = {f.name: f for f in families}
for f in families:
    if f.kind == "histogram":
        for end in ("bucket", "sum", "count"):
            by_name[f.name + "_" + end] = f._replace(kind="counter")

wrong = complaints(texts)
for w in wrong:
    print(w)
if any(w.startswith(PAGE + ": is ") for w in wrong):
    print("\n".join(["", PAGE + " must have this list:", ""] +
                    page_list(rows_of(texts[TABLE]))))
check(not wrong, "what is said of figures differs: see above")

tried, missed = 0, []
for what, other in spoilt(texts):
    check(other != texts, what, ": nothing was spoilt")
    tried += 1
    if not complaints(other):
        missed.append(what)
print("%d of %d ways to differ were noticed" % (tried - len(missed), tried))
check(not missed, "not noticed:\n" + "\n".join(missed))
