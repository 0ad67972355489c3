# SPDX-License-Identifier: BSD-3-Clause
"""bench nbd: all servers side by side, in interleaved rounds.

   round 1   test 1: A B C D   test 2: A B C D   ...
   round 2   test 1: B C D A   test 2: B C D A   ...
   ...
                     '-----'
   samples that are compared lie seconds apart, so what the machine does
   besides, which changes by the minute, meets them all alike

The first server is the floor (nbdkit null): each sample is also divided by
the floor's of the same test and round.
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from . import common, report, results, servers, threads
from .common import BenchError, say
from .sampling import metered, undisturbed


class Test:
    """One thing to measure.  run(bench, server) gives what nbdload prints,
    or at least ops and the headline number."""

    def __init__(self, name, title, unit, headline, scale, run, prepare=None):
        self.name, self.title, self.unit = name, title, unit
        self.headline, self.scale = headline, scale
        self.run, self.prepare = run, prepare


def copy_in(bench, server):
    seconds = bench.nbdcopy("--flush", bench.image.name, server.uri)
    server.holds_image()
    return {"mb_s": bench.image.size / seconds / 1e6, "seconds": seconds,
            "ops": bench.image.size // common.PAGE}


def copy_out(*options):
    """Without --no-extents nbdcopy asks nbdkit null for its map, learns that
    all of it is a hole, and copies nothing: no floor to compare with."""
    def run(bench, server):
        seconds = bench.nbdcopy(*options, server.uri, "null:")
        return {"mb_s": bench.image.size / seconds / 1e6, "seconds": seconds,
                "ops": bench.image.size // common.PAGE}
    return run


def empty(bench, server):
    bench.loader.run(server, "discardall", size=1 << 20, depth=4)
    server.content_unknown()


def load(op, **keys):
    def run(bench, server):
        pinned = keys.get("depth") == 1
        extra = {"cpu": 0} if pinned else {}
        previous = pin_new_threads(server.pid, 1) if pinned else None
        try:
            return bench.loader.run(server, op, seconds=bench.seconds,
                                    seed=bench.next_seed(), **keys, **extra)
        finally:
            if previous:
                os.sched_setaffinity(server.pid, previous)
    return run


def pin_new_threads(pid, cpu):
    """At depth 1 the result depends on which core wakes: the client runs on
    CPU 0 and the threads of new connections on another.  They inherit it
    from nbdkit's first thread; a plugin's own workers keep their freedom."""
    previous = os.sched_getaffinity(pid)
    if cpu not in previous:
        return None
    os.sched_setaffinity(pid, {cpu})
    return previous


def fio(mode):
    def run(bench, server):
        if mode == "randwrite":
            server.content_unknown()
        out = subprocess.run(
            ["fio", "--name=bench", "--ioengine=nbd",
             f"--uri={server.uri}",
             f"--rw={mode}", "--bs=4k", "--iodepth=32", "--time_based",
             f"--runtime={int(bench.seconds * 1000)}ms",
             f"--size={bench.image.size}", "--output-format=json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=bench.folder)
        server.check()
        if out.returncode != 0:
            raise BenchError(f"{server.name}: fio: {out.stderr.strip()}")
        job = json.loads(out.stdout[out.stdout.index("{"):])["jobs"][0]
        side = job["write" if mode == "randwrite" else "read"]
        points = side["clat_ns"].get("percentile", {})
        result = {"ops": side["total_ios"], "ops_s": side["iops"]}
        for name, key in (("p50_us", "50.000000"), ("p99_us", "99.000000"),
                          ("p999_us", "99.900000")):
            result[name] = points.get(key, 0) / 1000
        return result
    return run


TESTS = [
    Test("in", "nbdcopy in, over data", "MB/s", "mb_s", 1, copy_in),
    Test("in-empty", "nbdcopy in, empty disk", "MB/s", "mb_s", 1, copy_in,
         empty),
    Test("out", "nbdcopy out, every page", "MB/s", "mb_s", 1,
         copy_out("--no-extents")),
    Test("out-map", "nbdcopy out, holes left out", "MB/s", "mb_s", 1,
         copy_out()),
    Test("read4k", "4k random read, depth 32", "k/s", "ops_s", 1000,
         load("randread", depth=32)),
    Test("read4k-d1", "4k random read, depth 1", "k/s", "ops_s", 1000,
         load("randread", depth=1)),
    Test("seq256k", "256k sequential read, depth 4", "MB/s", "mb_s", 1,
         load("seqread", size=256 << 10, depth=4)),
    Test("seq256k-d1", "256k sequential read, depth 1", "MB/s", "mb_s", 1,
         load("seqread", size=256 << 10, depth=1)),
    Test("write4k", "4k random write, depth 32", "k/s", "ops_s", 1000,
         load("randwrite", depth=32)),
    Test("write4k-c4", "4k random write, 4 connections x 8", "k/s", "ops_s",
         1000, load("randwrite", connections=4, depth=8)),
    Test("fio-read", "fio 4k random read, depth 32", "k/s", "ops_s", 1000,
         fio("randread")),
    Test("fio-write", "fio 4k random write, depth 32, synthetic", "k/s",
         "ops_s", 1000, fio("randwrite")),
]
DEFAULT_TESTS = ["in", "in-empty", "out", "read4k", "seq256k", "seq256k-d1",
                 "write4k", "write4k-c4"]


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.seconds = options.seconds
        self.threads = (threads.parse(options.threads) if options.threads
                        else [])
        self.image = common.Image(options.work, options.size)
        self.loader = servers.Loader(common.build_loader(options.work),
                                     self.image)
        self.seed = 0
        self.samples, self.errors, self.skipped = [], [], []
        self.servers = []

    def next_seed(self):
        self.seed += 1
        return self.seed

    def nbdcopy(self, *words):
        start = time.monotonic()
        done = subprocess.run(["nbdcopy", *words], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise BenchError(f"nbdcopy {' '.join(words)}: "
                             + done.stderr.strip())
        return time.monotonic() - start

    def choose_servers(self):
        size, o = self.image.size, self.options
        add = self.servers.append
        add(servers.NullServer("null", ["nbdkit", "null"], [], [str(size)]))
        for text in o.null or []:
            options = servers.split_config(text)[0]
            add(servers.NullServer(" ".join(["null"] + options),
                                   ["nbdkit", "null"], options, [str(size)]))
        if o.peers:
            add(servers.other_server(common.build_bare_plugin(o.work), size))
            for allocator in ("sparse", "zstd"):
                add(servers.memory_server(allocator, size))
            self.add_kernel_zram()
        for text in o.other or []:
            add(servers.other_server(text, size))
        self.servers += threads.null_servers(self.threads, size)
        if not o.no_zram:
            command = common.plugin_command(o)
            for config in self.zram_configurations():
                add(servers.zram_server(command, config, size))

    def zram_configurations(self):
        """As they were given; with --threads so often, with each -t."""
        plain = self.options.zram or [""]
        if not self.threads:
            return plain
        return [threads.with_threads(n, config)
                for config in plain for n in self.threads]

    def add_kernel_zram(self):
        reason = servers.kernel_zram_missing()
        if reason:
            self.skip("kernel zram", reason)
            return
        for name, kind, keys in (
                ("kernel zram", servers.KernelZram, []),
                ("kernel zram cache=none", servers.KernelZram,
                 ["cache=none"]),
                ("kernel zram qemu-nbd", servers.QemuNbdZram, [])):
            if not shutil.which(kind.serve[0]):
                self.skip(name, f"there is no {kind.serve[0]}")
                continue
            device = servers.open_zram_device(self.image.size)
            if device is None:
                self.skip(name, "no other zram device can be had")
            else:
                self.servers.append(kind(name, device, keys))

    def skip(self, name, reason):
        say(f"{name}: skipped: {reason}")
        self.skipped.append({"name": name, "reason": reason})

    def drop(self, server, error):
        """A server that failed is out; the others go on."""
        say("ERROR:", error)
        self.errors.append(str(error))
        server.stop()
        self.servers.remove(server)
        if not self.servers or server.name == "null":
            raise BenchError("cannot go on without it")

    def fill(self, server):
        """The first fill of an empty disk: its memory, and its content."""
        before = server.memory()
        copy_in(self, server)
        time.sleep(0.5)
        after = server.memory()
        if server.kernel:
            server.facts["mm_stat"] = server.device.mm_stat()
        server.facts["memory"] = {
            "start": before, "filled": after,
            "own_per_byte": after["own"] / self.image.size,
            "rss_per_byte": after["rss"] / self.image.size}
        self.verify(server)

    def verify(self, server):
        if server.model_valid:
            server.before_sample()
            self.loader.run(server, "verify", size=256 << 10, depth=4)

    def sample(self, test, server):
        def once():
            if test.prepare:
                test.prepare(self, server)
            server.before_sample()
            return metered(server, lambda: test.run(self, server))

        result = undisturbed(self.options, once)
        result["value"] = result[test.headline] / test.scale
        return result

    def round(self, number, tests):
        shift = number % len(self.servers)
        for test in tests:
            line = []
            for server in self.servers[shift:] + self.servers[:shift]:
                try:
                    result = self.sample(test, server)
                except BenchError as error:
                    self.drop(server, error)
                    continue
                self.samples.append({"round": number, "test": test.name,
                                     "server": server.name, **result})
                disturbed = result["foreign_share"] > self.options.foreign
                line.append(f"{server.name} {result['value']:.1f}"
                            + ("*" if disturbed else ""))
            say(f"round {number + 1}: {test.title}, {test.unit}:",
                ", ".join(line))

    def start(self):
        names = [s.name for s in self.servers]
        if len(set(names)) != len(names):
            raise BenchError("two servers of the same configuration")
        for number, server in enumerate(self.servers):
            server.start(self.folder, number)
        self.image.warm()
        for server in list(self.servers):
            say("filling", server.name)
            try:
                self.fill(server)
            except BenchError as error:
                self.drop(server, error)

    def finish(self):
        """All that was written since must still be there."""
        for server in list(self.servers):
            try:
                self.verify(server)
            except BenchError as error:
                self.drop(server, error)

    def document(self, tests, order):
        return results.document(
            "nbd", self.image.facts, self.cases(tests, order), self.errors,
            skipped=self.skipped, rounds=self.options.rounds,
            seconds=self.seconds, foreign_limit=self.options.foreign,
            threads=self.threads, configurations=self.options.zram or [""],
            tests=[{"name": t.name, "title": t.title, "unit": t.unit}
                   for t in tests],
            servers=[s.facts for s in order], samples=self.samples)

    def cases(self, tests, order):
        """The times of all tests, then the memory of all servers."""
        fields = results.LATENCY + [results.SERVER_CPU]
        cases = []
        for test in tests:
            cases += results.from_samples(
                "nbd", [s for s in self.samples if s["test"] == test.name],
                [results.Field("value", "", test.unit, "higher")] + fields,
                lambda server: report.FLOOR)
        return cases + [
            results.case("nbd", "memory filled", s.name, "bytes/byte",
                         "lower", [s.facts["memory"]["own_per_byte"]])
            for s in order if "memory" in s.facts and s.stores]


def choose_tests(options):
    names = DEFAULT_TESTS + (["fio-read", "fio-write"] if options.fio else [])
    if options.tests:
        names = options.tests.split(",")
    known = {t.name for t in TESTS}
    for name in names:
        if name not in known:
            raise BenchError(f"--tests: {name!r} is none of "
                             + " ".join(t.name for t in TESTS))
    return [t for t in TESTS if t.name in names]


def main(options):
    tests = choose_tests(options)
    common.install(any(t.name.startswith("fio") for t in tests))
    with tempfile.TemporaryDirectory(prefix="zram-bench.") as folder:
        bench = Bench(options, folder)
        order = []
        try:
            bench.choose_servers()
            order = list(bench.servers)
            # null keeps nothing; the rest at worst all of it, twice where
            # the page cache has it too.
            storing = sum(s.stores for s in order)
            common.check_memory(int(bench.image.size * (1.3 * storing + 1)))
            bench.start()
            for number in range(options.rounds):
                bench.round(number, tests)
            bench.finish()
        finally:
            ignore_signals()
            for server in order or bench.servers:
                server.stop()
        document = bench.document(tests, order)
    report.nbd(document, options)
    return 1 if bench.errors else 0


def ignore_signals():
    """A second Ctrl-C must not leave servers and devices behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
