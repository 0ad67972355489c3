# SPDX-License-Identifier: BSD-3-Clause
"""A world in which files and servers do not answer.

  with World() as w:
      store = w.nbd(64 * M)       an NBD server;  store.uri
      file = w.fuse(64 * M)       a file on FUSE; file.path
      store.hang()                from here on it does not answer
      file.hang()                 the program behind /dev/fuse is stopped
      file.hang(server=True)      or: it waits for its NBD server, so the kernel
                                  does not release callers that use the file
      file.answer()               ends the hang
      w.fifo()                    the path of a pipe without a writer

  Without FUSE, w.fuse() skips the test and w.try_fuse() is None; w.no_fuse
  says why.  At the end everything is released and removed.

  end(server)                 SIGTERM; everything that others can see of the
                              server ends within the promised time
  reads(control, slots)       all requests that read, on the control socket
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from zramtest import (BAD_LOG, NBDKIT, SANITIZER, check, skip,
                      wait_listening)

# For a server: under a sanitizer any nbdkit that has logged the system's words
# for an error hangs when it exits (test-signals.sh).
OPTIONS = ("--log=null",) if SANITIZER else ()

# docs/promises.md
END_SECONDS = 10


class Late(AssertionError):
    """Ends later than END_SECONDS.  On a slow machine, one of many tests at
    once may.
    """


def in_time(since, *what):
    """Seconds that are left."""
    left = END_SECONDS - (time.monotonic() - since)
    if left <= 0:
        raise Late(" ".join(map(str, what)))
    return left


class Process:
    def __init__(self, *args):
        self.job = subprocess.Popen(args, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL)

    def stop(self):
        """Returns when the check is true; it does not report in between."""
        self.job.send_signal(signal.SIGSTOP)
        pid, status = os.waitpid(self.job.pid, os.WUNTRACED)
        check(os.WIFSTOPPED(status), "pid", pid, "has ended:", status)

    def go(self):
        if self.job.poll() is None:
            self.job.send_signal(signal.SIGCONT)

    def kill(self):
        if self.job.poll() is None:
            self.job.kill()
        self.job.wait()


def _appears(path, process, seconds=60):
    for _ in range(seconds * 20):
        if os.path.exists(path):
            return True
        if process.job.poll() is not None:
            return False
        time.sleep(0.05)
    return False


class Nbd:
    """An NBD server with an empty disk, or with that file as its disk."""

    def __init__(self, folder, size, content=None):
        self.sock = tempfile.mktemp(".sock", "nbd.", folder)
        disk = ["file", content] if content else ["memory", str(size)]
        self.process = Process(NBDKIT, "-f", "-U", self.sock, *disk)
        check(wait_listening(self.sock, self.process.job), "no NBD server")
        self.uri = "nbd+unix:///?socket=" + self.sock

    def hang(self):
        self.process.stop()

    def answer(self):
        self.process.go()

    def close(self):
        self.process.kill()


class Fuse:
    """A regular file on FUSE; nbdfuse makes it from an NBD server."""

    def __init__(self, folder, size, content=None):
        self.nbd = Nbd(folder, size, content)
        self.mount = tempfile.mkdtemp(prefix="fuse.", dir=folder)
        self.path = os.path.join(self.mount, "file")
        self.process = Process("nbdfuse", self.path, "--unix", self.nbd.sock)
        if not _appears(self.path, self.process):
            self.close()
            raise OSError("nbdfuse cannot mount")

    def hang(self, server=False):
        (self.nbd.process if server else self.process).stop()

    def answer(self):
        self.nbd.process.go()
        self.process.go()

    def close(self):
        """Without the program, the kernel fails the requests
        that wait for it.
        """
        self.process.kill()
        self.nbd.close()
        subprocess.run(["umount", "-l", self.mount], check=False,
                       stderr=subprocess.DEVNULL)


class World:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="zram-hung.")
        self.things = []
        self.no_fuse = (
            "ThreadSanitizer reports what is left behind" if "thread" in
            SANITIZER else "no nbdfuse" if not shutil.which("nbdfuse")
            else "no umount" if not shutil.which("umount")
            else "/dev/fuse cannot be opened"
            if not os.access("/dev/fuse", os.R_OK | os.W_OK) else None)

    def _add(self, thing):
        self.things.append(thing)
        return thing

    def nbd(self, size, content=None):
        return self._add(Nbd(self.dir, size, content))

    def try_fuse(self, size, content=None):
        if self.no_fuse:
            return None
        try:
            return self._add(Fuse(self.dir, size, content))
        except OSError as e:
            self.no_fuse = str(e)
            return None

    def fuse(self, size, content=None):
        return self.try_fuse(size, content) or skip(self.no_fuse)

    def file(self, content):
        fd, path = tempfile.mkstemp(dir=self.dir)
        with os.fdopen(fd, "wb") as f:
            f.write(content)
        return path

    def fifo(self):
        path = tempfile.mktemp(".fifo", dir=self.dir)
        os.mkfifo(path)
        return path

    def close(self):
        for t in self.things:
            t.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()


# -- the end ------------------------------------------------------------------

def _is_open(path):
    """Does a server listen there?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(1)
        try:
            s.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True


def _kernel_has(pid):
    """True if it has ended, except threads that the kernel does not release."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            leader = f.read().rsplit(")", 1)[1].split()[0]
        tasks = os.listdir("/proc/%d/task" % pid)
        states = []
        for t in tasks:
            try:
                with open("/proc/%d/task/%s/stat" % (pid, t)) as f:
                    states.append(f.read().rsplit(")", 1)[1].split()[0])
            except OSError:
                pass                    # it ended meanwhile
    except OSError:
        return False
    return leader in "ZD" and set(states) <= set("ZXD") and "D" in states


def wait_end(server, since=None, may_linger=False):
    """Waits until the server has ended; the time is counted from 'since'.
    With may_linger, it may be a zombie whose threads are in the kernel:
    then returns True.
    """
    since = time.monotonic() if since is None else since
    lingers = False
    while True:
        if server.job.poll() is not None:
            break
        if may_linger and _kernel_has(server.pid):
            lingers = True
            break
        in_time(since, "not ended in time:", server._read(server.log)[-2000:])
        time.sleep(0.02)
    server.took = time.monotonic() - since
    if not lingers:
        check(server.job.returncode == 0, "status", server.job.returncode,
              server._read(server.log)[-4000:])
    said = [m for m in BAD_LOG.findall(server._read(server.log))
            if m != "still running"]
    check(not said, "in the log:", server._read(server.log)[-4000:])
    # Descriptors that others could still wait for.
    check(not _is_open(server.sock), "it still listens")
    path = getattr(server, "path", None)
    check(not path or not os.path.lexists(path), "the control socket is there")
    return lingers


def end(server, may_linger=False):
    """SIGTERM, and wait_end.  After that the server need not be stopped."""
    check(server.job.poll() is None, "it had ended:",
          server._read(server.log)[-2000:])
    os.kill(server.pid, signal.SIGTERM)
    lingers = wait_end(server, may_linger=may_linger)
    server.stop = lambda: None
    return lingers


def hangs_up(sock, since):
    """The peer of this connected socket closes it, within the promised time."""
    while True:
        sock.settimeout(in_time(since, "the connection stays open"))
        try:
            if not sock.recv(65536):
                return
        except socket.timeout:
            continue
        except OSError:
            return


# -- questions ----------------------------------------------------------------

QUESTIONS = (
    ("version", {}), ("stats", {}), ("classes", {}),
    ("block_state", {"start": 0, "count": 16}), ("map", {"cells": 16}),
    ("mem_limit", {}), ("write_buffer", {}), ("mem_used_max", {}),
    ("algorithm", {}), ("workers", {}), ("recomp_algorithm", {}),
    ("auto_recompress", {}), ("latency", {}), ("metrics", {}),
)
STORE_QUESTIONS = (("writeback_limit", {}), ("evict", {}), ("promote", {}))


def reads(control, store=False):
    """Sends every request that changes nothing; the slowest answer, in
    seconds.
    """
    slowest = 0
    for method, params in QUESTIONS + (STORE_QUESTIONS if store else ()):
        begin = time.monotonic()
        control.call(method, **params)
        slowest = max(slowest, time.monotonic() - begin)
    return slowest


def at_once(*cases):
    """Runs all of them in parallel: most of their time they wait.  Those that
    were late run once more, one after the other.
    """
    wrong, late = [], []

    def one(case):
        try:
            case()
        except Late:
            late.append(case)
        except BaseException as e:          # also SystemExit: a skipped test
            wrong.append((getattr(case, "__name__", str(case)), e))

    threads = [threading.Thread(target=one, args=(c,)) for c in cases]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name, e in wrong:
        print("%s: %r" % (name, e), flush=True)
    for case in late:
        print("%s: late, and alone:" % getattr(case, "__name__", case),
              flush=True)
        case()
    if wrong:
        raise wrong[0][1]
