#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A limit of file sizes (ulimit -f) causes an error, not a signal that kills.

  start   a backing file that could not be written to its end is refused
  run     a limit that comes later: writes to the backing fail, the data stay,
          and log, statistics and jobs say why
  log     the log may not grow either, and its reader may have left
"""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile

from controltest import ControlServer, sound
from zramtest import (K, M, NBDKIT, PLUGIN, check, connect, errno,
                      errno_of, random, seed, skip_if_errors_hang,
                      wait_listening)

SLOT = 4 * K
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def limit(pid, size):
    resource.prlimit(pid, resource.RLIMIT_FSIZE,
                     (size, resource.RLIM_INFINITY))


def start(folder):
    """Refused; nothing is left behind or changed."""
    def nbdkit(size, *args):
        return subprocess.run(
            [NBDKIT, "-f", "-U", "-", PLUGIN, "64M", *args,
             "--run", "true"], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, preexec_fn=lambda: resource.setrlimit(
                resource.RLIMIT_FSIZE, (size, size)))

    path = folder + "/new"
    p = nbdkit(M, "backing=" + path, "backing_size=16M")
    check(p.returncode > 0, "status", p.returncode, p.stderr)
    for words in ("backing=" + path, str(16 * M), str(M), "ulimit -f",
                  "backing_size"):
        check(words in p.stderr, repr(words), "is not in", p.stderr)
    check(not os.path.exists(path), "it was made")
    p = nbdkit(M, "backing=" + path, "backing_size=1M")
    check(p.returncode == 0, "status", p.returncode, p.stderr)
    check(os.stat(path).st_size == M, "size")
    # A file that already exists.
    with open(path, "wb") as f:
        f.truncate(2 * M)
    p = nbdkit(M, "backing=" + path)
    check(p.returncode > 0 and str(2 * M) in p.stderr, p.returncode, p.stderr)
    p = nbdkit(M, "backing=" + path, "backing_size=1M")
    check(p.returncode == 0, "its first part would do:", p.stderr)
    check(os.stat(path).st_size == 2 * M, "size")


def run(folder):
    path = folder + "/file"
    with ControlServer("64M", "backing=" + path, "backing_size=32M",
                       "promote=0") as server:
        h, c = server.connect(), server.control()
        data = random.randbytes(128 * SLOT)
        h.pwrite(data, 0)
        check(c.call("stats")["backing"]["io"]["last_error"] is None, "early")
        limit(server.pid, 64 * K)
        job = c.job("writeback", page_indexes=[[0, 127]])
        check(job["state"] == "failed" and job["result"]["failed"] > 0, job)
        check("File too large" in job["message"] and
              job["result"]["stopped_by"] == "File too large", job)
        error = c.call("stats")["backing"]["io"]["last_error"]
        check((error["of"], error["error"]) == ("write", "File too large"),
              error)
        check(h.pread(len(data), 0) == data, "the data")
        # And without a client.
        c.call("mem_limit", set=2 * M)
        check(errno_of(h.pwrite, random.randbytes(4 * M), M) == errno.ENOSPC,
              "no ENOSPC")
        log = server._read(server.log)
        check(re.search(r"mem_limit=2097152 is used up, and backing=" +
                        re.escape(path) + r".* File too large", log), log)
        check("in time" not in log, "another cause too:", log)
        check(h.pread(len(data), 0) == data, "the data")
        # It was not permanent.
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, UNLIMITED)
        h.pwrite(random.randbytes(4 * M), M)
        check(h.pread(len(data), 0) == data, "the data")
        sound(c)


def log_is_full():
    with ControlServer("64M", "mem_limit=2M") as server:
        h = server.connect()
        h.pwrite(bytes(range(256)) * 16, 0)
        limit(server.pid, 0)
        check(errno_of(h.pwrite, random.randbytes(4 * M), M) == errno.ENOSPC,
              "no ENOSPC")
        check(h.pread(SLOT, 0) == bytes(range(256)) * 16, "the data")
        check("error" not in server._read(server.log), "it was not full")
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, UNLIMITED)


def nobody_reads_the_log(folder):
    sock = folder + "/unread"
    reader, writer = os.pipe()
    job = subprocess.Popen([NBDKIT, "-f", "-U", sock, PLUGIN, "64M",
                            "mem_limit=2M"], stdin=subprocess.DEVNULL,
                           stderr=writer)
    try:
        os.close(writer)
        check(wait_listening(sock, job), "no server")
        h = connect(sock)
        h.pwrite(bytes(range(256)) * 16, 0)
        os.close(reader)
        check(errno_of(h.pwrite, random.randbytes(4 * M), M) == errno.ENOSPC,
              "no ENOSPC")
        check(h.pread(SLOT, 0) == bytes(range(256)) * 16, "the data")
        h.shutdown()
        job.send_signal(signal.SIGTERM)
        check(job.wait(60) == 0, "status", job.returncode)
    finally:
        job.kill()
        job.wait()


def main():
    skip_if_errors_hang()
    random.seed(seed())
    folder = tempfile.mkdtemp(prefix="zram-limit.")
    try:
        start(folder)
        run(folder)
        log_is_full()
        nobody_reads_the_log(folder)
    finally:
        shutil.rmtree(folder)


main()
