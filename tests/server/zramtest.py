# SPDX-License-Identifier: BSD-3-Clause
"""Shared by the python tests of this folder.

  Server     runs nbdkit with the plugin under test, checks how it ends
  Data       deterministic contents: text, noise, fills, zeros
  Model      a sparse flat disk in memory, to compare with the real one
  Pipeline   keeps requests that do not overlap in flight

lib.sh describes the environment.  A test ends with status 0, with 77 and a
printed reason (skip), or with an exception.
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

try:
    import nbd
except ImportError:
    print("SKIP: needs the python module nbd")
    sys.exit(77)

from freeport import free_port                                   # noqa: F401

NBDKIT = os.environ.get("NBDKIT", "nbdkit")
PLUGIN = os.environ.get("PLUGIN", "zram")
SANITIZER = os.environ.get("ZRAM_SANITIZER", "")

K, M, G, T = 1 << 10, 1 << 20, 1 << 30, 1 << 40

HOLE, ZERO = nbd.STATE_HOLE, nbd.STATE_ZERO

# A sanitizer, an assertion or the C library prints this when it kills.
BAD_LOG = re.compile(r"Sanitizer|runtime error:|Assertion|double free"
                     r"|corrupted|audit:|still running")


# So that a test that is stopped stops its server.
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def skip(why):
    print("SKIP: " + why)
    sys.exit(77)


def skip_if_errors_hang():
    """For tests in which nbdkit itself, or libnbd, prints the text of an error.

    After that, nbdkit under the address sanitizer waits for ever in the exit
    handler of p11-kit, where it frees a locale; with stock plugins too.
    """
    if "address" in SANITIZER:
        skip("nbdkit under the address sanitizer does not end after it has "
             "printed an error's text")


# Seconds that a server has from when all its threads but one have ended: see
# wait_for_end.
AFTERWARDS = 5


def has_threads(pid):
    try:
        return len(os.listdir("/proc/%d/task" % pid)) > 1
    except OSError:
        return False


def wait_for_end(job, pid, bound=60):
    """The status of a server that must end within 'bound' seconds.

    0, and the process is killed, if it hangs as skip_if_errors_hang says: with
    gcc's sanitizers, and no thread left but the one that runs exit handlers.
    The error whose text nbdkit printed may be of a client that hung up, which
    is left to chance.  Without a sanitizer the server must end.
    """
    end = time.monotonic() + bound
    alone = None
    while time.monotonic() < end:
        try:
            return job.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            pass
        if not SANITIZER or has_threads(pid):
            alone = None
        elif alone is None:
            alone = time.monotonic()
        elif time.monotonic() > alone + AFTERWARDS:
            job.kill()
            job.wait()
            return 0
    raise AssertionError("the server does not end within %d s" % bound)


def check(ok, *what):
    """An assert that -O does not remove."""
    if not ok:
        raise AssertionError(" ".join(str(w) for w in what))


def seed():
    """The seed of this run, printed; the variable SEED repeats a run."""
    n = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))
    print("SEED=%d" % n, flush=True)
    return n


def connect(sock, bounds=True):
    h = nbd.NBD()
    h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    if not bounds:
        # Let the server refuse bad requests, not the library.
        h.set_strict_mode(h.get_strict_mode()
                          & ~(nbd.STRICT_BOUNDS | nbd.STRICT_ZERO_SIZE))
    h.connect_unix(sock)
    return h


def wait_listening(sock, job):
    """Waits until clients can connect; the socket exists some time before.
    False if the server has ended instead, or after two minutes.
    """
    for _ in range(2400):
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(sock)
                return True
            except OSError:
                pass
        if job.poll() is not None:
            break
        time.sleep(0.05)
    return False


class Server:
    """with Server("1G", "slot_size=4k") as s: h = s.connect()

    With a port it listens on that of 127.0.0.1 and not on s.sock.
    """

    def __init__(self, *args, options=(), port=None):
        self.dir = tempfile.mkdtemp(prefix="zram-test.")
        self.sock = os.path.join(self.dir, "sock")
        self.log = os.path.join(self.dir, "log")
        self.pidfile = os.path.join(self.dir, "pid")
        self.handles = []
        self.args = args
        # The plugin's auditor, at the end, aborts if anything is not sound.
        audit = ["-D", "zram.audit=1"] if PLUGIN == "zram" else []
        listen = (["-i", "127.0.0.1", "-p", str(port)] if port
                  else ["-U", self.sock])
        with open(self.log, "wb") as log:
            self.job = subprocess.Popen(
                [NBDKIT, "-f", "-P", self.pidfile, *listen,
                 *audit, *options, PLUGIN, *[str(a) for a in args]],
                stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT)
        for _ in range(2400):
            if self.job.poll() is not None:
                break
            pid = self._read(self.pidfile)
            if pid and (port or os.path.exists(self.sock)):
                self.pid = int(pid)
                return
            time.sleep(0.05)
        self.kill()
        said = self._read(self.log)
        shutil.rmtree(self.dir, ignore_errors=True)
        raise AssertionError("nbdkit %s did not start: %s"
                             % (" ".join(map(str, args)), said))

    @staticmethod
    def _read(path):
        try:
            with open(path, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def connect(self, bounds=True):
        h = connect(self.sock, bounds)
        self.handles.append(h)
        return h

    def rss(self):
        """Resident bytes of the server."""
        with open("/proc/%d/status" % self.pid) as f:
            return int(re.search(r"VmRSS:\s*(\d+)", f.read()).group(1)) * K

    def kill(self):
        if self.job.poll() is None:
            self.job.kill()
            self.job.wait()

    def stop(self):
        """The server must exit with status 0 and leave a clean log."""
        for h in self.handles:
            try:
                h.shutdown()
            except nbd.Error:
                pass
        self.handles = []
        check(self.job.poll() is None, "the server had died, status",
              self.job.returncode, self._read(self.log)[-4000:])
        os.kill(self.pid, signal.SIGTERM)
        try:
            status = wait_for_end(self.job, self.pid)
        except AssertionError:
            self.kill()
            raise
        log = self._read(self.log)
        check(status == 0, "the server exited with status", status,
              log[-4000:])
        check(not BAD_LOG.search(log), "report in the server's log:",
              log[-20000:])

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
            else:
                self.kill()
                print("--- server log\n" + self._read(self.log)[-4000:])
        finally:
            self.kill()
            shutil.rmtree(self.dir, ignore_errors=True)


# A few thousand words make text that compresses to about a third.
_words = random.Random(7)
TEXT = b" ".join(bytes(_words.choices(b"abcdefghijklmnopqrstuvwxyz ",
                                      k=_words.randrange(3, 12)))
                 for _ in range(4000)) * 8
TEXT = TEXT[:len(TEXT) & ~7]


class Data:
    """Contents made from a random.Random, so that a seed repeats them."""

    KINDS = ("text", "noise", "fill", "zero", "mixed")

    def __init__(self, rng):
        self.rng = rng

    def text(self, n):
        out = bytearray()
        while len(out) < n:
            at = self.rng.randrange(len(TEXT) - 64)
            out += TEXT[at:at + min(n - len(out),
                                    self.rng.randrange(64, 20000))]
        return bytes(out)

    def noise(self, n):
        return self.rng.randbytes(n)

    def fill(self, n):
        return (self.rng.randbytes(8) * (n // 8 + 1))[:n]

    def zero(self, n):
        return bytes(n)

    def mixed(self, n):
        """Part noise, part text, in a random ratio: compresses by any amount."""
        cut = self.rng.randrange(n + 1)
        return self.noise(cut) + self.text(n - cut)

    def any(self, n):
        kind = self.rng.choice(("text",) * 3 + self.KINDS)
        return getattr(self, kind)(n)


class Model:
    """A flat disk of any size, sparse in pages of 64 KiB."""

    PAGE = 64 * K

    def __init__(self, size):
        self.size = size
        self.pages = {}

    def _parts(self, offset, count):
        while count:
            at = offset % self.PAGE
            n = min(count, self.PAGE - at)
            yield offset // self.PAGE, at, n
            offset += n
            count -= n

    def write(self, offset, data):
        done = 0
        for page, at, n in self._parts(offset, len(data)):
            if page not in self.pages:
                self.pages[page] = bytearray(self.PAGE)
            self.pages[page][at:at + n] = data[done:done + n]
            done += n

    def zero(self, offset, count):
        for page, at, n in self._parts(offset, count):
            if n == self.PAGE:
                self.pages.pop(page, None)
            elif page in self.pages:
                self.pages[page][at:at + n] = bytes(n)

    def read(self, offset, count):
        out = bytearray()
        for page, at, n in self._parts(offset, count):
            p = self.pages.get(page)
            out += p[at:at + n] if p else bytes(n)
        return bytes(out)

    def compare(self, h, offset=0, count=None, what=""):
        """Reads a range of the disk in pieces and compares it
        with the model.
        """
        end = self.size if count is None else offset + count
        while offset < end:
            n = min(end - offset, M)
            same(h.pread(n, offset), self.read(offset, n), offset, what)
            offset += n


def same(got, want, offset, what=""):
    if got == want:
        return
    check(len(got) == len(want), what, "length", len(got), len(want))
    at = next(i for i in range(len(want)) if got[i] != want[i])
    raise AssertionError(
        "%s: byte %d of the request at offset %d (disk offset %d): "
        "got %s, want %s" % (what, at, offset, offset + at,
                             bytes(got[at:at + 16]).hex(),
                             bytes(want[at:at + 16]).hex()))


def extents(h, count, offset, flags=0):
    """The extents of one request, checked: [(offset, length, type)]."""
    found = []

    def callback(context, at, entries, error):
        if context == nbd.CONTEXT_BASE_ALLOCATION:
            for i in range(0, len(entries), 2):
                found.append((at, entries[i], entries[i + 1]))
                at += entries[i]

    h.block_status(count, offset, callback, flags)
    check(found, "no extent at", offset)
    check(found[0][0] == offset, "first extent not at", offset, found[0])
    check(all(n > 0 for _, n, _ in found), "empty extent", found)
    total = sum(n for _, n, _ in found)
    check(total <= count, "extents pass the end of the request:", total,
          "of", count)
    if flags & nbd.CMD_FLAG_REQ_ONE:
        check(len(found) == 1, "REQ_ONE gave", len(found))
    return found


def all_extents(h, offset, end):
    """All extents of a range, equal neighbours merged."""
    out = []
    while offset < end:
        for at, n, kind in extents(h, min(end - offset, 2**32 - 1), offset):
            if out and out[-1][2] == kind:
                out[-1] = (out[-1][0], out[-1][1] + n, kind)
            else:
                out.append((at, n, kind))
            offset = at + n
    return out


def errno_of(call, *args):
    """The errno of a request, 0 if it succeeds."""
    try:
        call(*args)
    except nbd.Error as e:
        return e.errnum
    return 0


class Pipeline:
    """Requests in flight on several connections, none overlapping.

    submit() waits until nothing in flight overlaps the range, starts the
    request on the next connection and returns.  `done`, if given, is called
    when it has ended without error.
    """

    def __init__(self, handles, depth=16):
        self.handles = handles
        self.depth = depth
        self.turn = 0
        self.flying = {}                # number -> (start, end, arguments)
        self.number = 0
        self.errors = []

    def _pump(self):
        poller = select.poll()
        by_fd = {}
        for h in self.handles:
            way = h.aio_get_direction()
            if not way:
                continue                # closed or dead
            fd = h.aio_get_fd()
            by_fd[fd] = h
            poller.register(
                fd, (select.POLLIN if way & nbd.AIO_DIRECTION_READ else 0)
                | (select.POLLOUT if way & nbd.AIO_DIRECTION_WRITE else 0))
        check(by_fd, "all connections are gone")
        ready = poller.poll(120000)
        check(ready, "no answer in 120 s;", len(self.flying), "in flight")
        for fd, event in ready:
            h = by_fd[fd]
            way = h.aio_get_direction()
            if event & (select.POLLIN | select.POLLHUP | select.POLLERR) \
               and way & nbd.AIO_DIRECTION_READ:
                h.aio_notify_read()
            elif way & nbd.AIO_DIRECTION_WRITE:
                h.aio_notify_write()
        if self.errors:
            raise AssertionError(self.errors[0])

    def _overlaps(self, start, end):
        return any(s < end and start < e for s, e, _ in self.flying.values())

    def submit(self, start, end, name, *args, done=None):
        while len(self.flying) >= self.depth or self._overlaps(start, end):
            self._pump()
        number = self.number
        self.number += 1
        self.flying[number] = (start, end, args)    # keeps buffers alive

        def completed(error):
            self.flying.pop(number, None)
            try:
                if error.value:
                    raise AssertionError("%s of [%d, %d): error %d"
                                         % (name, start, end, error.value))
                if done:
                    done()
            except AssertionError as e:
                self.errors.append(str(e))
            return 1

        h = self.handles[self.turn % len(self.handles)]
        self.turn += 1
        flags = args[-1]
        try:
            getattr(h, "aio_" + name)(*args[:-1], completion=completed,
                                      flags=flags)
        except nbd.Error:
            self.flying.pop(number, None)
            raise

    def settle(self):
        """After an error: wait for all the answers that still come."""
        while any(h.aio_in_flight() and h.aio_get_direction()
                  for h in self.handles):
            self.errors.clear()
            try:
                self._pump()
            except (AssertionError, nbd.Error):
                pass

    def drain(self):
        while self.flying:
            self._pump()
        if self.errors:
            raise AssertionError(self.errors[0])


def write_image(path, size, number):
    """text, noise, fills and holes, in runs of odd length."""
    rng = random.Random(number)
    data = Data(rng)
    with open(path, "wb") as f:
        f.truncate(size)
        at = 0
        while at < size:
            n = min(size - at, rng.choice((rng.randrange(1, 9000),
                                           rng.randrange(1, 70000),
                                           rng.randrange(1, 40) * 4096)))
            kind = rng.choice(("text", "text", "text", "noise", "fill",
                               "zero", "hole"))
            f.seek(at)
            if kind != "hole":
                f.write(getattr(data, kind)(n))
            at += n


def busy(sock, number, ready, begin, end, connections=2):
    """Random requests until one fails; calls ready() once they run."""
    rng = random.Random(number)
    data = Data(rng)
    pipe = Pipeline([connect(sock) for _ in range(connections)], depth=24)
    i = 0
    try:
        while True:
            n = rng.choice((1, 100, 4096, 4096, 16384))
            at = begin + rng.randrange(end - begin - n)
            what = rng.random()
            if what < 0.6:
                buf = nbd.Buffer.from_bytearray(bytearray(data.any(n)))
                pipe.submit(at, at + n, "pwrite", buf, at, 0)
            elif what < 0.8:
                pipe.submit(at, at + n, "pread", nbd.Buffer(n), at, 0)
            else:
                name = rng.choice(("trim", "zero"))
                pipe.submit(at, at + n, name, n, at, 0)
            i += 1
            if i == 64:
                ready()
    except (AssertionError, nbd.Error) as e:
        print("the server went away after %d requests: %s" % (i, e))
        pipe.settle()


def main(verb, *args):
    if verb == "image":                 # FILE BYTES [SEED]
        write_image(args[0], int(args[1]),
                    int(args[2]) if len(args) > 2 else 1)
        return
    # idle or busy: SOCKET FILE, which is made once the client is at work
    sock, ready = args

    def touch():
        open(ready, "w").close()

    if verb == "idle":
        h = connect(sock)
        h.pread(1, 0)
        touch()
        h.poll(-1)
    elif verb == "busy":
        busy(sock, os.getpid(), touch, 0, 4 * M)


if __name__ == "__main__":
    main(*sys.argv[1:])
