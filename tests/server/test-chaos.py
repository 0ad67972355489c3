#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Clients that vanish, are silent, or do not read; and the end of the server.

  1000 clients gone at random points: in the handshake, in a header, in a
  payload, with requests in flight, by RST, by FIN, by SIGKILL
  half-open connections beside one that works
  200 connections at once
  SIGTERM with all kinds of clients connected: gone within 10 seconds

Afterwards memory is as large as before, and the stored data pass the audit.

nbdkit 1.32 fails an assertion of its own (raw_send_socket) if a client leaves
while two of its answers wait to be sent.  So where answers can pile up here, a
connection has one thread (-t 1).  The last test shows that the fault exists
without the plugin.
"""

import fcntl
import socket
import struct
import termios

from controltest import ControlServer
from zramtest import (K, M, NBDKIT, PLUGIN, SANITIZER, Data, Server, busy, check,
                      connect, errno_of, free_port, nbd, os, random, same, seed, signal,
                      subprocess, sys, tempfile, time, wait_listening)

KILLS = 200 if SANITIZER else 1000
CHAOS = 32 * M              # part of the disk that all clients write to
MINE = 300 * K              # the rest belongs to the witness
# With a sanitizer's runtime, nbdkit does not end after it has printed the text
# of an error (see test-signals.sh).
QUIET = ["--log=null"] if SANITIZER else []
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZERO = range(7)


# -- a client made of bytes -------------------------------------------------

HELLO = (struct.pack(">I", 3)
         + b"IHAVEOPT" + struct.pack(">II", 7, 6) + struct.pack(">IH", 0, 0))


def request(rng, data, large):
    kind = rng.choice((READ, READ, WRITE, WRITE, WRITE, FLUSH, TRIM, ZERO,
                       CACHE, DISC if rng.random() < 0.1 else READ))
    n = 0 if kind in (FLUSH, DISC) else rng.choice(
        (1, 511, 4 * K, 4 * K, 9 * K, 64 * K, M if large else 128 * K))
    if kind == WRITE:
        n = min(n, 128 * K)
    at = rng.randrange(CHAOS - n) if n else 0
    head = struct.pack(">IHHQQI", 0x25609513, 0, kind, rng.getrandbits(63),
                       at, n)
    return head + (data.any(n) if kind == WRITE else b"")


class Raw:
    """A connection of which we control every byte."""

    def __init__(self, where):
        """A port or the path of a socket."""
        if isinstance(where, int):
            self.s = socket.create_connection(("127.0.0.1", where))
        else:
            self.s = socket.socket(socket.AF_UNIX)
            self.s.connect(where)
        self.s.settimeout(120)

    def take(self, n):
        got = b""
        while len(got) < n:
            part = self.s.recv(n - len(got))
            check(part, "the server hung up")
            got += part
        return got

    def shake_hands(self):
        self.take(18)
        self.s.sendall(HELLO)
        while True:
            magic, option, kind, n = struct.unpack(">QIII", self.take(20))
            check(magic == 0x3e889045565a9 and kind < 1 << 31, magic, kind)
            self.take(n)
            if kind == 1:
                return

    def offer(self, data):
        """Sends as much as possible without waiting for a server that is
        stuck.
        """
        self.s.settimeout(0.05)
        try:
            self.s.sendall(data)
        except OSError:
            pass

    def wait_answer(self):
        """Waits until more than the header of an answer has arrived.  If the
        whole answer is larger than a socket's buffer, its sender waits from
        now on.
        """
        for _ in range(2400):
            have = fcntl.ioctl(self.s, termios.FIONREAD, bytes(4))
            if struct.unpack("i", have)[0] > 4 * K:
                return
            time.sleep(0.05)
        check(False, "no answer")

    def vanish(self, rng):
        if rng.random() < 0.5:              # RST, on TCP
            self.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                              struct.pack("ii", 1, 0))
        self.s.close()


def brief(server, port, rng, data, piled):
    """Connects and vanishes: in the handshake, or with requests half sent."""
    c = Raw(port or server.sock)
    if rng.random() < 0.25:
        c.offer(HELLO[:rng.randrange(len(HELLO) + 1)])
    else:
        c.shake_hands()
        if rng.random() < 0.2:
            # A write over the witness's data, whose end is never sent.
            c.offer(struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 1, CHAOS, MINE)
                    + data.any(rng.randrange(MINE)))
            c.vanish(rng)
            return
        stream = b"".join(request(rng, data, piled)
                          for _ in range(rng.randrange(1, 24) if piled else 1))
        # The cut is in a header or a payload, or after the last one.
        c.offer(stream[:rng.choice((rng.randrange(len(stream) + 1),
                                    min(len(stream), rng.randrange(60)),
                                    len(stream)))])
        if rng.random() < 0.3:
            c.s.settimeout(0.005)
            try:
                c.s.recv(rng.randrange(1, 5000))
            except OSError:
                pass
    c.vanish(rng)


def killed(server, rng, number):
    """Eight real clients at work, killed one after the other."""
    children = []
    for i in range(8):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                busy(server.sock, number + i, lambda: None, 0, CHAOS,
                     connections=2)
            finally:
                os._exit(1)
        children.append(child)
    rng.shuffle(children)
    for child in children:
        time.sleep(rng.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        check(os.WIFSIGNALED(os.waitpid(child, 0)[1]), "ended by itself")
    return len(children)


# -- the witness ------------------------------------------------------------

class Witness:
    """A client that stays, its data, and the server's memory.

    'threads' as in nbdkit's -t; 16 are its default.
    """

    def __init__(self, server, port, data, threads=None):
        self.server = server
        self.control = server.control()
        self.control.call("stats")          # the plugin's threads exist
        self.tasks = (self.entries("task") + 1
                      + (threads or 16) * (threads != 1))
        self.h = nbd.NBD()
        if port:
            self.h.connect_tcp("127.0.0.1", str(port))
        else:
            self.h.connect_unix(server.sock)
        self.mine = data.mixed(MINE)
        self.h.pwrite(self.mine, CHAOS)     # so the connection was accepted

    def entries(self, what):
        return len(os.listdir("/proc/%d/%s" % (self.server.pid, what)))

    def count(self):
        """The server's threads and descriptors with only this client.  Waits
        until nbdkit has started all threads of its connection, because the
        first of them answers before the others exist.
        """
        for _ in range(1200):
            if self.entries("task") >= self.tasks:
                break
            time.sleep(0.05)
        self.tasks, self.fds = self.entries("task"), self.entries("fd")

    def look(self):
        same(self.h.pread(MINE, CHAOS), self.mine, CHAOS, "the witness's")

    def settle(self):
        """No thread and no descriptor of the dead clients is left."""
        for what, count in ("task", self.tasks), ("fd", self.fds):
            for _ in range(1200):
                now = self.entries(what)
                if now <= count:
                    break
                time.sleep(0.05)
            check(now <= count, now, "entries in", what, "and not", count)

    def memory(self):
        """(used by the disk, by the process) when only our data are stored."""
        self.settle()
        self.h.trim(CHAOS, 0)
        check(self.control.job("compact")["state"] == "done", "no compaction")
        used = self.control.call("stats")["mm"]["mem_used_total"]
        return used, self.server.rss()

    def compare(self, before):
        self.look()
        after = self.memory()
        print("memory used: %d, then %d; of the process: %d, then %d"
              % (before[0], after[0], before[1], after[1]), flush=True)
        check(after[0] <= before[0] + 256 * K, "the disk takes more memory")
        if not SANITIZER:
            check(after[1] <= before[1] + 8 * M, "the process grows")
        audit = self.control.job("audit", deep=True)
        check(audit["state"] == "done", "audit:", audit)
        self.h.shutdown()


# -- tests ------------------------------------------------------------------

def vanishing(number, kills, port=None, threads=None):
    """threads=1: their answers may pile up, and some are processes."""
    rng = random.Random(number)
    data = Data(rng)
    piled = threads == 1
    options = QUIET + (["-t", str(threads)] if threads else [])
    with ControlServer(CHAOS + M, options=options, port=port) as s:
        w = Witness(s, port, data, threads)
        w.count()
        before = None
        done = 0
        while done < kills:
            if piled and not port and done % 16 == 0:
                done += killed(s, rng, number + done)
            else:
                brief(s, port, rng, data, piled)
                done += 1
            if done % 50 == 0:
                w.look()
            if before is None and done >= kills // 5:
                before = w.memory()     # every part was used once
        w.compare(before)


def half_open(s, rng, data):
    """Clients that never send or read again.  Keep the returned value."""
    peers = []
    for i in range(40):
        c = Raw(s.sock)
        if i % 4 == 1:
            c.offer(HELLO[:rng.randrange(len(HELLO))])
        elif i % 4 == 2:
            c.shake_hands()
        elif i % 4 == 3:
            c.shake_hands()
            c.offer(request(rng, data, False)[:rng.randrange(1, 28)])
        peers.append(c)
    return peers


def deaf(s):
    """Asks for more than a socket's buffer holds, and never reads it."""
    c = Raw(s.sock)
    c.shake_hands()
    c.offer(struct.pack(">IHHQQI", 0x25609513, 0, READ, 1, 0, 8 * M))
    c.wait_answer()     # before that, its end would not delay the server
    return c


def ends(s, what, stuck=False):
    """The server ends within 10 seconds, soundly, with any
    clients connected.
    """
    begin = time.monotonic()
    os.kill(s.pid, signal.SIGTERM)
    try:
        s.job.wait(timeout=40 if SANITIZER else 10)
    except subprocess.TimeoutExpired:
        check(False, "still there 10 s after SIGTERM, with", what)
    print("SIGTERM with %s: %.1f s, status %d"
          % (what, time.monotonic() - begin, s.job.returncode), flush=True)
    log = s._read(s.log)
    check(s.job.returncode == 0, "status", s.job.returncode, log[-3000:])
    check("Assertion" not in log and "audit:" not in log, log[-3000:])
    check(not os.path.lexists(s.path), "the control socket is still there")
    if not QUIET:
        check(stuck == ("ending without them" in log), "stuck:", log[-3000:])
    s.stopped = True


class Ended(ControlServer):
    """A server that the test itself has ended."""

    stopped = False

    def stop(self):
        check(self.stopped, "not ended")


def silent_peers(number):
    rng = random.Random(number)
    data = Data(rng)
    with Ended(CHAOS + M, options=QUIET) as s:
        w = Witness(s, None, data)
        peers = half_open(s, rng, data)
        for i in range(200):
            part = data.any(20 * K)
            at = rng.randrange(CHAOS - 20 * K)
            w.h.pwrite(part, at)
            same(w.h.pread(20 * K, at), part, at, "beside silent peers")
        w.look()
        ends(s, "%d silent peers and an idle client" % len(peers))
        check(errno_of(w.h.pread, 1, 0), "answered by a server that is gone")
    with Ended(CHAOS + M, options=QUIET) as s:
        w = Witness(s, None, data)
        peers = [deaf(s)] + half_open(s, rng, data)
        w.look()
        ends(s, "one who does not take its answers", stuck=True)


def in_flight(number):
    with Ended(CHAOS + M, options=QUIET) as s:
        ready, say = os.pipe()
        children = []
        for i in range(4):
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                try:
                    busy(s.sock, number + i, lambda: os.write(say, b"."),
                         0, CHAOS)
                finally:
                    os._exit(0)
            children.append(child)
        for _ in children:
            os.read(ready, 1)
        ends(s, "requests in flight on 8 connections")
        for child in children:
            check(os.waitpid(child, 0)[1] == 0, "a client was not told")


def many(number, count):
    rng = random.Random(number)
    data = Data(rng)
    with Ended(CHAOS + M, options=QUIET) as s:
        w = Witness(s, None, data)
        w.count()
        before = w.memory()
        part = CHAOS // count & ~4095
        handles = [connect(s.sock) for _ in range(count)]
        wrote = []
        for i, h in enumerate(handles):
            wrote.append(data.any(part))
            h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(wrote[i])),
                         i * part)
        for h in handles:
            while h.aio_in_flight():
                h.poll(60000)
        for i, h in enumerate(handles):
            j = (i + count // 2) % count        # data of another one
            same(h.pread(part, j * part), wrote[j], j * part, "of another")
        print("%d connections, %d threads"
              % (count, len(os.listdir("/proc/%d/task" % s.pid))), flush=True)
        for h in handles:
            h.shutdown()
        w.compare(before)
        w = Witness(s, None, data)
        handles = [connect(s.sock) for _ in range(count)]
        ends(s, "%d connections" % count)


def answers_pile_up(plugin):
    """How a server dies if a client leaves before it has read any answer; None
    if it survives.
    """
    with tempfile.TemporaryDirectory(prefix="zram-test.") as folder:
        sock, log = folder + "/sock", folder + "/log"
        with open(log, "wb") as f:
            job = subprocess.Popen([NBDKIT, "-f", "-U", sock, plugin, "64M"],
                                   stdin=subprocess.DEVNULL, stdout=f,
                                   stderr=f)
        try:
            check(wait_listening(sock, job), "no server")
            c = Raw(sock)
            c.shake_hands()
            for i in range(16):
                c.offer(struct.pack(">IHHQQI", 0x25609513, 0, READ, i, 0, M))
            c.wait_answer()
            time.sleep(0.2)                 # other answers wait to be sent
            c.s.close()
            try:
                job.wait(timeout=5)
            except subprocess.TimeoutExpired:
                return None
            with open(log) as f:
                return f.read().strip().split("\n")[-1]
        finally:
            job.kill()
            job.wait()


def whose_fault():
    if SANITIZER:
        print("left out: whose fault it is when answers pile up")
        return
    ours = answers_pile_up(PLUGIN)
    if ours is None:
        print("a client gone with 16 answers waiting: survived")
        return
    check("raw_send_socket: Assertion" in ours, "died of:", ours)
    # It is only likely that other answers wait.
    check(any(answers_pile_up("memory") for _ in range(20)),
          "nbdkit's memory plugin survives what we do not:", ours)
    print("a client gone with 16 answers waiting: nbdkit aborts, with its "
          "memory plugin too: " + ours)


def main():
    number = seed()
    for test, *args in (
            (vanishing, number, KILLS // 4),
            (vanishing, number + 1, KILLS // 4, free_port()),
            (vanishing, number + 2, KILLS // 4, None, 1),
            (vanishing, number + 3, KILLS // 4, free_port(), 1),
            (silent_peers, number),
            (in_flight, number),
            (many, number, 50 if SANITIZER else 200),
            (whose_fault,)):
        begin = time.monotonic()
        test(*args)
        print("%s: %.1f s" % (test.__name__, time.monotonic() - begin),
              flush=True)


main()
