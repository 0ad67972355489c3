#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""nbdkit with our plugin, fed with NBD streams that are not quite right
(nbdstream.py), for FUZZ_SECONDS (60).

  a round of `nbdkit -s':   stream -> its own server; which must end
  a round of one server:    many streams, several at once; which must go on
                            serving a good client, and then end

Ending means status 0 within a time, no report of a sanitizer, and an audit
that finds nothing.

Best with the plugin of a sanitizer's build.  SEED and ROUND (as printed when
it fails) in the environment repeat one round; what broke an `nbdkit -s' is
left in a file to feed to it.
"""

import errno
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "server"))
sys.dont_write_bytecode = True

import nbdstream                                            # noqa: E402
from zramtest import BAD_LOG, K, M, NBDKIT, PLUGIN  # noqa: E402
from zramtest import Server                              # noqa: E402
from zramtest import check, errno_of, seed, wait_for_end    # noqa: E402

# nbdkit's own: a thread of a connection answers after another has closed it.
# Version 1.32.5 of Debian 12 has it; `-t 1' is safe.  Nothing of ours.
KNOWN = re.compile(r"raw_send_socket: Assertion `sock >= 0' failed")

BOUND = 60              # seconds, for any connection or server to end
AT_ONCE = 4


def plugin_args(rng, folder):
    size = rng.choice((1, 4097, 1 * M, 16 * M, 1024 * M, 2**63 - 1))
    args = ["size=%d" % size,
            "slot_size=%d" % rng.choice((4 * K, 4 * K, 16 * K, 64 * K)),
            "algorithm=" + rng.choice(("lz4", "zstd", "deflate", "lz4hc"))]
    if rng.random() < 0.3:
        args.append("allocator=z3fold")
    if rng.random() < 0.5:
        args.append("mem_limit=%d" % (rng.choice((1, 4)) * M))
        if rng.random() < 0.5:
            args += ["backing=" + os.path.join(folder, "store"),
                     "backing_size=8M"]
    return size, args


def threads(rng):
    return () if rng.random() < 0.3 else ("-t", "1")


class Connection:
    """Sends messages and reads whatever comes, without waiting for either."""

    def __init__(self, sock, messages, rude):
        sock.setblocking(False)
        self.sock = sock
        self.left = list(messages)
        self.rude = rude                # hangs up in the middle of it
        self.ended = False
        self.deadline = time.monotonic() + BOUND

    def events(self):
        return select.POLLIN | (select.POLLOUT if self.left else 0)

    def close(self):
        self.sock.close()
        self.ended = True

    def send(self):
        try:
            n = self.sock.send(self.left[0])
        except BlockingIOError:
            return
        except OSError:                 # the server has hung up: it may
            self.left = []
            return
        self.left[0] = self.left[0][n:]
        if not self.left[0]:
            self.left.pop(0)
        if not self.left:
            if self.rude:
                self.close()
            else:
                try:
                    self.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

    def receive(self):
        try:
            if self.sock.recv(1 << 20) == b"":
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def step(self, event):
        if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
            self.receive()
        if event & select.POLLOUT and self.left and not self.ended:
            self.send()


def pump(connections):
    """Until one at least has ended; returns those that have not."""
    while all(not c.ended for c in connections):
        poller = select.poll()
        by_fd = {}
        for c in connections:
            by_fd[c.sock.fileno()] = c
            poller.register(c.sock, c.events())
        for fd, event in poller.poll(1000):
            by_fd[fd].step(event)
        now = time.monotonic()
        check(all(c.ended or now < c.deadline for c in connections),
              "a connection does not end within", BOUND, "s")
    return [c for c in connections if not c.ended]


def messages(rng, size):
    # An empty message cannot be sent.
    return [m for m in nbdstream.Talk(rng, size).stream() if m] or [b"\0"]


# -- nbdkit -s ---------------------------------------------------------------

def check_end(status, said):
    check(status == 0 and not BAD_LOG.search(said), "status", status,
          said[-20000:])


def feed(command, stream):
    """One server for one stream."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as log:
        job = subprocess.Popen(command, stdin=theirs, stdout=theirs,
                               stderr=log)
        theirs.close()
        try:
            pump([Connection(ours, stream, False)])
            status = wait_for_end(job, job.pid)
        finally:
            ours.close()
            if job.poll() is None:
                job.kill()
                job.wait()
            log.seek(0)
            said = log.read().decode(errors="replace")
        if status < 0 and KNOWN.search(said):
            return 0
        check_end(status, said)
        return 1


def round_of_single(rng, name):
    with tempfile.TemporaryDirectory(prefix="zram-test.") as folder:
        size, args = plugin_args(rng, folder)
        command = [NBDKIT, "-s", "-D", "zram.audit=1", *threads(rng),
                   PLUGIN, *args]
        n = 0
        for _ in range(8):
            stream = messages(rng, size)
            try:
                n += feed(command, stream)
            except Exception:
                with open(name, "wb") as f:
                    f.write(b"".join(stream))
                print("to see it again: %s <%s" % (" ".join(command), name))
                raise
    return n


# -- one server for many ------------------------------------------------------

def good_client(server):
    """It still serves, and what is written reads back."""
    h = server.connect()
    size = h.get_size()
    data = os.urandom(min(size, 1000))
    error = errno_of(h.pwrite, data, 0)     # the others may have filled it
    check(error in (0, errno.ENOSPC), "write: errno", error)
    check(error or h.pread(len(data), 0) == data, "it does not read back")
    h.trim(len(data), 0)
    check(h.pread(len(data), 0) == bytes(len(data)), "trimmed, and there")
    h.shutdown()
    server.handles.remove(h)


def many_streams(server, rng, size, count):
    flying = []
    for n in range(1, count + 1):
        s = socket.socket(socket.AF_UNIX)
        s.connect(server.sock)
        flying.append(Connection(s, messages(rng, size), rng.random() < 0.2))
        if len(flying) >= AT_ONCE:
            flying = pump(flying)
        check(server.job.poll() is None, "the server has died")
        if n % 100 == 0:
            while flying:
                flying = pump(flying)
            good_client(server)


def log(server):
    with open(server.log, errors="replace") as f:
        return f.read()


def round_of_many(rng):
    with tempfile.TemporaryDirectory(prefix="zram-test.") as folder:
        size, args = plugin_args(rng, folder)
        server = Server(*args, options=threads(rng))
        try:
            many_streams(server, rng, size, 300)
            os.kill(server.pid, signal.SIGTERM)
            check_end(wait_for_end(server.job, server.pid), log(server))
            return 300
        except Exception:
            said = log(server)
            if KNOWN.search(said):
                return 0
            print("--- server log\n" + said[-20000:])
            raise
        finally:
            server.kill()
            shutil.rmtree(server.dir, ignore_errors=True)


def main():
    number = seed()
    only = os.environ.get("ROUND")
    end = time.monotonic() + float(os.environ.get("FUZZ_SECONDS") or 60)
    streams, known, turn = 0, 0, int(only or 0)
    while time.monotonic() < end:
        rng = random.Random("%d/%d" % (number, turn))
        try:
            if turn % 2:
                n = round_of_single(rng, "fuzz-nbd-%d-%d" % (number, turn))
            else:
                n = round_of_many(rng)
        except BaseException:
            print("SEED=%d ROUND=%d repeats this round" % (number, turn),
                  flush=True)
            raise
        streams += n
        known += n not in (8, 300)
        turn += 1
        if only:
            break
    print("%d streams in %d rounds, %d of which nbdkit itself cut short"
          % (streams, turn, known))
    check(streams + known > 0, "no stream")


main()
