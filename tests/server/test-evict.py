#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A disk many times larger than its memory, over a file.

fio writes it, with checksums, and reads it back twice while slots that are
read return to memory.  Then several clients rewrite blocks that contain their
numbers.  mem_limit is kept, no write fails, and a server at rest does nothing.
"""

import os
import shutil
import subprocess
import tempfile

from backingtest import Load
from zramtest import (K, M, SANITIZER, Server, check, errno, errno_of, seed,
                      time)

# 4 GiB in 256 MiB takes a minute, so only by hand: FULL=1.
FULL = os.environ.get("FULL") == "1"
DISK, LIMIT = (4096 * M, 256 * M) if FULL else \
    (64 * M, 6 * M) if SANITIZER else (512 * M, 32 * M)


def fio(sock, *options):
    command = ["fio", "--name=evict", "--ioengine=nbd",
               "--uri=nbd+unix:///?socket=" + sock, "--size=%d" % DISK,
               "--iodepth=16", "--verify=crc32c", "--verify_fatal=1",
               "--verify_state_save=0", "--randseed=42", "--thread",
               "--buffer_compress_percentage=50", "--refill_buffers",
               "--buffer_compress_chunk=512", *options]
    r = subprocess.run(command, capture_output=True, text=True)
    check(r.returncode == 0 and "verify failed" not in r.stdout + r.stderr,
          "fio:", r.stdout[-2000:], r.stderr[-2000:])


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def far_beyond_memory(path):
    with Server(DISK, "mem_limit=%d" % LIMIT, "backing=" + path,
                "backing_size=%d" % DISK) as s:
        h = s.connect()
        begin = s.rss()
        fio(s.sock, "--rw=write", "--bs=128k", "--do_verify=0")
        fio(s.sock, "--rw=randread", "--bs=4k", "--verify_only=0",
            "--number_ios=%d" % (DISK // (64 * K)), "--verify=0")
        fio(s.sock, "--rw=write", "--bs=128k", "--verify_only")
        # The file has everything that memory does not hold.
        check(os.stat(path).st_blocks * 512 > DISK // 4, "little on the store")
        if not SANITIZER:
            check(s.rss() - begin < LIMIT + 48 * M, "resident:", s.rss())
        # After some time; on a slow machine it may still be at work.
        for _ in range(30):
            used = cpu_seconds(s.pid)
            time.sleep(2)
            used = cpu_seconds(s.pid) - used
            if used < 0.15:
                break
        check(used < 0.15, "an idle server used", used, "s of 2 s")
        # Discarded blocks are given back to the file system.
        h.trim(DISK // 2, 0)
        h.trim(DISK // 2, DISK // 2)
        for _ in range(1200):
            if os.stat(path).st_blocks * 512 < DISK // 16:
                break
            time.sleep(0.1)
        check(os.stat(path).st_blocks * 512 < DISK // 16,
              "not punched:", os.stat(path).st_blocks * 512)


def many_clients(path):
    blocks = 2000 if SANITIZER else 10000
    with Server(DISK, "mem_limit=%d" % (blocks * K), "backing=" + path,
                "backing_size=%d" % (blocks * 8 * K)) as s:
        load = Load(s.sock, blocks)
        load.fill()
        load.start(seed())
        time.sleep(5)
        load.stop()
        load.verify()


def both_full(path):
    """ENOSPC only when neither has room; discards make room."""
    with Server(DISK, "mem_limit=2M", "backing=" + path,
                "backing_size=4M") as s:
        h = s.connect()
        at, end = 0, None
        while at < DISK:
            e = errno_of(h.pwrite, os.urandom(4 * K), at)
            if e:
                check(e == errno.ENOSPC, "errno", e)
                end = at
                break
            at += 4 * K
        # More than both hold; batches of few slots waste blocks.
        check(end and end > 4 * M + 256 * K, "full at", end)
        for _ in range(3):
            h.trim(M, 0)
            # Less: blocks that are shared or lie alone are not free.
            kept = os.urandom(512 * K)
            h.pwrite(kept, 0)
            check(h.pread(512 * K, 0) == kept, "not what was written")
        h.trim(end, 0)


def main():
    if not shutil.which("fio"):
        print("SKIP: needs fio")
        raise SystemExit(77)
    folder = tempfile.mkdtemp(prefix="zram-evict.")
    try:
        for i, test in enumerate((far_beyond_memory, many_clients, both_full)):
            begin = time.monotonic()
            test(os.path.join(folder, "store%d" % i))
            print("%s: %.1f s" % (test.__name__, time.monotonic() - begin),
                  flush=True)
    finally:
        shutil.rmtree(folder)


main()
