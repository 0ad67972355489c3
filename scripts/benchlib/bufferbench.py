# SPDX-License-Identifier: BSD-3-Clause
"""bench buffer: what the write buffer wins and costs.

Three servers, in interleaved rounds: nbdkit null (the floor), the plugin
without a write buffer, and with one.

  burst       4k random writes at depth 32, each page once, as many as fill
              15/16 of the buffer, which is empty when they begin
  repeated    4k random writes at depth 32 into half a buffer's worth of the
              disk, again and again: what counts is the server's CPU time
  sustained   4k random writes at depth 32 all over the disk, for longer than
              the buffer holds out

Of each the rate, the 99th percentile and the server's CPU time a write; and
the ratios to null and to the plugin without, of the same round.  At the end all
that was written is read back.
"""
import tempfile
import time

from . import common, report, results, servers
from .common import say
from .sampling import describe, metered, undisturbed

WITHOUT, WITH = "no write buffer", "write buffer"
TESTS = ("burst", "repeated", "sustained")
FIELDS = [results.Field("ops_s", "", "k/s", "higher", 1000),
          results.Field("p99_us", " p99", "us"), results.SERVER_CPU]


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.image = common.Image(options.work, options.size)
        self.buffer = common.parse_size(options.buffer)
        if self.buffer * 2 > self.image.size:
            raise common.BenchError("--size must be twice --buffer or more")
        self.loader = servers.Loader(common.build_loader(options.work),
                                     self.image)
        self.seed = 0
        self.servers = self.make_servers(folder)

    def make_servers(self, folder):
        command, size = common.plugin_command(self.options), self.image.size
        keys = " ".join(self.options.keys or [])
        null = servers.NullServer(report.FLOOR, ["nbdkit", "null"], [],
                                  [str(size)])
        without = servers.zram_server(command, keys + " write_buffer=0", size)
        buffered = servers.zram_server(
            command, f"{keys} write_buffer={self.options.buffer}", size)
        without.name, buffered.name = WITHOUT, WITH
        for number, server in enumerate((null, without, buffered)):
            server.start(folder, number)
        return [null, without, buffered]

    def load(self, server, test):
        share = self.buffer / self.image.size
        self.seed += 1
        if test == "burst":
            return self.loader.run(server, "overwrite", depth=32,
                                   cover=share * 15 / 16, seed=self.seed)
        first = {"first": share / 2} if test == "repeated" else {}
        return self.loader.run(server, "randwrite", depth=32, seed=self.seed,
                               seconds=self.options.seconds, **first)

    def sample(self, server, test):
        def one():
            if server.name == WITH:
                time.sleep(self.options.settle)
            return metered(server, lambda: self.load(server, test))

        return undisturbed(self.options, one)

    def measure(self):
        samples = []
        for server in self.servers:
            self.loader.run(server, "fill", size=256 << 10, depth=4)
        for turn in range(self.options.rounds):
            order = self.servers[turn % 3:] + self.servers[:turn % 3]
            for test in TESTS:
                for server in order:
                    samples.append({"round": turn, "test": test,
                                    "server": server.name,
                                    **self.sample(server, test)})
            say(f"round {turn + 1} of {self.options.rounds}")
        for server in self.servers[1:]:
            self.loader.run(server, "verify", size=256 << 10, depth=4)
        return samples

    def stop(self):
        for server in self.servers:
            server.stop()


def ratio(rounds, base):
    ratios = [rounds[r] / base[r] for r in rounds if base.get(r)]
    return "%.2f" % common.median(ratios) if ratios else "-"


def table(samples):
    """Medians, and those of the ratios to the others in the same round."""
    head = ["4k random write", report.FLOOR, WITHOUT, WITH,
            "with / null", "with / without"]
    rows = []
    for test in TESTS:
        for field in FIELDS:
            values = field.values(samples)
            by = {name: values[test, name] for name in head[1:4]}
            rows.append(
                [f"{test}{field.suffix}, {field.unit}"]
                + [report.number(common.median(by[name].values()), 4)
                   for name in head[1:4]]
                + [ratio(by[WITH], by[base])
                   for base in (report.FLOOR, WITHOUT)])
    return head, rows


def main(options):
    common.install(False)
    with tempfile.TemporaryDirectory(prefix="zram-bench.") as folder:
        bench = Bench(options, folder)
        try:
            samples = bench.measure()
        finally:
            bench.stop()
    cases = results.from_samples("buffer", samples, FIELDS,
                                 lambda _: report.FLOOR)
    doc = results.document("buffer", bench.image.facts, cases,
                           buffer=options.buffer, samples=samples)
    texts = ["Measured by `scripts/bench buffer`: "
             f"{common.machine_line(doc['machine'])}.",
             report.describe_image(bench.image.facts) + ".",
             describe(samples, options.foreign) + "."]
    print("\n" + "\n".join(texts))
    print("\n" + report.text_table(*table(samples)))
    results.write(options, doc,
                  texts + [report.markdown_table(*table(samples))])
    return 0
