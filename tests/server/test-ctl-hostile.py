#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""nbdzramctl against hostile servers: they send garbage, too much, nothing,
control sequences for a terminal, or an unexpected type.  Also its exit
statuses and its behaviour when the output is closed, for each verb.
"""

import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from controltest import ControlServer
from ctltest import CTL, NO_SERVER, OK, REFUSED, USAGE, Ctl, environment
from zramtest import K, check

EVIL = "\x1b]0;owned\x07\x9b31m\x7f\u202e\nnbdzramctl: forged\r"
HARMFUL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
                     "\u200e\u200f\u061c\u2028\u2029]")

VERBS = {
    "": [], "mm_stat": [], "io_stat": [], "bd_stat": [], "debug_stat": [],
    "block_state": ["5-9"], "classes": [], "idle": ["all"], "recompress": [],
    "recomp_algorithm": ["zstd"], "auto_recompress": ["5"], "train": [],
    "writeback": ["type=idle"], "writeback_limit": ["5"], "evict": ["low=5"],
    "promote": ["on"], "compact": [], "mem_limit": ["1M"],
    "write_buffer": ["1M"], "mem_used_max": ["reset"],
    "algorithm": ["zstd", "5"], "workers": ["5"], "reset": [], "audit": [],
    "metrics": [], "latency": [], "top": ["--once"], "map": ["--once"],
}

folder = tempfile.mkdtemp(prefix="zram-test.")


def words_of(verb):
    return [verb, *VERBS[verb]] if verb else []


class Fake:
    """A server: answer (request) gives bytes, or a value for the result."""

    def __init__(self, answer):
        self.answer = answer
        self.path = tempfile.mktemp(prefix="fake.", dir=folder)
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.path)
        self.s.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.s.accept()
            except OSError:
                return
            threading.Thread(target=self.client, args=(c,), daemon=True).start()

    def client(self, c):
        with c, c.makefile("rb") as f:
            for line in f:
                request = json.loads(line)
                if request["method"] == "version":
                    answer = {"protocol": 1, "version": EVIL}
                else:
                    answer = self.answer(request)
                if not isinstance(answer, bytes):
                    answer = json.dumps({"jsonrpc": "2.0", "id": request["id"],
                                         "result": answer},
                                        ensure_ascii=False).encode() + b"\n"
                try:
                    c.sendall(answer)
                except OSError:
                    return

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.s.close()
        os.unlink(self.path)


def run(path, *words, **more):
    env = environment(**more)
    env["LC_ALL"] = "C.UTF-8"
    return subprocess.run([CTL, "-s", path, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, env=env, timeout=120)


def harmless(p, *what):
    """Its output, as text; at most one line on stderr."""
    for data in p.stdout, p.stderr:
        text = data.decode()
        check(not HARMFUL.search(text), what, "printed", repr(text[:500]))
        # Only metrics have lines of their own.
        check("metrics" in what or not re.search("^nbdzramctl: forged", text, re.M),
              what, text[:500])
    check(p.returncode in (OK, REFUSED, USAGE, NO_SERVER), what, p)
    return p.stdout.decode(), p.stderr.decode()


# ---- answers

def poisoned(value, how):
    """The same value with something else in each place."""
    if isinstance(value, dict):
        return {k: poisoned(v, how) for k, v in value.items()}
    if isinstance(value, list):
        return [poisoned(v, how) for v in value]
    return how(value)


def recorded():
    """A real server's answer to each method."""
    answers = {}
    with ControlServer("8M", "workers=2", "mem_limit=8M", "recompress=zstd",
                       "backing=" + folder + "/store",
                       "backing_size=4M") as server:
        h = server.connect()
        h.pwrite(os.urandom(4 * K) + b"ab" * 2048 + b"x" * 100, 0)
        c = server.control()

        def call(method, **params):
            answers[method] = c.call(method, **params)

        for method in ("stats", "classes", "latency", "metrics", "mem_limit",
                       "write_buffer", "mem_used_max", "algorithm",
                       "recomp_algorithm", "auto_recompress", "writeback_limit",
                       "evict", "promote", "workers"):
            call(method)
        call("block_state", start=0, count=5)
        call("map", cells=10)
        call("idle", mode="all")
        call("compact")
        c.wait(answers["compact"]["job"])
        call("job", id=answers["compact"]["job"])
        for method in "recompress", "train", "writeback", "audit", "reset":
            answers[method] = answers["compact"]
        answers["job_cancel"] = {"heeded": True}
    return answers


def hostile(answers):
    def evil_strings(v):
        return EVIL if isinstance(v, str) else v

    def evil_states(method):
        # Jobs must have ended, or nbdzramctl follows them for ever.
        return lambda v: ("failed" if v == "done" else EVIL) \
            if isinstance(v, str) and method == "job" else evil_strings(v)

    ways = {
        "strings": lambda m, a: poisoned(a, evil_states(m)),
        "long strings": lambda m, a: poisoned(
            a, lambda v: "done" if v == "done" else "x\x1b" * 40000
            if isinstance(v, str) else v),
        "large": lambda m, a: poisoned(
            a, lambda v: 2**63 - 1 if type(v) is int else 1e300
            if type(v) is float else v),
        "negative": lambda m, a: poisoned(
            a, lambda v: -1 if type(v) is int else -1e300
            if type(v) is float else v),
        "null": lambda m, a: poisoned(a, lambda v: None),
        "empty": lambda m, a: poisoned(a, lambda v: "" if isinstance(v, str)
                                       else v),
        "no members": lambda m, a: {},
        "a list": lambda m, a: [[[]]],
        "none": lambda m, a: None,
        "an error": lambda m, a: json.dumps(
            {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": EVIL}},
            ensure_ascii=False).encode() + b"\n",
        "a long error": lambda m, a: json.dumps(
            {"jsonrpc": "2.0", "id": 1, "error":
             {"code": 2, "message": EVIL * 50000}}).encode() + b"\n",
        "a strange error": lambda m, a: b'{"id":1,"error":[1]}\n',
        "no JSON": lambda m, a: EVIL.replace("\n", "").encode() + b"\n",
        "no UTF-8": lambda m, a: b'{"id":2,"result":"\xff\x9b\xc3"}\n',
        "zeros": lambda m, a: bytes(1000) + b"\n",
        "another id": lambda m, a: b'{"jsonrpc":"2.0","id":77,"result":{}}\n',
        "bytes behind": lambda m, a: json.dumps(
            {"id": 2, "result": a}).encode() + b"\0garbage\n",
    }

    def one(way):
        change = ways[way]
        with Fake(lambda r: change(r["method"], answers[r["method"]])) as fake:
            for verb in VERBS:
                for more in [], ["--json"]:
                    p = run(fake.path, *more, *words_of(verb))
                    said, wrong = harmless(p, way, verb)
                    # Each ends well, or with a line that says why.
                    check((p.returncode == OK) == (wrong == ""), way, verb, p)
                    check(wrong.count("\n") <= 1 and len(wrong) < 10000, way,
                          verb, wrong[:300])
                    if more and p.returncode == OK:
                        json.loads(said)
                    if way in ("an error", "a long error"):
                        check(p.returncode == REFUSED, way, verb, p)
                    if way in ("no JSON", "no UTF-8", "zeros", "bytes behind",
                               "a strange error", "none", "a list",
                               "another id") and \
                       not (more and way in ("a list", "none")):
                        check(p.returncode == NO_SERVER, way, verb, p)

    # Each waits for a process most of the time.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, ways))


def endless():
    """An endless answer is given up."""
    with Fake(lambda r: b"x" * (65 << 20)) as fake:
        p = run(fake.path, "mm_stat")
        check(p.returncode == NO_SERVER and b"has no end" in p.stderr, p)
    # Sends too much at once: the reason is passed on.
    full = (b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":'
            b'"256 clients are connected already"}}\n')
    path = folder + "/full"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        p = subprocess.Popen([CTL, "-s", path, "mm_stat"], env=environment(),
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        c, _ = s.accept()
        c.sendall(full)
        _, wrong = p.communicate(timeout=60)
        c.close()
        check(p.returncode == REFUSED and b"256 clients" in wrong, p, wrong)


def interrupted():
    """A silent server does not keep nbdzramctl from ending."""
    path = folder + "/silent"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        for verb, times in ("mm_stat", 1), ("compact", 2), ("top", 1):
            p = subprocess.Popen([CTL, "-s", path, *words_of(verb)],
                                 env=environment(), stderr=subprocess.PIPE,
                                 stdout=subprocess.DEVNULL)
            peer, _ = s.accept()
            peer.recv(1000)
            # Two signals at once count as one.  If a moment was not enough,
            # more are sent, up to some seconds before nbdzramctl would end by
            # itself.
            for _ in range(50):
                p.send_signal(signal.SIGINT)
                try:
                    p.wait(0.4)
                    break
                except subprocess.TimeoutExpired:
                    times -= 1
            check(p.poll() is not None, verb, "waits in spite of", -times)
            p.communicate()
            check(p.returncode != OK, verb, "was interrupted, and ended with",
                  p.returncode)
            peer.close()


class Slow:
    """A server that sends a byte now and then, but never an answer.  Its
    client gives up after 30 s, while this test goes on.
    """

    def __init__(self):
        path = folder + "/slow"
        s = socket.socket(socket.AF_UNIX)
        s.bind(path)
        s.listen()
        self.begin = time.monotonic()
        self.waiting = [subprocess.Popen([CTL, "-s", path, *words_of(verb)],
                                         env=environment(),
                                         stderr=subprocess.PIPE,
                                         stdout=subprocess.DEVNULL)
                        for verb in ("mm_stat", "compact")]
        self.peers = [s.accept()[0] for _ in self.waiting]
        s.close()
        threading.Thread(target=self.talk, daemon=True).start()

    def talk(self):
        while self.peers:
            for peer in self.peers[:]:
                try:
                    peer.sendall(b"x")
                except OSError:
                    self.peers.remove(peer)
            time.sleep(0.5)

    def end(self):
        for p in self.waiting:
            wrong = p.communicate(timeout=100)[1]
            check(p.returncode == NO_SERVER and b"does not answer" in wrong, wrong)
        check(time.monotonic() - self.begin >= 25, "they did not wait")


# ---- exit statuses

# Against a server without backing store and secondary algorithm, and against
# one that has both: a bad value is bad for both.
BAD = """
 frobnicate | mm_stat x | io_stat x | bd_stat x | debug_stat x | classes x
 latency x | metrics x | compact x | audit x | reset x | -q | --frob | -s
 mm_stat --frob | mm_stat -q | audit --force | reset --deep | top --deep
 block_state x | block_state 9-5 | block_state 99999999 | block_state 1 2
 block_state 9223372036854775808 | block_state 5- 6
 idle | idle x | idle -1 | idle all 1 | idle range | idle range x | idle 99999999
 idle range 99999999 | idle range 1 2 | idle 99999999999999999999
 mem_limit x | mem_limit 5 | mem_limit 1M 2 | mem_limit 9E | mem_limit -1
 write_buffer x | write_buffer 5 | write_buffer 2T | write_buffer 1M 2
 mem_used_max x | mem_used_max reset x
 algorithm lz5 | algorithm zstd 99 | algorithm zstd x | algorithm zstd 1 2
 algorithm LZ4 | workers 0 | workers 257 | workers x | workers 1 2
 workers 4294967297 | auto_recompress x | auto_recompress 99999
 auto_recompress 1 2 | recomp_algorithm lz5 | recomp_algorithm zstd:level=99
 recomp_algorithm zstd:dict=x | recomp_algorithm zstd,zstd,zstd,zstd
 recomp_algorithm zstd: | recomp_algorithm zstd zstd
 recompress x | recompress type=foo | recompress type= | recompress threshold=5000
 recompress threshold=x | recompress max_slots=x | recompress priority=0
 recompress priority=4 | recompress priority=x | recompress algorithm=foo
 recompress range=x | recompress range=99999999 | recompress type=idle type=huge
 recompress priority=1 algorithm=zstd | recompress range=1 range=2
 train x | train size=1 | train size=2M | train samples=1 | train samples=x
 train samples=99999999 | train size=64k size=64k
 writeback | writeback x | writeback type=foo | writeback type= | writeback type
 writeback page_index=x | writeback page_index=99999999
 writeback page_indexes=9-5 | writeback page_indexes=1-99999999
 writeback type=idle page_index=1 | writeback type=idle type=huge
 writeback_limit x | writeback_limit -1 | writeback_limit 1 2
 writeback_limit 9223372036854775808
 evict x | evict low=0 | evict high=101 | evict low=x | evict high=50
 evict low=95 | evict low=60 high=50 | evict low=1 low=2 | evict low=1 high=2 x
 promote x | promote on off | top x | top 0 | top 1 2 | map x | map nan | map 1 2
"""
STORELESS = """
 writeback type=idle | writeback page_index=1 | writeback_limit | writeback_limit 5
 writeback_limit off | evict | evict low=5 | evict high=95 | promote | promote on
 recompress | recompress type=idle | recompress priority=1
 recompress algorithm=zstd | recomp_algorithm zstd:dict=/nobody
"""


def commands(text):
    return [c.split() for line in text.splitlines() for c in line.split("|")
            if c.strip()]


def statuses():
    for keys in ([], ["recompress=zstd", "backing=" + folder + "/store2",
                      "backing_size=4M"]):
        with ControlServer("8M", "workers=2", "mem_limit=8M", *keys) as server:
            ctl = Ctl(server.path)
            before = ctl.json()
            for words in commands(BAD):
                p = ctl.run(*words)
                check(p.returncode == USAGE, words, "ended with", p.returncode,
                      "and not 2:", p.stdout, p.stderr)
                check(p.stdout == "" and p.stderr.startswith("nbdzramctl: ") and
                      p.stderr.count("\n") == 1, words, p)
            if not keys:
                for words in commands(STORELESS):
                    check(ctl.run(*words).returncode == REFUSED, words)
            after = ctl.json()
            for same in "algorithm", "level", "workers":
                check(before[same] == after[same], same, "was changed")
            for verb in VERBS:
                if not verb:
                    continue
                for option in "-h", "--help":
                    said = ctl(verb, option)
                    check(said.startswith("Usage: nbdzramctl ") and
                          " %s" % verb in said, verb, option, said)
    for verb in VERBS:
        p = Ctl(folder + "/nobody").run(*words_of(verb))
        check(p.returncode == NO_SERVER and p.stdout == "", verb, p)


def progress_counts(folder_of_store):
    """A writeback that ends at its limit reports the slots it wrote, and not
    one more.
    """
    with ControlServer("16M", "workers=2", "mem_limit=32M",
                       "backing=" + folder_of_store,
                       "backing_size=16M") as server:
        h = server.connect()
        h.pwrite(os.urandom(2000 * 4 * K), 0)
        ctl = Ctl(server.path)
        ctl("writeback_limit", 100)
        p = ctl.run("writeback", "type=huge")
        check(p.returncode == REFUSED and ", 100/2000 slots" in p.stdout and
              "100 slots written back until then" in p.stderr, p)


# ---- its output

def outputs():
    with ControlServer("8M", "workers=2") as server:
        words = [CTL, "-s", server.path]

        def shell(command, **more):
            return subprocess.run(["sh", "-c", command, "sh", *words],
                                  stdin=subprocess.DEVNULL, capture_output=True,
                                  env=environment(**more), timeout=60)

        # Closed output: the verb fails.  No request's socket gets the number of
        # a closed descriptor.
        for verb in "mm_stat", "", "top --once", "--help", "--json classes":
            p = shell('"$@" %s >&-' % verb)
            check(p.returncode == REFUSED and b"cannot write" in p.stderr, verb, p)
        p = shell('"$@" mm_stat <&- 2>&-')
        check(p.returncode == OK and p.stdout.count(b"\n") == 1, p)
        p = shell('"$@" frob 2>&- >&- <&-')
        check(p.returncode == USAGE, p)
        # The reader has left.
        p = shell('{ "$@" metrics; echo $? >&2; } | :')
        check(p.stderr in (b"0\n", b"141\n"), p)

        def on_terminal(*verb, keys=b"", **more):
            env = environment(**more)
            env["LC_ALL"] = "C.UTF-8"
            pid, fd = pty.fork()
            if pid == 0:
                os.execve(CTL, [*words, *verb], env)
            said, end = b"", time.monotonic() + 60
            while time.monotonic() < end:
                if select.select([fd], [], [], 0.1)[0]:
                    try:
                        said += os.read(fd, 65536)
                    except OSError:
                        break
                if keys and b"Memory" in said:
                    os.write(fd, keys)
            else:
                os.kill(pid, signal.SIGKILL)
            os.close(fd)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said

        # Colours, unless they are switched off; no cursor movement on a
        # terminal without it.
        status, said = on_terminal("top", keys=b"q", TERM="xterm-256color")
        check(status == OK and re.search(rb"\x1b\[[0-9;]*3[0-9]", said), said)
        status, said = on_terminal("top", keys=b"q", TERM="xterm-256color",
                                   NO_COLOR="1")
        check(status == OK and
              not re.search(rb"\x1b\[(?:\d+;)*[34][0-79]m", said), said)
        for verb in ["top"], ["map"], ["compact"], ["audit"]:
            status, said = on_terminal(*verb, TERM="dumb")
            check(status == OK and b"\x1b" not in said, verb, said)
        status, said = on_terminal("top", TERM="no\x1bsuch")
        check(status == REFUSED and b"\x1b" not in said, said)


try:
    slow = Slow()
    statuses()
    progress_counts(folder + "/store3")
    outputs()
    hostile(recorded())
    endless()
    interrupted()
    slow.end()
finally:
    shutil.rmtree(folder, ignore_errors=True)
