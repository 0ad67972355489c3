# SPDX-License-Identifier: BSD-3-Clause
"""bench grow: what an operation and a stored slot cost as all of it grows.

   disks         1 GiB, 8 GiB, 16 GiB: the image over and over, each time
                 turned further, so that no place holds what another has there
   connections   1, 4, 16, 64, with 8 requests in flight each

Before that each disk is filled with one word, which takes no memory but the
table's: that is what the table costs.  All disks are up at once, with nbdkit
null as the floor; each load (4k random reads, then writes, over all of a disk)
visits them one after the other, in rounds.  The figures are operations a
second, the server's CPU time for one, and the memory for a stored slot: all of
it (mem_used_total, and the process's own), and the table's part.  A disk for
which there is no memory is left out, and the reason is printed.
"""
import tempfile
import time

from . import common, report, results, servers
from .common import say
from .sampling import describe, metered, undisturbed

DEPTH = 8
LOADS = (("read", "randread"), ("write", "randwrite"))
WORD_UNIT = 32 << 20
SLACK = 1 << 30         # Left to the machine.


def parse_list(option, text, one):
    try:
        return [one(word) for word in text.split(",")]
    except ValueError:
        raise common.BenchError(f"{option}: {text!r} is no list")


def test_name(load, connections):
    return f"{load} c{connections}"


class Grow:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.image = common.Image(options.work, options.size)
        self.loader = servers.Loader(common.build_loader(options.work),
                                     self.image)
        self.connections = parse_list("--connections", options.connections,
                                      int)
        self.servers, self.samples = [], []
        self.skipped, self.memory = [], {}
        self.seed = 0

    def need(self, size):
        """What a disk takes at most: its compressed pages as they come, the
        table, and something for what threads and the allocator waste."""
        share = self.image.facts.get("lz4_ratio", 1)
        return int(size * (share + 16 / common.PAGE) * 1.1)

    def start(self):
        """The floor, and the disks that there is memory for."""
        disks = parse_list("--disks", self.options.disks, str)
        command = common.plugin_command(self.options)
        self.image.warm()
        left = common.available_memory() - min(
            SLACK, common.available_memory() // 8)
        largest = 0
        for text in disks:
            size = common.parse_size(text)
            if self.need(size) > left:
                self.skip(text, f"it needs {self.need(size) >> 20} MiB of "
                          f"memory, and {max(left, 0) >> 20} are left")
                continue
            left -= self.need(size)
            largest = max(largest, size)
            server = servers.zram_server(command, self.options.zram, size)
            server.name, server.size = text, size
            self.servers.append(server)
        if not self.servers:
            raise common.BenchError("there is no memory for any disk")
        self.servers.insert(0, servers.NullServer(
            report.FLOOR, ["nbdkit", "null"], [], [str(largest)]))
        for number, server in enumerate(self.servers):
            server.start(self.folder, number, **(
                {"control": True} if server.stores else {}))

    def skip(self, name, reason):
        say(f"{name}: skipped: {reason}")
        self.skipped.append({"name": name, "reason": reason})

    def table_bytes(self, server):
        """What the table takes when every slot has something."""
        try:
            import nbd
        except ImportError:
            raise common.BenchError("this needs python3-libnbd")
        handle, unit = nbd.NBD(), min(WORD_UNIT, server.size)
        handle.connect_unix(server.socket)
        for at in range(0, server.size, unit):
            handle.pwrite(bytes([1]) * min(unit, server.size - at), at)
        handle.shutdown()
        return server.ask("stats")["mm"]["mem_used_total"]

    def fill(self, server):
        before = server.memory()["own"]
        table = self.table_bytes(server)
        result = self.loader.run(server, "fill", size=256 << 10, depth=4)
        time.sleep(0.5)             # The connection's threads end.
        stats = server.ask("stats")
        slots = stats["mm"]["orig_data_size"] // stats["slot_size"]
        used = stats["mm"]["mem_used_total"]
        own = server.memory()["own"] - before
        self.memory[server.name] = {
            "slots": slots, "mem_used_total": used, "table": table,
            "own": own, "stored": stats["mm"]["compr_data_size"],
            "used_per_slot": used / slots,
            "table_per_slot": table / slots,
            "own_per_slot": own / slots,
            "used_per_stored": used / stats["mm"]["compr_data_size"],
            "fill_mb_s": result["mb_s"]}
        say(f"{server.name}: filled at {result['mb_s']:.0f} MB/s, "
            f"{used / slots:.1f} bytes a slot")

    def sample(self, server, op, connections):
        self.seed += 1
        return undisturbed(self.options, lambda: metered(
            server, lambda: self.loader.run(
                server, op, depth=DEPTH, connections=connections,
                seed=self.seed, seconds=self.options.seconds)))

    def round(self, number):
        shift = number % len(self.servers)
        order = self.servers[shift:] + self.servers[:shift]
        for load, op in LOADS:
            for connections in self.connections:
                for server in order:
                    self.samples.append({
                        "round": number, "server": server.name,
                        "test": test_name(load, connections),
                        **self.sample(server, op, connections)})
        say(f"round {number + 1} of {self.options.rounds}")

    def measure(self):
        self.start()
        for server in self.servers[1:]:
            self.fill(server)
        for number in range(self.options.rounds):
            self.round(number)
        for server in self.servers[1:]:
            self.loader.run(server, "verify", size=256 << 10, depth=4)

    def stop(self):
        for server in self.servers:
            server.stop()

    def cases(self):
        cases = results.from_samples(
            "grow", self.samples,
            [results.Field("ops_s", "", "k/s", "higher", 1000),
             results.SERVER_CPU] + results.LATENCY, lambda _: report.FLOOR)
        for name, memory in self.memory.items():
            for key, test in MEMORY:
                cases.append(results.case("grow", test, name, "bytes/slot",
                                          "lower", [memory[key]]))
            cases.append(results.case("grow", "fill", name, "MB/s", "higher",
                                      [memory["fill_mb_s"]]))
        return cases


MEMORY = [("used_per_slot", "memory"), ("table_per_slot", "table"),
          ("own_per_slot", "memory of the process")]


def speed_table(cases, suffix, unit, grow, digits):
    """Connections down, disks across."""
    found = {(c["test"], c["subject"]): c for c in cases}
    names = [s.name for s in grow.servers]
    rows = []
    for load, _ in LOADS:
        for n in grow.connections:
            entries = [found.get((test_name(load, n) + suffix, name))
                       for name in names]
            rows.append([f"{load}, {n} connection" + ("s" if n > 1 else "")]
                        + [report.number(e["median"], digits) if e else "-"
                           for e in entries])
    return [f"4k random, {unit}"] + names, rows


def memory_table(grow):
    head = ["memory, bytes a stored slot", "mem_used_total",
            "of it the table", "own memory of the process",
            "mem_used_total per byte stored", "fill, MB/s"]
    return head, [[name, f"{m['used_per_slot']:.1f}",
                   f"{m['table_per_slot']:.2f}", f"{m['own_per_slot']:.1f}",
                   f"{m['used_per_stored']:.4f}", f"{m['fill_mb_s']:.0f}"]
                  for name, m in grow.memory.items()]


def main(options):
    common.install(False)
    with tempfile.TemporaryDirectory(prefix="zram-bench.") as folder:
        grow = Grow(options, folder)
        try:
            grow.measure()
        finally:
            grow.stop()
    cases = grow.cases()
    doc = results.document("grow", grow.image.facts, cases,
                           skipped=grow.skipped, memory=grow.memory,
                           samples=grow.samples)
    tables = [speed_table(cases, "", "k/s", grow, 3),
              speed_table(cases, " server CPU", "server CPU us", grow, 3),
              memory_table(grow)]
    texts = [f"Measured by `scripts/bench grow`: "
             f"{common.machine_line(doc['machine'])}.",
             f"{DEPTH} requests in flight a connection; "
             + report.describe_image(grow.image.facts) + ", over and over.",
             describe(grow.samples, options.foreign) + "."]
    texts += [f"Skipped: {s['name']}: {s['reason']}." for s in grow.skipped]
    print("\n" + "\n".join(texts))
    for one in tables:
        print("\n" + report.text_table(*one))
    results.write(options, doc,
                  texts + [report.markdown_table(*one) for one in tables])
    return 0
