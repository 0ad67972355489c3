#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""marker=FILE: no disk in the place of one that is gone.

  killed, or told to end: the next does not start, until the file is removed
  an empty disk may be replaced; so may a disk that was never served
  one file, one server; a server removes only its own file
  QEMU, which connects again, gets errors and never another disk
"""

import os
import shutil
import socket
import subprocess
import tempfile

from zramtest import (K, M, NBDKIT, PLUGIN, SANITIZER, Server, check, connect,
                      errno_of, free_port, signal, time, wait_for_end)

GONE = "the disk that was served before is gone"
RUNS = "a server that is running has made this file"


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


class Folder:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="zram-test.")
        return os.path.join(self.path, "marker")

    def __exit__(self, *_):
        shutil.rmtree(self.path)


def refused(marker, why, *args):
    """One line of error that names key, value and reason; nothing changed."""
    before = read(marker)
    folder = os.path.dirname(marker)
    names = sorted(os.listdir(folder))
    r = subprocess.run([NBDKIT, "-U", "-", PLUGIN, "64M", "marker=" + marker,
                        *args, "--run", "echo served"],
                       stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, timeout=60)
    check(r.returncode != 0 and r.stdout == "", "started:", r)
    check(r.stderr.count("\n") == 1, "not one line:", r.stderr)
    check("marker=%s: " % marker in r.stderr and why in r.stderr, r.stderr)
    check(read(marker) == before, "the marker was changed")
    check(sorted(os.listdir(folder)) == names, "left something behind")


def written(server):
    server.connect().pwrite(b"data" * K, 0)


def killed(marker, use):
    s = Server("64M", "marker=" + marker)
    try:
        check(str(s.pid) in read(marker), "which process:", read(marker))
        use(s)
    finally:
        s.kill()
        shutil.rmtree(s.dir)


def after_any_end():
    with Folder() as marker:
        print("killed, and whether anything was on it nobody knows")
        killed(marker, lambda s: s.connect())
        refused(marker, GONE)
        check("remove" in read(marker), "no way out:", read(marker))
        os.unlink(marker)
        killed(marker, written)
        # The marker is checked before anything else is touched.
        refused(marker, GONE, "backing=%s.store" % marker, "backing_size=1M",
                "control=%s.socket" % marker)
        os.unlink(marker)
        print("told to end")
        with Server("64M", "marker=" + marker) as s:
            written(s)
        refused(marker, GONE)
        refused(marker, GONE)
        os.unlink(marker)
        print("told to end with a client that stays")
        with Server("64M", "marker=" + marker) as s:
            h = connect(s.sock)
            h.pwrite(b"data" * K, 0)
        check(errno_of(h.pread, 512, 0) != 0, "read without a server")
        refused(marker, GONE)


def empty_disks():
    with Folder() as marker:
        print("an empty disk")
        for _ in range(2):
            with Server("64M", "marker=" + marker) as s:
                check(os.path.exists(marker), "no marker")
                s.connect().pread(4096, 0)
            check(not os.path.exists(marker), "a marker of an empty disk")
        with Server("64M", "marker=" + marker, "write_buffer=4M") as s:
            h = s.connect()
            h.pwrite(b"data" * M, 4096)
            h.zero(64 * M, 0)
        check(not os.path.exists(marker), "a marker of an empty disk")
        with Server("64M", "marker=" + marker, "write_buffer=4M") as s:
            written(s)              # and not yet compressed
        refused(marker, GONE)
        os.unlink(marker)


def never_served():
    print("never served")
    with Folder() as marker, \
            socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        r = subprocess.run([NBDKIT, "-f", "-i", "127.0.0.1", "-p", str(port),
                            PLUGIN, "64M", "marker=" + marker],
                           stdin=subprocess.DEVNULL, capture_output=True,
                           timeout=60)
        check(r.returncode != 0, "two servers on one port")
        check(not os.path.exists(marker), "a marker of a disk without clients")


def another_user():
    print("another user, who may not make it")
    with Folder() as marker:
        r = subprocess.run([NBDKIT, "-f", "-U", marker + ".sock",
                            "-u", "nobody", PLUGIN, "64M",
                            "marker=" + marker],
                           stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=60)
        check(r.returncode != 0, "started:", r)
        check("marker=%s: cannot be made: Permission denied" % marker
              in r.stderr, r.stderr)


def whose_file():
    with Folder() as marker:
        print("two servers, one file")
        with Server("64M", "marker=" + marker) as s:
            written(s)
            refused(marker, RUNS)
            check(s.connect().pread(4, 0) == b"data", "it harmed the first")
        refused(marker, GONE)
        os.unlink(marker)

        print("another's file in the place of its own")
        with Server("64M", "marker=" + marker):
            os.unlink(marker)
            with open(marker, "w") as f:
                f.write("another's\n")
        check(read(marker) == "another's\n", "it removed another's file")
        os.unlink(marker)

        print("what is no file")
        target = marker + ".target"
        os.symlink(target, marker)
        r = subprocess.run([NBDKIT, "-U", "-", PLUGIN, "64M",
                            "marker=" + marker, "--run", "echo served"],
                           stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=60)
        check(r.returncode != 0 and "is not a file" in r.stderr, r)
        check(not os.path.exists(target), "it followed the link")


class Supervisor:
    """Starts the server again and again, as no supervisor should."""

    def __init__(self, marker):
        self.port = free_port()
        self.log = open(marker + ".log", "a+b")
        self.job = None
        self.command = [NBDKIT, "-f", "-i", "127.0.0.1", "-p", str(self.port),
                        PLUGIN, "64M", "marker=" + marker]
        self.start()
        self.go_on_until(self.serves, "no server:")

    def start(self):
        self.job = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                    stdout=self.log, stderr=self.log)

    def serves(self):
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def go_on_until(self, true, what):
        for _ in range(1200):
            if true():
                return
            if self.job.poll() is not None:
                self.start()
            time.sleep(0.05)
        check(False, what, read(self.log.name)[-1000:])

    def end(self, signum):
        """Sends the signal to the server; the next one is started."""
        self.job.send_signal(signum)
        wait_for_end(self.job, self.job.pid)
        self.go_on_until(lambda: read(self.log.name).count(GONE) > 2,
                         "not refused:")


def qemu(delay, port):
    """qemu-io works on the disk; one write was answered."""
    try:
        q = subprocess.Popen(
            ["qemu-io", "--image-opts",
             "driver=raw,file.driver=nbd,file.server.type=inet,"
             "file.server.host=127.0.0.1,file.server.port=%d,"
             "file.reconnect-delay=%d" % (port, delay)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
    except FileNotFoundError:
        print("left out: QEMU: needs qemu-io")
        return None
    q.stdin.write("write -P 65 0 64k\n")
    q.stdin.flush()
    while True:
        line = q.stdout.readline()
        check(line, "qemu-io ended")
        if "1 ops" in line:         # the second line of the answer
            return q


def qemu_connects_again(signum):
    with Folder() as marker:
        server = Supervisor(marker)
        try:
            q = qemu(2, server.port)
            if not q:
                return
            server.end(signum)
            q.stdin.write("read -P 65 0 64k\nwrite -P 66 0 64k\n"
                          "read -P 65 0 4k\nread 32k 4k\nquit\n")
            q.stdin.close()
            server.go_on_until(lambda: q.poll() is not None,
                               "qemu-io does not end")
            said = q.stdout.read()
            print(said.strip())
            check("wrote" not in said and "ops" not in said
                  and "verification" not in said, "it met another disk")
            check(said.count("failed: ") == 4, "not an error for each")
            check(not server.serves(), "somebody serves")
        finally:
            server.job.kill()
            server.job.wait()
            server.log.close()


after_any_end()
empty_disks()
whose_file()
# After an error with the system's words any nbdkit hangs at its exit under the
# address sanitizer.
if not SANITIZER:
    never_served()
    if os.getuid() == 0:
        another_user()
for signum in signal.SIGKILL, signal.SIGTERM:
    print("QEMU connects again after", signum.name)
    qemu_connects_again(signum)
