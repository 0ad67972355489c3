# SPDX-License-Identifier: BSD-3-Clause
"""bench memory: what a server keeps of the memory it once needed.

   start -> first use -> fill -> overwrite half at random, four times
   -> discard half at random -> discard all

After each step the memory of the process is read three times: while the
connection is open and idle, after it was closed, and once more after a pause
in which a background pass may have tidied up.  It is compared with what is
stored: the compressed bytes that the plugin itself reports (the line `zram:
stats:` that -D zram.stats=1 makes it print when a connection closes), or the
mm_stat of the kernel's zram; where neither is to be had, with what lz4 makes
of the same pages (marked ~).  After each step all of the disk is read back
and compared.

The servers are measured one after another; the speed of a step is not compared
in rounds, so look at it only for large differences (bench nbd --zram has it
better), as at the time that recompression takes.

Recompression: the disk is filled by lz4, all of it is recompressed by hand,
once for each method, and read back; what is stored before is 1.
"""
import tempfile
import time

from . import common, report, results, servers
from .common import BenchError, say

# A step: its name, nbdload's operation and its keys.  `unit` stands for the
# slot size; a large size only saves time where all of the disk is visited.
# The first use: what nbdkit's threads keep for themselves from the first
# connection on is seen before anything is stored.
STEPS = [("first use", "discardall", {"size": 1 << 20, "depth": 4}),
         ("fill", "fill", {"size": 256 << 10, "depth": 4})]
STEPS += [(f"overwrite {n}", "overwrite",
           {"cover": 0.5, "seed": n, "depth": 16}) for n in (1, 2, 3, 4)]
STEPS += [("compact", None, {}),
          ("discard half", "discard", {"cover": 0.5, "seed": 9, "depth": 16}),
          ("compact again", None, {}),
          ("discard all", "discardall", {"size": 1 << 20, "depth": 4})]

# Methods of recompress=; with train+ a dictionary is trained before.
METHODS = ["lz4hc:level=9", "zstd:level=3", "zstd:level=9",
           "train+zstd:level=9", "zstd:level=19"]

STATS_WAIT = 2                  # Seconds in which a stats line must come.


class Subject:
    """A server and the unit in which it is overwritten and discarded."""

    def __init__(self, server, unit):
        self.server, self.unit = server, unit


class MemoryBench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.image = common.Image(options.work, options.size)
        self.loader = servers.Loader(common.build_loader(options.work),
                                     self.image)

    def subjects(self):
        """One server after another, each made when its turn comes."""
        o, size = self.options, self.image.size
        unit = common.parse_size(o.unit) if o.unit else None
        if not o.no_zram:
            command = common.plugin_command(o)
            for config in configurations(o):
                yield Subject(servers.zram_server(command, config, size),
                              unit or slot_size(config))
        if not o.peers:
            return
        for allocator in ("zstd", "sparse"):
            yield Subject(servers.memory_server(allocator, size),
                          unit or 32 << 10)
        reason = servers.kernel_zram_missing()
        if reason:
            say("kernel zram: skipped:", reason)
        else:
            device = servers.open_zram_device(size)
            yield Subject(servers.KernelZram("kernel zram", device, []),
                          unit or common.PAGE)

    def stored(self, server, seen):
        """Statistics of what is stored, and a mark if they are a guess."""
        if server.kernel:
            server.device.flush()
            return server.device.mm_stat(), ""
        deadline = time.monotonic() + (STATS_WAIT if seen is not None else 0)
        while server.stats and time.monotonic() < deadline:
            if len(server.stats.found) > seen:
                return server.stats.found[-1], ""
            time.sleep(0.02)
        packed = self.loader.live_bytes(server)[1]
        return ({"compr_data_size": packed} if packed is not None else {},
                "~")

    def do(self, subject, name, op, keys):
        """Run one step; returns its row, or None if it does not apply."""
        server, row = subject.server, {"step": name}
        seen = len(server.stats.found) if server.stats else None

        def look(when):
            row[when] = server.memory()

        if op is None:
            if not server.compact():
                return None
            look("open")
        else:
            keys = {"size": subject.unit, **keys}
            row["mb_s"] = self.loader.run_held(
                server, op, lambda: look("open"), **keys)["mb_s"]
        # The threads of a connection end after the client has gone.
        time.sleep(0.3)
        look("closed")
        if op is None:  # Nothing was stored, and nothing freed.
            row["stats"], row["mark"] = self.last_stored
        else:
            row["stats"], row["mark"] = self.stored(server, seen)
        self.last_stored = row["stats"], row["mark"]
        time.sleep(self.options.settle)
        look("settled")
        row["live"] = self.loader.live_bytes(server)[0]
        if self.options.verify:
            server.before_sample()
            self.loader.run(server, "verify", size=256 << 10, depth=4)
        return row

    def measure(self, subject):
        server = subject.server
        try:
            server.start(self.folder, 0, stats=True)
            server.holds_image()
            rows = [{"step": "start", "settled": server.memory()}]
            for name, op, keys in STEPS:
                row = self.do(subject, name, op, keys)
                if row:
                    rows.append(row)
                    say(f"{server.name}: {name}: "
                        f"{row['settled']['own'] / 1e6:.1f} MB")
        finally:
            server.stop()
        return {**server.facts, "unit": subject.unit, "steps": rows}


class RecompressBench:
    """One row for each method."""

    def __init__(self, bench):
        self.options, self.folder = bench.options, bench.folder
        self.image, self.loader = bench.image, bench.loader

    def rows(self):
        command = common.plugin_command(self.options)
        methods = (self.options.recompress.split(";")
                   if self.options.recompress else METHODS)
        for method in methods:
            trained, method = (method.startswith("train+"),
                               method.removeprefix("train+"))
            server = servers.zram_server(
                command, f"recompress={method} auto_recompress=0",
                self.image.size)
            row = self.measure(server, trained)
            row["method"] = ("train+" if trained else "") + method
            say(f"recompress {row['method']}: {row['ratio']:.4f}")
            yield row

    def measure(self, server, trained):
        try:
            server.start(self.folder, 0, stats=True)
            self.loader.run(server, "fill", size=256 << 10, depth=4)
            server.holds_image()
            before = server.ask("stats")["mm"]
            gains = server.run_job("train")["codecs"] if trained else []
            begin = time.monotonic()
            result = server.run_job("recompress")
            seconds = time.monotonic() - begin
            server.compact()
            after = server.ask("stats")
            self.loader.run(server, "verify", size=256 << 10, depth=4)
        finally:
            server.stop()
        key = "compr_data_size"
        return {"before": before, "after": after["mm"], "seconds": seconds,
                "ratio": after["mm"][key] / before[key],
                "dictionaries": after["dictionaries"]["memory"],
                "train": gains, **result}


RECOMPRESS_HEAD = ["recompressed with", "stored MB", "before", "ratio",
                   "memory ratio", "dictionaries MB", "slots", "in vain",
                   "us a slot"]


def recompress_cells(row):
    before, after = row["before"], row["after"]
    tried = row["recompressed"] + row["vain"]
    return [row["method"], report.number(after["compr_data_size"] / 1e6, 4),
            report.number(before["compr_data_size"] / 1e6, 4),
            f"{row['ratio']:.4f}",
            f"{after['mem_used_total'] / before['mem_used_total']:.4f}",
            f"{row['dictionaries'] / 1e6:.2f}", row["recompressed"],
            row["vain"], f"{row['seconds'] * 1e6 / max(tried, 1):.1f}"]


def slot_size(config):
    for word in servers.split_config(config)[1]:
        if word.startswith("slot_size="):
            return max(common.parse_size(word.split("=")[1]), common.PAGE)
    return common.PAGE


def configurations(options):
    """--zram as given; else each of --algorithm with each of --slot-size and
    --allocator; else lz4 as it comes, with either allocator, and what compares
    with memory allocator=zstd."""
    if options.zram:
        return options.zram
    if options.algorithm or options.slot_size or options.allocator:
        return [f"algorithm={a} slot_size={s} allocator={m}"
                for a in (options.algorithm or "lz4").split(",")
                for s in (options.slot_size or "4k").split(",")
                for m in (options.allocator or "zsmalloc").split(",")]
    return ["algorithm=lz4 slot_size=4k",
            "algorithm=lz4 slot_size=4k allocator=z3fold",
            "algorithm=zstd slot_size=32k"]


KERNEL = "kernel zram"           # What the ratios are to.


def step_value(row, per):
    """Memory at rest for each live byte, or for each that the server itself
    reports as stored."""
    base = row.get("live") if per == "live" \
        else not row.get("mark") and row.get("stats", {}).get(
            "compr_data_size")
    return row["settled"]["own"] / base if base else None


def step_cases(found):
    cases = []
    for per in ("stored", "live"):
        values = [(row["step"], server["name"], step_value(row, per))
                  for server in found for row in server["steps"]]
        kernel = {step: value for step, name, value in values
                  if name == KERNEL}
        for step, name, value in values:
            floor = kernel.get(step)
            if value is not None:
                cases.append(results.case(
                    "memory", f"{step}, per {per} byte", name, "bytes/byte",
                    "lower", [value], floor and (KERNEL, {0: floor})))
    return cases


def speed_cases(found):
    return [results.case("memory", f"{row['step']}, speed", server["name"],
                         "MB/s", "higher", [row["mb_s"]])
            for server in found for row in server["steps"]
            if row["step"].startswith(("fill", "overwrite"))]


def recompress_cases(rows):
    cases = []
    for row in rows:
        tried = max(row["recompressed"] + row["vain"], 1)
        cases += [results.case("memory", "recompressed", row["method"],
                               "bytes/byte", "lower", [row["ratio"]]),
                  results.case("memory", "recompression", row["method"],
                               "us/slot", "lower",
                               [row["seconds"] * 1e6 / tried])]
    return cases


HEAD = ["step", "open MB", "closed MB", "settled MB", "Rss MB",
        "per live byte", "stored MB", "per stored byte", "Rss per stored byte",
        "same", "huge", "MB/s"]


def cells(row):
    """One step as a row of the table."""
    def mb(when, what="own"):
        return report.number(row[when][what] / 1e6, 4) if when in row else ""

    stats = row.get("stats", {})
    packed, settled = stats.get("compr_data_size"), row["settled"]["own"]
    live = row.get("live")
    return [row["step"], mb("open"), mb("closed"), mb("settled"),
            mb("settled", "rss"),
            f"{settled / live:.4f}" if live else "",
            row["mark"] + report.number(packed / 1e6, 4)
            if packed is not None else "",
            f"{settled / packed:.4f}" if packed else "",
            f"{row['settled']['rss'] / packed:.4f}" if packed else "",
            stats.get("same_pages", ""), stats.get("huge_pages", ""),
            report.number(row.get("mb_s"))]


def print_report(document, options):
    print("\n" + common.machine_line(document["machine"]))
    print(report.describe_image(document["image"]))
    parts = []
    for server in document["servers"]:
        title = (f"{server['name']}, overwritten and discarded in units of "
                 f"{server['unit'] >> 10} KiB")
        rows = [cells(r) for r in server["steps"]]
        print(f"\n{title}\n\n{report.text_table(HEAD, rows)}")
        parts += [title + ":", report.markdown_table(HEAD, rows)]
    if document["recompress"]:
        rows = [recompress_cells(r) for r in document["recompress"]]
        title = "Filled by lz4, then recompressed"
        print(f"\n{title}\n\n{report.text_table(RECOMPRESS_HEAD, rows)}")
        parts += [title + ":", report.markdown_table(RECOMPRESS_HEAD, rows)]
    print("\nMemory is what the process alone has written, but for Rss, "
          "which has program files\ntoo (kernel zram: mem_used_total).\n"
          "~: not reported by the server: what lz4 makes of the same 4 KiB "
          "pages.")
    results.write(options, document, parts)


def main(options):
    common.install(False)
    errors, found = [], []
    with tempfile.TemporaryDirectory(prefix="zram-bench.") as folder:
        bench = MemoryBench(options, folder)
        common.check_memory(3 * bench.image.size)
        for subject in bench.subjects():
            try:
                found.append(bench.measure(subject))
            except BenchError as error:
                say("ERROR:", error)
                errors.append(str(error))
        recompressed = []
        try:
            if not options.no_zram and options.recompress != "none":
                recompressed.extend(RecompressBench(bench).rows())
        except BenchError as error:
            say("ERROR:", error)
            errors.append(str(error))
    document = results.document(
        "memory", bench.image.facts,
        step_cases(found) + speed_cases(found)
        + recompress_cases(recompressed), errors,
        settle=options.settle, servers=found, recompress=recompressed)
    print_report(document, options)
    return 1 if errors else 0
