# SPDX-License-Identifier: BSD-3-Clause
"""Samples to summaries, summaries to tables for the terminal and README."""
from . import common, results, sampling, threads
from .common import median

FLOOR = "null"


def column(samples, key):
    return [s[key] for s in samples if s.get(key) is not None]


def summarize(samples):
    """{test: {server: medians, ratios to the floor, percentiles, CPU}}"""
    floor = {(s["test"], s["round"]): s["value"] for s in samples
             if s["server"] == FLOOR}
    groups = {}
    for s in samples:
        groups.setdefault((s["test"], s["server"]), []).append(s)
    summary = {}
    for (test, server), group in groups.items():
        values = column(group, "value")
        ratios = [s["value"] / floor[test, s["round"]] for s in group
                  if floor.get((test, s["round"]))]
        entry = {"median": median(values), "min": min(values),
                 "max": max(values), "samples": len(values)}
        if ratios:
            entry["ratio"] = {"median": median(ratios), "min": min(ratios),
                              "max": max(ratios)}
        for key in ("p50_us", "p99_us", "p999_us", "server_us_op",
                    "kthreads_us_op", "client_us_op", "foreign_share"):
            entry[key] = median(column(group, key))
        summary.setdefault(test, {})[server] = entry
    return summary


def number(value, digits=3):
    """About three significant digits, no exponent."""
    if value is None:
        return ""
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    if abs(value) >= 10 ** (digits - 2):
        return f"{value:.1f}"
    return f"{value:.2f}"


def text_table(head, rows):
    widths = [max(len(str(r[i])) for r in [head] + rows)
              for i in range(len(head))]
    lines = []
    for row in [head] + rows:
        cells = [str(c).ljust(w) if i == 0 else str(c).rjust(w)
                 for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def markdown_table(head, rows):
    lines = ["| " + " | ".join(map(str, r)) + " |" for r in [head] + rows]
    lines.insert(1, "| --- |" + " ---: |" * (len(head) - 1))
    return "\n".join(lines)


def ratio_text(entry):
    ratio = entry.get("ratio")
    if not ratio:
        return ""
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}..{ratio['max']:.2f})"


def by_test(document, summary, cell):
    """A row for each server, a column for each test."""
    tests = document["tests"]
    rows = []
    for server in document["servers"]:
        row = [server["name"]]
        for test in tests:
            entry = summary.get(test["name"], {}).get(server["name"])
            row.append(cell(entry) if entry else "-")
        rows.append(row)
    return rows


def cpu_text(entry):
    text = number(entry["server_us_op"])
    if entry["kthreads_us_op"]:
        text += " + " + number(entry["kthreads_us_op"])
    return text


def latency_text(entry):
    if entry["p50_us"] is None:
        return "-"
    return "/".join(number(entry[k]) for k in ("p50_us", "p99_us", "p999_us"))


def memory_rows(document):
    rows = []
    for server in document["servers"]:
        memory = server.get("memory")
        if not memory:
            continue
        filled = memory["filled"]
        rows.append([server["name"]]
                    + [number(memory["start"]["own"] / 1e6)]
                    + [number(filled[k] / 1e6)
                       for k in ("rss", "pss", "private", "own")]
                    + [f"{memory[k]:.3f}"
                       for k in ("own_per_byte", "rss_per_byte")])
    return rows


MEMORY_HEAD = ["memory, MB", "own at start", "Rss", "Pss", "Private", "own",
               "own per byte of disk", "Rss per byte of disk"]
NOTES = [
    "MB is 10^6 bytes.  Each nbdcopy ends with a flush, each write test too, "
    "and the flush is in its time (it takes none except for the kernel's zram, "
    "whose page cache is also emptied before each sample).",
    "Memory of the kernel's zram is mem_used_total of mm_stat: its slot "
    "table is not in it.  Of the others it is all of the process; own is "
    "what the process alone has written, Rss has program files too.",
    "Depth 1: the client is bound to CPU 0, the server's connection threads "
    "to CPU 1.",
]


def describe_image(facts):
    text = (f"{facts['size'] >> 20} MiB of this machine's files, "
            f"{facts['zero_percent']} % zero pages, "
            f"{facts['equal_percent']} % equal pages")
    if "lz4_ratio" in facts:
        text += (f", {facts['incompressible_percent']} % incompressible; "
                 f"lz4 page by page {facts['lz4_ratio']}")
    return text


def disturbed(document):
    return sampling.describe(document["samples"], document["foreign_limit"])


def nbd_tables(document):
    """(heading, head, rows) of all tables."""
    titles = [f"{t['title']}, {t['unit']}" for t in document["tests"]]
    plain = [t["title"] for t in document["tests"]]
    summary = summarize(document["samples"])
    yield ("Medians of %d rounds" % document["rounds"],
           ["server"] + titles,
           by_test(document, summary, lambda e: number(e["median"])))
    yield ("Ratio to null in the same round: median (min..max)",
           ["server"] + plain, by_test(document, summary, ratio_text))
    yield ("Latency p50/p99/p99.9, microseconds",
           ["server"] + plain, by_test(document, summary, latency_text))
    yield ("CPU of the server (+ kernel threads), microseconds an operation "
           "(nbdcopy: 4 KiB)",
           ["server"] + plain, by_test(document, summary, cpu_text))
    yield ("Memory after the first fill", MEMORY_HEAD, memory_rows(document))
    yield from threads.tables(document)


def without_empty(head, rows):
    """Drop the columns that have nothing to say (latency of nbdcopy)."""
    keep = [i for i in range(len(head))
            if i == 0 or any(r[i] not in ("", "-") for r in rows)]
    return [head[i] for i in keep], [[r[i] for i in keep] for r in rows]


def short(head):
    """Numbered columns and a legend, where titles would not fit a line."""
    letters = [chr(ord("a") + i) for i in range(len(head) - 1)]
    legend = "\n".join(f"  {k}  {t}" for k, t in zip(letters, head[1:]))
    return [head[0]] + letters, legend


def nbd(document, options):
    print()
    print(common.machine_line(document["machine"]))
    print(describe_image(document["image"]))
    print(disturbed(document))
    for heading, head, rows in nbd_tables(document):
        head, rows = without_empty(head, rows)
        if head[0] == "server":
            head, legend = short(head)
            print(f"\n{heading}\n{legend}\n")
        else:
            print(f"\n{heading}\n")
        print(text_table(head, rows))
    for skipped in document["skipped"]:
        print(f"\nskipped: {skipped['name']}: {skipped['reason']}")
    for error in document["errors"]:
        print(f"\nERROR: {error}")
    results.write(options, document, markdown(document))


def markdown(document):
    parts = [f"Measured by `scripts/bench nbd`: "
             f"{common.machine_line(document['machine'])}.",
             describe_image(document["image"]) + ".",
             disturbed(document) + "."]
    for heading, head, rows in nbd_tables(document):
        head, rows = without_empty(head, rows)
        parts += [heading + ":", markdown_table(head, rows)]
    parts += NOTES
    return parts + [f"Skipped: {s['name']}: {s['reason']}."
                    for s in document["skipped"]]


def generic(rows):
    """Tables of dictionaries: one for each set of keys, in order.  Lists in
    them are for programs."""
    tables = []
    for row in rows:
        row = {k: v for k, v in row.items() if not isinstance(v, list)}
        keys = list(row)
        if not tables or tables[-1][0] != keys:
            tables.append((keys, []))
        tables[-1][1].append([number(v, 4) if isinstance(v, float) else v
                              for v in row.values()])
    return tables
