#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Few descriptors: with ulimit -n 256 and 64 the disk, the control socket and
the metrics are all served, even if the clients of one take as many as they
can.  The server also ends in time, even if the limit was lowered meanwhile.
"""

import os
import resource
import socket
import subprocess
import time

from controltest import REFUSED, Control, ControlServer
from metricstest import descriptors, ends_in_time, free_port, scrape
from zramtest import K, SANITIZER, check

NBDZRAMCTL = os.environ.get("NBDZRAMCTL", "nbdzramctl")


def ctl(server):
    """nbdzramctl gets an answer."""
    run = subprocess.run([NBDZRAMCTL, "-s", server.path, "mm_stat"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=60, text=True)
    check(run.returncode == 0 and run.stdout.split(),
          "nbdzramctl:", run.stdout)


def ends(server):
    log = ends_in_time(server)
    check("ending without them" not in log,
          "idle connections were not shut:", log[-2000:])


class Limited:
    """A server that may have n descriptors, with all its services."""

    def __init__(self, n):
        self.port = free_port()
        with descriptors(n):
            self.server = ControlServer("64M", "metrics=%d" % self.port)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        for c in self.server.controls:
            c.close()
        self.server.kill()
        if ignored[0]:
            print("--- server log\n"
                  + self.server._read(self.server.log)[-4000:])


def works(h, i):
    data = bytes([i + 1]) * 4 * K
    h.pwrite(data, i * 4 * K)
    check(h.pread(4 * K, i * 4 * K) == data, "data of client", i)


def everybody_is_served(n):
    with Limited(n) as l:
        s = l.server
        handles = [s.connect() for _ in range(3)]
        ctl(s)
        scrape(l.port)
        # All programs that want statistics.
        most = n // 4
        many = [s.control() for _ in range(most)]
        for c in many:
            c.call("version")
        with Control(s.path) as c:
            answer = c.line()
            check(answer["error"]["code"] == REFUSED, answer)
            check("%d clients" % most in answer["error"]["message"]
                  and "RLIMIT_NOFILE" in answer["error"]["message"], answer)
        slow = [socket.create_connection(("127.0.0.1", l.port))
                for _ in range(100)]
        scrape(l.port)
        # The disk goes on, also for new clients.
        handles += [s.connect() for _ in range(2)]
        for i, h in enumerate(handles):
            works(h, i)
        many.pop().close()
        for _ in range(6000):
            with Control(s.path) as c:
                c.send(b'{"jsonrpc":"2.0","id":1,"method":"version"}\n')
                if "result" in c.line():
                    break
            time.sleep(0.01)
        else:
            check(False, "no room after one had left")
        ends(s)
        for c in slow:
            c.close()


def limit_was_lowered(n):
    """The connections have descriptors above the new limit."""
    with Limited(None) as l:
        s = l.server
        handles = [s.connect() for _ in range(20)]
        for i, h in enumerate(handles):
            works(h, i)
        c = s.control()
        c.call("version")
        hard = resource.prlimit(s.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(s.pid, resource.RLIMIT_NOFILE, (n, hard))
        c.call("stats")
        works(handles[7], 7)
        ends(s)


def idle_by_the_hundred():
    """All of them are shut, whatever the numbers of their descriptors."""
    with Limited(1000) as l:
        clients = []
        for _ in range(300):
            c = socket.socket(socket.AF_UNIX)
            c.settimeout(60)
            c.connect(l.server.sock)
            clients.append(c)
        for c in clients:  # it is served, and sends nothing
            check(c.recv(8, socket.MSG_WAITALL) == b"NBDMAGIC", "greeting")
        ends(l.server)
        for c in clients:
            c.close()


def none_is_left():
    """NBD clients have all descriptors, and more clients wait."""
    with Limited(64) as l:
        s = l.server
        h = s.connect()
        clients = []
        for _ in range(40):
            c = socket.socket(socket.AF_UNIX)
            c.settimeout(60)
            c.connect(s.sock)
            clients.append(c)
        waits = s.control()
        waits.send(b'{"jsonrpc":"2.0","id":1,"method":"version"}\n')
        works(h, 0)
        slow = socket.create_connection(("127.0.0.1", l.port))
        time.sleep(0.3)
        ends(s)
        for c in clients + [slow]:
            c.close()


for n in (256, 64):
    everybody_is_served(n)
for n in (64, 16, 1):
    limit_was_lowered(n)
idle_by_the_hundred()
# With a sanitizer's runtime preloaded nbdkit hangs in its exit handlers once
# it has printed the system's words for an error (see test-signals.sh).
if not SANITIZER:
    none_is_left()
