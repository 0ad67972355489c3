#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""SIGTERM, and requests, in a world that does not answer.

  a backing that hangs: an NBD server, a file on FUSE whose program is stopped,
  or one whose callers the kernel does not release; with no client, idle
  clients, reads and writes in flight, each kind of job: over in 10 seconds, for
  everyone who can see it
  dictionaries that hang: nothing else waits, the error names the file
  files that cannot be a dictionary are refused at once
  a log without a reader
  an end without a signal; a start that hangs
"""

import os
import select
import socket
import subprocess
import tempfile

from controltest import REFUSED, ControlServer
from hungworld import (END_SECONDS, OPTIONS, Late, World, at_once, end,
                       hangs_up, in_time, reads, wait_end)
from zramtest import (K, M, NBDKIT, PLUGIN, SANITIZER, Data, check, nbd,
                      random, seed, signal, time, wait_listening)

N = 256             # slots in the backing, and as many in memory
NUMBER = seed()


def text(n):
    return Data(random.Random(NUMBER + n)).text(n)


# -- a backing that hangs -----------------------------------------------------

class Case:
    """A disk with half of its data in the backing."""

    def __init__(self, store, options=()):
        where = getattr(store, "uri", None) or store.path
        self.store = store
        self.server = ControlServer(
            "64M", "mem_limit=32M", "backing=" + where, "backing_timeout=3600",
            "promote=off", "auto_recompress=0", "recompress=zstd",
            options=(*OPTIONS, *options))
        self.h = self.server.connect()
        self.c = self.server.control()
        self.h.pwrite(text(N * 4 * K), 0)
        self.c.call("idle", mode="all")
        job = self.c.job("writeback", type="idle")
        check(job["state"] == "done", job)
        self.h.pwrite(text(N * 4 * K), M)
        self.buffers = []

    def in_store(self):
        return self.c.call("stats")["backing"]["io"]["in_flight"]

    def nothing(self):
        pass

    def alone(self):
        self.h.shutdown()
        self.server.handles.remove(self.h)

    def reading(self):
        """Requests in flight that wait in the backing."""
        self.many_reads(8)
        self.until(lambda: self.in_store() > 0)

    def many_reads(self, n):
        for i in range(n):
            b = nbd.Buffer(4 * K)
            self.buffers.append(b)
            self.h.aio_pread(b, i * 64 * K)
        self.h.poll(0)

    def writing(self):
        """Requests that wait for room, which only the backing could make."""
        self.c.call("mem_limit", set=M)
        noise = random.Random(NUMBER).randbytes(M)
        for i in range(4):
            self.h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(noise)),
                              (8 + i) * M)
        for _ in range(20):
            self.h.poll(20)
        self.until(lambda: self.in_store() > 0)

    def job(self, method, busy, **params):
        def run():
            self.c.call("idle", mode="all")
            self.c.call(method, **params)
            if busy:
                self.until(lambda: self.in_store() > 0)
        run.__name__ = method
        return run

    def begin_writeback(self):
        if WRITEBACK:
            self.job("writeback", True, type="idle")()

    def until(self, true):
        for _ in range(600):
            if true():
                return
            time.sleep(0.05)
        check(False, "it does not come to that")

    def client_learns(self, since):
        while not (self.h.aio_is_dead() or self.h.aio_is_closed()):
            left = in_time(since, "the client was not told")
            try:
                self.h.poll(max(1, int(left * 1000)))
            except nbd.Error:
                pass

    def ends_for_all(self, name, connected):
        """In time; does the kernel keep a part of it?"""
        with socket.socket(socket.AF_UNIX) as watcher:
            watcher.connect(self.server.path)
            reads(self.server.control(), store=True)
            since = time.monotonic()
            lingers = end(self.server, may_linger=hasattr(self.store, "path"))
            print("%-32s %4.1f s%s" % (name, self.server.took,
                  ", and the kernel has the rest" if lingers else ""),
                  flush=True)
            hangs_up(watcher, since)
            if connected:
                self.client_learns(since)
        return lingers


def store_case(w, make, hang, what):
    """One server, over the backing that 'make' makes, in the
    state of 'hang'.
    """
    def run():
        store = make()
        case = Case(store)
        with case.server:
            hang(store)
            {"alone": case.alone, "client": case.nothing,
             "reading": case.reading, "writing": case.writing,
             "writeback": case.job("writeback", True, type="idle"),
             "audit": case.job("audit", True, deep=True),
             "recompress": case.job("recompress", False, type="idle"),
             "train": case.job("train", False)}[what]()
            try:
                lingers = case.ends_for_all(run.__name__, what != "alone")
            except Late:
                store.answer()      # or the test could not end it
                raise
            case.server.handles = []
            if lingers:
                store.answer()
                wait_end(case.server)
    run.__name__ = "%s: %s" % (hang.__name__, what)
    return run


def program_stopped(store):
    store.hang()


def kernel_keeps(store):
    store.hang(server=True)


def nbd_stopped(store):
    store.hang()


# The result of a writeback that failed contains the system's words: see
# OPTIONS.
WRITEBACK = () if SANITIZER else ("writeback",)
WHATS = ("alone", "client", "reading", "writing", "audit", "recompress",
         "train") + WRITEBACK


def stores(w):
    def make_nbd():
        return w.nbd(64 * M)

    def make_fuse():
        return w.fuse(64 * M)

    at_once(*[store_case(w, make_nbd, nbd_stopped, what) for what in WHATS])
    if not w.try_fuse(M):
        print("not with a file: " + w.no_fuse)
        return
    at_once(*[store_case(w, make_fuse, program_stopped, what)
              for what in WHATS])
    at_once(*[store_case(w, make_fuse, kernel_keeps, what)
              for what in ("reading", "writing", "audit") + WRITEBACK])


# -- dictionaries -------------------------------------------------------------

def asked(server, path):
    """A client that waits for an answer."""
    c = server.control()
    c.send(b'{"jsonrpc":"2.0","id":1,"method":"recomp_algorithm","params":'
           b'{"set":"lz4,zstd:dict=%s"}}\n' % path.encode())
    return c


def is_answered(c):
    return select.select([c.s], [], [], 0)[0] != []


def dictionary(w, hang):
    """It names a file that hangs.  All other clients are served, and it gets
    an error.
    """
    def run():
        d = w.fuse(M, w.file(text(60 * K).ljust(64 * K)))
        with ControlServer("64M", "recompress=lz4hc",
                           options=OPTIONS) as server:
            hang(d)
            other = server.control()
            # On a slow machine the others' requests may take longer than the
            # wait for a file; but not every time.
            for _ in range(5):
                c = asked(server, d.path)
                reads(other)
                other.call("algorithm", set="zstd", level=1)
                other.call("workers", set=3)
                waited = is_answered(c)
                error = c.line()["error"]
                check(error["code"] == REFUSED and d.path in error["message"]
                      and "did not answer within" in error["message"], error)
                if not waited:
                    break
            check(not waited, "others waited, or nothing hung")
            methods = other.call("recomp_algorithm")["methods"]
            check([m["algorithm"] for m in methods] == ["lz4hc"], methods)
            d.answer()
            other.call("recomp_algorithm", set="zstd:dict=" + d.path)
            hang(d)
            c = asked(server, d.path)
            reads(other)
            check(not is_answered(c) or "did not answer" in str(c.line()),
                  "nothing hung")
            if end(server, may_linger=True):
                d.answer()
                wait_end(server)
    run.__name__ = "dictionary, " + hang.__name__
    return run


def no_dictionaries(w):
    """Refused at once: such files cannot be a dictionary, so
    there is no wait.
    """
    with ControlServer("64M", options=OPTIONS) as server:
        c = server.control(timeout=END_SECONDS)
        for path in (w.fifo(), "/dev/zero", "/dev/tty", server.sock):
            c.refused(REFUSED, (path,), "recomp_algorithm",
                      set="zstd:dict=" + path)
        reads(c)
        end(server)


def refused(path, *args):
    """The output of a server that cannot start."""
    with tempfile.TemporaryDirectory() as folder:
        p = subprocess.run([NBDKIT, "-f", "-U", os.path.join(folder, "s"),
                            PLUGIN, "64M", *args], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=60)
    check(p.returncode != 0 and (SANITIZER or path in p.stderr), args, "said",
          p.stderr)
    return p.stderr


def starts(w):
    path = w.fifo()
    refused(path, "dict=" + path, "algorithm=zstd")
    refused(path, "recompress=zstd:dict=" + path)
    refused(path, "backing=" + path)
    d = w.try_fuse(M, w.file(text(64 * K)))
    if not d:
        return
    d.hang()
    said = refused(d.path, "dict=" + d.path, "algorithm=zstd")
    check(SANITIZER or "did not answer within" in said, said)
    # A person is waiting and can end it.
    with tempfile.TemporaryDirectory() as folder:
        p = subprocess.Popen([NBDKIT, "-f", "-U", os.path.join(folder, "s"),
                              PLUGIN, "64M", "backing=" + d.path],
                             stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(1)
        check(p.poll() is None, "a file that hangs did not keep it")
        p.terminate()
        p.wait(END_SECONDS)


# -- the log ------------------------------------------------------------------

def unread_log():
    """All of nbdkit's threads write to it."""
    if SANITIZER:
        return                          # see OPTIONS
    with tempfile.TemporaryDirectory() as folder:
        sock = os.path.join(folder, "s")
        p = subprocess.Popen([NBDKIT, "-f", "-v", "-U", sock, PLUGIN, "64M"],
                             stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE)
        try:
            check(wait_listening(sock, p), "no server")
            h = nbd.NBD()
            h.connect_unix(sock)
            for _ in range(2000):
                h.aio_flush()
                h.poll(0)
            since = time.monotonic()
            while h.aio_in_flight() and time.monotonic() - since < 1:
                h.poll(100)
            check(h.aio_in_flight(), "the log is never full")
            p.terminate()
            p.wait(END_SECONDS)
            print("unread log: over", flush=True)
        finally:
            p.kill()
            p.stderr.close()
            p.wait()


# -- other ends ---------------------------------------------------------------

def no_signal(w):
    """The last client leaves, without any signal."""
    case = Case(w.nbd(64 * M), options=("--filter=exitlast",))
    with case.server:
        case.store.hang()
        case.begin_writeback()
        since = time.monotonic()
        case.alone()
        wait_end(case.server, since)
        case.server.stop = lambda: None


def no_signal_file(w):
    file = w.try_fuse(64 * M)
    if not file:
        return
    case = Case(file, options=("--filter=exitlast",))
    with case.server:
        file.hang()
        case.begin_writeback()
        since = time.monotonic()
        case.alone()
        lingers = wait_end(case.server, since, may_linger=True)
        case.server.stop = lambda: None
        if lingers:
            file.answer()
            wait_end(case.server)


def slow_is_answered(w):
    """A backing that answers late does not hang: requests in flight are
    served.
    """
    store = w.nbd(64 * M)
    case = Case(store)
    with case.server:
        store.hang()
        case.many_reads(8)
        case.until(lambda: case.in_store() >= 8)
        os.kill(case.server.pid, signal.SIGTERM)
        time.sleep(0.3)
        store.answer()
        while case.h.aio_in_flight():
            check(not case.h.aio_is_dead(), "the reads were not answered")
            case.h.poll(1000)
        for i, b in enumerate(case.buffers):
            check(bytes(b.to_bytearray()) ==
                  text(N * 4 * K)[i * 64 * K:i * 64 * K + 4 * K], "slot", i)
        wait_end(case.server)
        case.server.stop = lambda: None
        case.server.handles = []


with World() as w:
    def no_file_refused():
        no_dictionaries(w)

    def start():
        starts(w)

    def last_goes():
        no_signal(w)

    def last_goes_file():
        no_signal_file(w)

    def slow():
        slow_is_answered(w)

    stores(w)
    more = [no_file_refused, start, unread_log, last_goes, last_goes_file, slow]
    if w.try_fuse(M):
        more += [dictionary(w, program_stopped), dictionary(w, kernel_keeps)]
    at_once(*more)
