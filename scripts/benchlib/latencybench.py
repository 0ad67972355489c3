# SPDX-License-Identifier: BSD-3-Clause
"""bench latency: random reads while a background pass runs without a pause.

Compaction.
Two servers that differ only in that: one never compacts, in the other the
compactor never rests (-D zram.compact=1).  Before each sample half of the disk
is overwritten at random, and while it lasts a second client goes on writing
at depth 1, so that there is always something to compact; both servers get the
same.  Samples alternate, and the order turns with each round.

Recompression.  One server, whose slots are recompressed with zstd level 9 as
fast as a pass by hand goes, or not at all.  Before each sample all of the disk
is written again, so that there is something to recompress.

Writeback.  One server with a file in /dev/shm as its backing store.  The first
quarter of the disk is read, which is in memory all the time; the others are
written back by hand meanwhile, or not at all.  Before each sample, which is a
quarter as long as others so that the pass outlasts it, all of the disk is
written again.
"""
import os
import subprocess
import tempfile
import time

from . import common, report, results, sampling, servers
from .common import say

DEPTHS = (1, 32)
COMPACTION = ("no compaction", "compaction without a pause")
RECOMPRESSION = ("no recompression", "recompression by hand")
WRITEBACK = ("no writeback", "writeback by hand")
RESIDENT = 0.25             # Of the disk, from its start.


def make_servers(options, size):
    command = common.plugin_command(options)
    still = servers.zram_server(command, "compact_threshold=0", size)
    busy = servers.zram_server(command, "-Dzram.compact=1", size)
    still.name, busy.name = COMPACTION
    for server in (still, busy):
        server.stores = False       # Two writers at once: no model.
    return [still, busy]


def sample_compaction(loader, server, depth, seconds):
    churn = subprocess.Popen(
        loader.words(server, "randwrite", {"depth": 1,
                                           "seconds": seconds + 0.5}),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return loader.run(server, "randread", depth=depth, seconds=seconds)
    finally:
        churn.wait()


def take(options, server, prepare, run):
    """A sample, and again from its preparation on if others disturbed it."""
    def once():
        prepare()
        return sampling.metered(server, run)

    return sampling.undisturbed(options, once)


def measure(options, folder):
    image = common.Image(options.work, options.size)
    loader = servers.Loader(common.build_loader(options.work), image)
    samples = []
    both = make_servers(options, image.size)
    try:
        for number, server in enumerate(both):
            server.start(folder, number)
            loader.run(server, "fill", size=256 << 10, depth=4)
        for turn in range(options.rounds):
            for depth in DEPTHS:
                for server in both if turn % 2 == 0 else both[::-1]:
                    result = take(
                        options, server,
                        lambda: loader.run(server, "overwrite", cover=0.5,
                                           depth=16),
                        lambda: sample_compaction(loader, server, depth,
                                                  options.seconds))
                    samples.append({"round": turn, "server": server.name,
                                    "test": f"read d{depth}", **result})
            say(f"round {turn + 1} of {options.rounds}")
    finally:
        for server in both:
            server.stop()
    return image, samples


def sample_recompression(loader, server, busy, depth, seconds):
    if not busy:
        return loader.run(server, "randread", depth=depth, seconds=seconds)
    job = server.ask("recompress")["job"]
    result = loader.run(server, "randread", depth=depth, seconds=seconds)
    # What ended before is no pass that requests had to live with.
    result["pass_ran_on"] = server.ask("job", id=job)["state"] == "running"
    server.ask("job_cancel", id=job)
    while server.ask("job", id=job)["state"] == "running":
        time.sleep(0.01)
    return result


def sample_writeback(loader, server, busy, depth, seconds):
    slots = loader.image.size // 4096
    keys = {"depth": depth, "seconds": seconds / 4, "first": RESIDENT}
    if not busy:
        return loader.run(server, "randread", **keys)
    job = server.ask("writeback", page_indexes=[
        [int(slots * RESIDENT), slots - 1]])["job"]
    result = loader.run(server, "randread", **keys)
    state = server.ask("job", id=job)
    result["pass_ran_on"] = state["state"] == "running"
    # What it did beside the reads; afterwards it goes faster.
    result["writeback_mb_s"] = (state["done"] * 4096 / 1e3
                                / max(state["elapsed_ms"], 1))
    server.ask("job_cancel", id=job)
    while (state := server.ask("job", id=job))["state"] == "running":
        time.sleep(0.01)
    if state["state"] == "failed":
        raise common.BenchError("writeback: " + state["message"])
    return result


def measure_beside(options, folder, image, loader, what, number, config,
                   one, names):
    """One server, with and without a pass of its own, in turns."""
    server = servers.zram_server(common.plugin_command(options), config,
                                 image.size)
    samples = []
    try:
        server.start(folder, number, control=True)
        for turn in range(options.rounds):
            for depth in DEPTHS:
                for busy in (0, 1) if turn % 2 == 0 else (1, 0):
                    result = take(
                        options, server,
                        lambda: loader.run(server, "fill", size=256 << 10,
                                           depth=4),
                        lambda: one(loader, server, busy, depth,
                                    options.seconds))
                    if not result.get("pass_ran_on", True):
                        say("the pass ended before the sample did")
                    samples.append({"round": turn, "test": f"read d{depth}",
                                    "server": names[busy], **result})
            say(f"{what}: round {turn + 1} of {options.rounds}")
    finally:
        server.stop()
    return samples


def measure_recompression(options, folder, image, loader):
    return measure_beside(options, folder, image, loader, "recompression", 9,
                          "recompress=zstd:level=9 auto_recompress=0",
                          sample_recompression, RECOMPRESSION)


def measure_writeback(options, folder, image, loader):
    store = f"/dev/shm/zram-bench.{os.getpid()}"
    try:
        return measure_beside(
            options, folder, image, loader, "writeback", 10,
            f"backing={store} backing_size={2 * image.size}",
            sample_writeback, WRITEBACK)
    finally:
        if os.path.exists(store):
            os.unlink(store)


def medians(samples, depth, key, names):
    """Of each server, and of the second's ratio to the first in a round."""
    by_round = {}
    for s in samples:
        if s["test"] == f"read d{depth}":
            by_round.setdefault(s["round"], {})[s["server"]] = s[key]
    pairs = [tuple(r[name] for name in names) for r in by_round.values()]
    ratios = [b / a for a, b in pairs if a]
    return (common.median([a for a, _ in pairs]),
            common.median([b for _, b in pairs]), common.median(ratios))


def table(samples, names):
    rows = []
    for depth in DEPTHS:
        for key, unit in (("p50_us", "p50 us"), ("p99_us", "p99 us"),
                          ("p999_us", "p99.9 us"), ("ops_s", "ops/s")):
            a, b, ratio = medians(samples, depth, key, names)
            rows.append([f"depth {depth}, {unit}", report.number(a, 4),
                         report.number(b, 4), f"{ratio:.2f}"])
    return ["4k random read", *names, "ratio"], rows


def main(options):
    common.install(False)
    with tempfile.TemporaryDirectory(prefix="zram-bench.") as folder:
        image, samples = measure(options, folder)
        loader = servers.Loader(common.build_loader(options.work), image)
        again = measure_recompression(options, folder, image, loader)
        back = measure_writeback(options, folder, image, loader)
    speed = common.median([s["writeback_mb_s"] for s in back
                           if "writeback_mb_s" in s])
    finish(options, image, {COMPACTION: samples, RECOMPRESSION: again,
                            WRITEBACK: back}, speed)
    return 0


def cases(groups, speed):
    """Each pass is compared with the same reads without it."""
    found = []
    for names, samples in groups.items():
        found += results.from_samples(
            "latency", samples,
            results.LATENCY + [results.Field("ops_s", "", "ops/s", "higher")],
            lambda _: names[0])
    return found + [results.case("latency", "writeback beside reads",
                                 WRITEBACK[1], "MB/s", "higher", [speed])]


def finish(options, image, groups, speed):
    doc = results.document(
        "latency", image.facts, cases(groups, speed),
        samples=[s for samples in groups.values() for s in samples])
    tables = [table(samples, names) for names, samples in groups.items()]
    print("\n" + common.machine_line(doc["machine"]))
    print(report.describe_image(image.facts))
    print(sampling.describe(doc["samples"], options.foreign))
    for one in tables:
        print("\n" + report.text_table(*one))
    print(f"\nwritten back beside the reads: {speed:.0f} MB/s")
    results.write(options, doc, [report.markdown_table(*one)
                                 for one in tables])
