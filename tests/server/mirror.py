# SPDX-License-Identifier: BSD-3-Clause
"""Moves a disk of a QEMU storage daemon onto the plugin, and away again,
while it is written to.

  mirror.py QMP-SOCKET EXPORT-SOCKET PLUGIN-SOCKET FILE

The daemon exports the node "from", which holds what FILE does; its nodes
"zram" (the plugin) and "to" become its place in turn.  FILE is in the
end what "to" must hold.
"""

import json
import socket
import threading

from zramtest import (K, M, Data, Model, check, connect, os, random, same,
                      seed, sys, time)


class Qmp:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        for _ in range(600):
            try:
                self.s.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        self.s.settimeout(120)
        self.f = self.s.makefile("rb")
        self.events = []
        self._next()                                    # the greeting
        self("qmp_capabilities")

    def _next(self):
        line = self.f.readline()
        check(line, "the daemon is gone")
        return json.loads(line)

    def __call__(self, name, **arguments):
        self.s.sendall(json.dumps({"execute": name,
                                   "arguments": arguments}).encode())
        while True:
            answer = self._next()
            if "event" in answer:
                self.events.append(answer)
                continue
            check("return" in answer, name, arguments, answer)
            return answer["return"]

    def wait(self, event):
        """The data of that event of a job.  If the job fails, so do we."""
        while True:
            while self.events:
                e = self.events.pop(0)
                check(e["event"] != "BLOCK_JOB_ERROR", e)
                check("error" not in e.get("data", {}), e)
                if e["event"] == event:
                    return e["data"]
            answer = self._next()
            check("event" in answer, answer)
            self.events.append(answer)


class Writer(threading.Thread):
    """Writes, trims and zeroes at random, and reads back at once."""

    def __init__(self, sock, size, model, number):
        super().__init__()
        self.h = connect(sock)
        self.size, self.model = size, model
        self.rng = random.Random(number)
        self.data = Data(self.rng)
        self.go, self.idle = threading.Event(), threading.Event()
        self.over = False
        self.count = 0
        self.wrong = None
        self.go.set()

    def step(self):
        n = self.rng.choice((512, 1000, 4 * K, 4 * K, 20 * K, 128 * K))
        at = self.rng.randrange(self.size - n)
        what = self.rng.random()
        if what < 0.8:
            data = self.data.any(n)
            self.h.pwrite(data, at)
            self.model.write(at, data)
        else:
            self.h.zero(n, at)
            self.model.zero(at, n)
        same(self.h.pread(n, at), self.model.read(at, n), at, "read back")
        self.count += 1
        time.sleep(0.002)       # a background copy must catch up

    def run(self):
        try:
            while not self.over:
                if not self.go.is_set():
                    self.idle.set()
                    self.go.wait()
                    self.idle.clear()
                self.step()
        except Exception as e:
            self.wrong = e
        self.idle.set()

    def pause(self):
        self.go.clear()
        self.idle.wait()
        if self.wrong:
            raise self.wrong

    def writes(self, n):
        """Waits for so many more writes."""
        until = self.count + n
        while self.count < until and not self.wrong:
            time.sleep(0.01)
        if self.wrong:
            raise self.wrong

    def end(self):
        self.over = True
        self.go.set()
        self.join()
        if self.wrong:
            raise self.wrong


def move(qmp, writer, source, target, mode):
    """Afterwards the export is on the target."""
    before = writer.count
    qmp("blockdev-mirror", **{"job-id": "move", "device": source,
                              "target": target, "sync": "full",
                              "copy-mode": mode, "speed": 16 * M})
    writer.writes(30)           # so slow that these happen during the copy
    qmp("block-job-set-speed", device="move", speed=0)
    qmp.wait("BLOCK_JOB_READY")
    writer.writes(30)
    qmp("job-complete", id="move")
    qmp.wait("BLOCK_JOB_COMPLETED")
    print("%s to %s, %s: %d writes meanwhile"
          % (source, target, mode, writer.count - before), flush=True)


def main(qmp_sock, export_sock, plugin_sock, path):
    size = os.path.getsize(path)
    model = Model(size)
    with open(path, "rb") as f:
        for at in range(0, size, M):
            model.write(at, f.read(M))
    qmp = Qmp(qmp_sock)
    writer = Writer(export_sock, size, model, seed())
    writer.start()
    try:
        move(qmp, writer, "from", "zram", "background")
        writer.writes(100)
        writer.pause()
        plugin = connect(plugin_sock)
        model.compare(plugin, what="the plugin after the first move")
        writer.go.set()
        move(qmp, writer, "zram", "to", "write-blocking")
        writer.pause()
        there = writer.h.pread(64 * K, 0)
        plugin.pwrite(b"not in use any more" * 100, 0)
        check(writer.h.pread(64 * K, 0) == there, "the plugin is still read")
        plugin.shutdown()
        writer.go.set()
        writer.writes(100)
    finally:
        writer.end()
    model.compare(writer.h, what="the export")
    writer.h.flush()
    writer.h.shutdown()
    with open(path, "wb") as f:
        for at in range(0, size, M):
            f.write(model.read(at, min(M, size - at)))


main(*sys.argv[1:])
