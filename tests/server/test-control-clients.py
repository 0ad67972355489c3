#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The control socket against clients that are malformed, huge, slow, half
closed, deaf or many: each gets an error or a closed connection, and the
server never keeps the other clients waiting.
"""

import fcntl
import json
import os
import random
import socket
import stat
import subprocess
import tempfile
import threading
import time

from controltest import (METHOD, PARAMS, PARSE, REFUSED, REQUEST, Control,
                         ControlServer)
from zramtest import K, M, NBDKIT, PLUGIN, SANITIZER, Data, check, connect, seed

rng = random.Random(seed())
STATS = b'{"jsonrpc":"2.0","id":7,"method":"stats"}\n'
VERSION = b'{"jsonrpc":"2.0","id":7,"method":"version"}\n'


def equal(what, got, want):
    check(got == want, what, "is", got, "and not", want)


def code(answer):
    check(answer and "error" in answer, "no error but", answer)
    return answer["error"]["code"]


# ---- lines that are not requests

MALFORMED = [
    (PARSE, b""), (PARSE, b" "), (PARSE, b"x"), (PARSE, b"{"), (PARSE, b"}"),
    (PARSE, b"nul"), (PARSE, b'"a'), (PARSE, b"{'a':1}"), (PARSE, b"\0"),
    (PARSE, b'{"jsonrpc":"2.0","id":1,"method":"stats"}}'),
    (PARSE, b'{"jsonrpc":"2.0","id":1,"method":"stats"} {}'),
    (PARSE, b'{"jsonrpc":"2.0","id":1,"id":2,"method":"stats"}'),
    (PARSE, b'{"jsonrpc":"2.0","id":1,"method":"\xff\xfe"}'),
    (PARSE, b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}'),
    (PARSE, b'{"jsonrpc":"2.0","id":1,"method":"a\\u0000b"}'),
    (PARSE, b'{"id":9223372036854775808}'),
    (PARSE, b'{"id":1e999}'),
    (PARSE, b"[" * 60000), (PARSE, b'{"a":' * 12000),
    (PARSE, b"GET /metrics HTTP/1.1\r"),
    (REQUEST, b"[]"), (REQUEST, b"[" + STATS.strip() + b"]"),
    (REQUEST, b"{}"), (REQUEST, b'{"jsonrpc":"2.0"}'),
    (REQUEST, b'{"jsonrpc":"2.0","id":1}'),
    (REQUEST, b'{"jsonrpc":"1.0","id":1,"method":"stats"}'),
    (REQUEST, b'{"jsonrpc":2.0,"id":1,"method":"stats"}'),
    (REQUEST, b'{"id":1,"method":"stats"}'),
    (REQUEST, b'{"jsonrpc":"2.0","id":1,"method":5}'),
    (REQUEST, b'{"jsonrpc":"2.0","id":[1],"method":"stats"}'),
    (REQUEST, b'{"jsonrpc":"2.0","id":{},"method":"stats"}'),
    (REQUEST, b'{"jsonrpc":"2.0","id":true,"method":"stats"}'),
    (METHOD, b'{"jsonrpc":"2.0","id":1,"method":""}'),
    (METHOD, b'{"jsonrpc":"2.0","id":1,"method":"Stats"}'),
    (METHOD, b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 60000 + b'"}'),
    (METHOD, '{"jsonrpc":"2.0","id":1,"method":"%s"}'.encode()
     % ("\u00fc\U0001f600" * 100).encode()),
    (PARAMS, b'{"jsonrpc":"2.0","id":1,"method":"stats","params":[]}'),
    (PARAMS, b'{"jsonrpc":"2.0","id":1,"method":"stats","params":null}'),
    (PARAMS, b'{"jsonrpc":"2.0","id":1,"method":"stats","params":3}'),
    (PARAMS, b'{"jsonrpc":"2.0","id":1,"method":"stats","params":{"":0}}'),
    (PARAMS, '{"jsonrpc":"2.0","id":1,"method":"stats","params":{"%s":0}}'
     .encode() % ("\u20ac" * 99).encode()),
    (PARAMS, b'{"jsonrpc":"2.0","id":1,"method":"idle","params":{"mode":"'
     + b"y" * 60000 + b'"}}'),
]


def malformed(server):
    with Control(server.path) as c:
        for want, line in MALFORMED:
            equal("code of %r" % line[:80], code(c.raw(line)), want)
        # The connection still works.
        equal("after all", c.call("version")["protocol"], 1)
        for id in ('"x"', "null", "0", "-5", "1.5", '"\\u20ac"', '""'):
            line = '{"jsonrpc":"2.0","id":%s,"method":"version"}' % id
            equal("id", c.raw(line.encode())["id"], json.loads(id))
        # Without an id there is no answer, but the request is run.
        c.send(b'{"jsonrpc":"2.0","method":"mem_limit",'
               b'"params":{"set":9999999}}\n'
               b'{"jsonrpc":"2.0","method":"no such"}\n'
               b'{"jsonrpc":"2.0","method":"idle","params":{"mode":"all"}}\n'
               b'{"jsonrpc":"2.0","method":"stats","params":{"x":1}}\n')
        equal("limit", c.call("mem_limit"), {"mem_limit": 9999999})
        c.call("mem_limit", set=0)
        # \r\n, and unknown members.
        equal("id", c.raw(b'  {"x":[],"id":3,"method":"version",'
                          b'"jsonrpc":"2.0"}\t \r')["id"], 3)
        equal("largest", code(c.raw(b'{"a":"' + b"z" * (65536 - 8) + b'"}')),
              REQUEST)


def too_long(server):
    for n, ending in ((65537, b"\n"), (65537, b""), (200000, b"\n"),
                      (10 * M, b"")):
        with Control(server.path) as c:
            try:
                c.send(b" " * n + ending)
            except (BrokenPipeError, ConnectionResetError):
                pass                    # closed while the line was being sent
            equal("code", code(c.line()), REQUEST)
            try:
                equal("then", c.line(), None)
            except ConnectionResetError:
                pass
    with Control(server.path) as c:     # the requests before it are answered
        c.send(STATS + b"x" * 70000)
        equal("first", c.line()["id"], 7)
        equal("second", code(c.line()), REQUEST)


def half_closed(server):
    for tail in (b"", b"\n"):           # the last line may lack its \n
        with Control(server.path) as c:
            c.send(b'{"jsonrpc":"2.0","id":1,"method":"map",'
                   b'"params":{"cells":9}}\n' + VERSION + STATS.strip() + tail)
            c.end()
            equal("order", [c.line()["id"] for _ in range(3)], [1, 7, 7])
            equal("then", c.line(), None)
    with Control(server.path) as c:
        c.send(STATS[:20])
        c.end()
        equal("half a line", code(c.line()), PARSE)
        equal("then", c.line(), None)
    with Control(server.path) as c:
        c.end()
        equal("nothing", c.line(), None)
    with Control(server.path) as c:     # sends a request and leaves
        c.send(b'{"jsonrpc":"2.0","id":1,"method":"mem_limit",'
               b'"params":{"set":8888888}}\n'
               b'{"jsonrpc":"2.0","id":2,"method":"workers",'
               b'"params":{"set":3}}\n')
    with Control(server.path) as c:
        for _ in range(6000):
            if c.call("workers")["workers"] == 3:
                break
            time.sleep(0.01)
        equal("limit", c.call("mem_limit"), {"mem_limit": 8888888})
        c.call("mem_limit", set=0)


# ---- slow clients

def slow(server):
    """One byte now and then, halves of lines, nothing at all."""
    quiet = [Control(server.path) for _ in range(20)]
    for i, c in enumerate(quiet):
        if i % 3 == 1:
            c.send(STATS[:i])
        elif i % 3 == 2:
            c.end()
    with Control(server.path) as c, Control(server.path) as other:
        line = b'{"jsonrpc":"2.0","id":1,"method":"stats" %s}\n' \
            % (b" " * 300)
        for i in range(len(line)):
            c.send(line[i:i + 1])
            if i % 50 == 0:
                other.call("stats")
        equal("a byte at a time", c.line()["id"], 1)
    for c in quiet:
        c.close()


def deaf(server):
    """A client sends requests and does not read: in the end it is closed, it
    uses none of the server's memory, and no client waits.
    """
    with Control(server.path) as c, Control(server.path) as other:
        c.s.setblocking(False)
        line = b'{"jsonrpc":"2.0","id":1,"method":"metrics"}\n' * 16
        before, sent, closed = server.rss(), 0, False
        for _ in range(2000):           # 10 s are enough; 60 are too many
            try:
                while True:
                    sent += c.s.send(line)
            except BlockingIOError:
                other.call("stats")     # the server works meanwhile
                check(SANITIZER or server.rss() < before + 16 * M,
                      "it takes", server.rss() - before, "bytes of memory")
            except (BrokenPipeError, ConnectionResetError):
                closed = True
                break
            time.sleep(0.03)
        check(closed, "after", sent, "bytes it is still connected")
        other.call("stats")
    # A client that reads gets everything, however much.
    with Control(server.path) as c:
        n = 300
        whole = (b'{"jsonrpc":"2.0","id":%d,"method":"metrics"}\n' % i
                 for i in range(n))
        feeder = threading.Thread(target=lambda: [c.send(x) for x in whole])
        feeder.start()
        equal("order", [c.line()["id"] for _ in range(n)], list(range(n)))
        feeder.join()


def one_large_answer(server):
    """An answer above the limit of unread bytes, to a slow reader."""
    with Control(server.path) as c, Control(server.path) as other:
        c.send(b'{"jsonrpc":"2.0","id":1,"method":"map",'
               b'"params":{"cells":65536}}\n')
        c.send(STATS)
        time.sleep(0.2)
        other.call("stats")
        answer = c.line()
        equal("cells", len(answer["result"]["cells"]), 65536)
        equal("next", c.line()["id"], 7)


def hogs(server):
    """Clients that together leave as much unread as all clients may.  A client
    that reads is not harmed.
    """
    map_all = (b'{"jsonrpc":"2.0","id":1,"method":"map",'
               b'"params":{"cells":65536}}\n')
    with Control(server.path) as c:
        c.send(map_all)
        size = len(c.f.readline())
    many = []
    for _ in range((64 * M) // size + 2):
        many.append(Control(server.path))
        many[-1].send(map_all)
        with Control(server.path) as c: # its answer has been made by now
            c.call("map", cells=1)
    for _ in range(5):
        with Control(server.path) as c:
            equal("cells", len(c.call("map", cells=65536)["cells"]), 65536)
    for c in many:
        c.close()


# ---- many

def hundred(server):
    """A hundred clients at once, each with requests of all kinds."""
    failures = []

    def run(number):
        r = random.Random(number)
        try:
            with Control(server.path) as c:
                for _ in range(30):
                    method, params = r.choice((
                        ("stats", {}), ("version", {}), ("classes", {}),
                        ("latency", {}), ("metrics", {}),
                        ("map", {"cells": 50}),
                        ("block_state", {"start": 0, "count": 100}),
                        ("idle", {"mode": "all"}), ("workers", {})))
                    c.call(method, **params)
        except Exception as e:          # to the main thread
            failures.append(e)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(not failures, len(failures), "failed, first:",
          repr(failures[:1]))


def too_many(server):
    full = [Control(server.path) for _ in range(256)]
    for c in full:                      # all of them are accepted
        c.call("version")
    for _ in range(3):
        with Control(server.path) as c:
            answer = c.line()
            equal("code", code(answer), REFUSED)
            check("256" in answer["error"]["message"], answer)
            equal("then", c.line(), None)
    full.pop().close()
    for _ in range(6000):               # once the server notices, there is room
        with Control(server.path) as c:
            c.send(STATS)
            if "result" in c.line():
                break
        time.sleep(0.01)
    else:
        check(False, "no room after one had left")
    for c in full:
        c.call("version")
        c.close()


def descriptors(server):
    """Nothing is left of all these clients."""
    def count():
        return len(os.listdir("/proc/%d/fd" % server.pid))

    with Control(server.path) as c:
        for _ in range(6000):
            before = count()
            c.call("version")
            if before == count() <= 40:
                break
            time.sleep(0.01)
        start = count()
        for _ in range(300):
            with Control(server.path) as other:
                other.send(STATS if rng.random() < 0.5 else STATS[:9])
        for _ in range(6000):
            c.call("version")
            if count() <= start:
                return
            time.sleep(0.01)
        check(False, start, "descriptors before, now", count())


# ---- prompt

def prompt(server):
    """Statistics do not wait for a pass, a slow request or a load."""
    stop = threading.Event()
    done = {"jobs": 0, "marks": 0, "writes": 0}
    failures = []

    def guarded(f):
        def run():
            try:
                while not stop.is_set():
                    f()
            except Exception as e:
                failures.append(e)
                stop.set()
        return threading.Thread(target=run)

    h = connect(server.sock)
    data = Data(random.Random(1))
    pieces = [data.mixed(4 * K) for _ in range(64)]
    steer, marker = Control(server.path), Control(server.path)

    def write():
        at = rng.randrange(16 * K) * 4 * K
        h.pwrite(rng.choice(pieces), at)
        if rng.random() < 0.4:
            h.trim(64 * K, rng.randrange(1 * K) * 64 * K)
        done["writes"] += 1

    def jobs():
        kind, params = rng.choice((("compact", {}), ("audit", {"deep": True})))
        job = steer.job(kind, **params)
        check(job["state"] == "done", kind, job)
        done["jobs"] += 1

    def mark():
        marker.call("idle", mode="all")
        marker.call("map", cells=65536)
        done["marks"] += 1

    threads = [guarded(write), guarded(jobs), guarded(mark)]
    for t in threads:
        t.start()
    times = []
    with Control(server.path) as c:
        while not stop.is_set() and (min(done.values()) < 8 or
                                     len(times) < 300):
            begin = time.monotonic()
            c.call("stats")
            times.append(time.monotonic() - begin)
    stop.set()
    for t in threads:
        t.join()
    check(not failures, repr(failures[:1]))
    times.sort()
    print("stats: median %.2f ms, worst %.2f ms of %d"
          % (times[len(times) // 2] * 1e3, times[-1] * 1e3, len(times)))
    # Does not time this machine; checks that no request waited for a job.
    check(times[len(times) // 2] < 1, "statistics take", times[-5:])
    steer.close()
    marker.close()
    h.shutdown()


# ---- the socket in the file system

def start(path, *more):
    """Try to start a server; returns its status and its output."""
    run = subprocess.run([NBDKIT, "-U", "-", PLUGIN, "1M", "control=" + path,
                          *more, "--run", "test -S '%s'" % path],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=60, text=True)
    return run.returncode, run.stdout


def refused(path, *words, system=False):
    """With 'system' the message contains the system's words for an error.  If
    a sanitizer's runtime is preloaded, an nbdkit that has printed such
    words hangs in its exit handlers (glibc's locale lock stays taken).  So
    it is not tried there.
    """
    if system and SANITIZER:
        return
    status, said = start(path)
    check(status != 0, path, "was accepted")
    check("control=" in said, "key not named:", said)
    for w in words:
        check(w in said, repr(w), "is not in:", said)


def port_is_taken(path):
    with socket.create_server(("127.0.0.1", 0)) as s:
        run = subprocess.run([NBDKIT, "-i", "127.0.0.1", "-p",
                              str(s.getsockname()[1]), PLUGIN, "1M",
                              "control=" + path], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, timeout=60,
                             stderr=subprocess.STDOUT, text=True)
    check(run.returncode != 0 and not os.path.lexists(path),
          "left behind:", run.stdout)


def in_the_file_system(server):
    mode = os.stat(server.path).st_mode
    check(stat.S_ISSOCK(mode), "not a socket")
    equal("mode", stat.S_IMODE(mode), 0o600)
    refused(server.path, server.path, "listening")
    Control(server.path).close()        # and the socket is still there

    with tempfile.TemporaryDirectory(prefix="zram-test.") as d:
        plain = os.path.join(d, "plain")
        with open(plain, "w") as f:
            f.write("precious")
        refused(plain, plain, "not a socket")
        with open(plain) as f:
            equal("content", f.read(), "precious")
        link = os.path.join(d, "link")
        os.symlink(server.path, link)
        refused(link, link, "not a socket")
        refused(d, d, "not a socket")
        refused(os.path.join(d, "none", "x"), "none", system=True)
        refused(os.path.join(d, "x" * 120), "107 bytes")
        refused("", "path")

        dead = os.path.join(d, "dead")
        s = socket.socket(socket.AF_UNIX)
        s.bind(dead)
        s.listen(1)
        refused(dead, "listening")
        s.close()
        check(os.path.exists(dead), "the dead socket is not there")
        status, said = start(dead)
        equal("over a dead one: " + said, status, 0)
        check(not os.path.lexists(dead), "not removed")
        # Every user can lock the folder.  Other users cannot lock the file
        # beside the socket, and the server does not wait for that lock for
        # ever.
        for what in (d, dead + ".lock"):
            s = socket.socket(socket.AF_UNIX)
            s.bind(dead)
            s.close()
            fd = os.open(what, os.O_RDONLY | (0 if what == d else os.O_CREAT),
                         0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if what == d:
                status, said = start(dead)
                equal("in a locked folder: " + said, status, 0)
            else:
                refused(dead, dead + ": cannot lock " + what, "locked")
            os.close(fd)
        equal("left", os.listdir(d).count("dead.lock"), 1)
        status, said = start(dead)      # over a dead server's socket
        equal("no lock any more: " + said, status, 0)
        check(not os.path.lexists(dead + ".lock"), "the lock file stays")
        # A socket of another kind belongs to another program.
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(dead)
        refused(dead, dead, system=True)
        check(os.path.exists(dead), "somebody's socket was removed")
        s.close()

        # If nbdkit does not start for another reason, nothing is left.
        mine = os.path.join(d, "mine")
        status, said = start(mine, "metrics=none")
        check(status != 0 and not os.path.lexists(mine), "left behind:", said)
        if not SANITIZER:               # as above
            port_is_taken(mine)

        # A relative path, and the server goes into the background.
        pidfile = os.path.join(d, "pid")
        old = os.umask(0)
        try:
            subprocess.run([NBDKIT, "-P", pidfile, "-U",
                            os.path.join(d, "nbd"), PLUGIN, "1M",
                            "control=here"], cwd=d, check=True,
                           stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, timeout=60)
        finally:
            os.umask(old)
        here = os.path.join(d, "here")
        # A server in the background writes it after its parent has ended.
        for _ in range(6000):
            if os.path.exists(pidfile) and os.path.getsize(pidfile):
                break
            time.sleep(0.01)
        with open(pidfile) as f:
            pid = int(f.read())
        try:
            with Control(here) as c:
                equal("slots", c.call("stats")["slots"], 256)
            equal("mode", stat.S_IMODE(os.stat(here).st_mode), 0o600)
            # A file that took the socket's place must not be removed.
            if rng.random() < 0.5:
                os.unlink(here)
                with open(here, "w") as f:
                    f.write("another's")
        finally:
            os.kill(pid, 15)
        for _ in range(1200):
            if not os.path.exists("/proc/%d" % pid) or open(
                    "/proc/%d/stat" % pid).read().rsplit(") ")[-1][0] == "Z":
                break
            time.sleep(0.05)
        else:
            check(False, "the server does not end")
        if os.path.lexists(here):
            with open(here) as f:
                equal("another's", f.read(), "another's")


def ends_with_clients(server):
    """The server ends with clients connected and a job running."""
    c = server.control()
    server.control().send(STATS[:10])
    for _ in range(8):
        deaf_one = server.control()
        deaf_one.send(b'{"jsonrpc":"2.0","id":1,"method":"map",'
                      b'"params":{"cells":65536}}\n')
    c.call("compact")


with ControlServer("256M") as server:
    malformed(server)
    too_long(server)
    half_closed(server)
    slow(server)
    one_large_answer(server)
    deaf(server)
    hogs(server)
    hundred(server)
    too_many(server)
    descriptors(server)
    prompt(server)
    in_the_file_system(server)
    with Control(server.path) as c:
        equal("audit", c.job("audit", deep=True)["state"], "done")
    ends_with_clients(server)
