#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Strings from outside, through everything that shows them: keys, paths,
arguments and requests with bytes that are not UTF-8, control characters,
escapes, characters that change the direction of writing, and 64 KiB of
anything.

Every output (JSON, a table, a picture, metrics or the log) is UTF-8 without
control characters except newlines.  A value can be decoded from it, as
docs/protocol.md says.
"""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unicodedata
import urllib.request

from controltest import METHOD, PARAMS, PARSE, REFUSED
from ctltest import CTL, environment
from zramtest import NBDKIT, PLUGIN, SANITIZER, check, connect, free_port, seed

number = seed()
rng = random.Random(number)
folder = tempfile.mkdtemp(prefix="zram-test.").encode()

# Without / and \0, so that they can be names of files.
NASTY = [
    b"plain", b"with blank", "é€𝄞".encode(), b"\xff", b"caf\xe9", b"\xc3", b"\x80",
    b"\xed\xa0\x80 surrogate", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe2\x82",
    b"\x1b]0;owned\x07", b"\x1b[31mred\x1b[0m", b"\xc2\x9b31m", b"\x9b31m",
    b"\x7f\x08\x08", b"line\nnbdzramctl: forged", b"\rback", b"tab\there",
    "\u202egnp.exe".encode(), "\u2066\u2069\u200f\u061c\u2028\u2029".encode(),
    b"back\\slash", b"\\xff", b"\\\\", b"quote\"'`$(id)", b"%s%n%m", b"{}[],:",
    b"\x01\x02\x1f", b"\\u0041", "\ufeff\ufffd\uffff".encode(),
]
ALPHABET = [bytes([i]) for i in range(1, 256) if i != ord("/")]
RANDOM = [b"".join(rng.choices(ALPHABET, k=rng.randrange(1, 60)))
          for _ in range(4)]


def unescape(text):
    """The original of a value, decoded as docs/protocol.md says."""
    return re.sub(rb"\\(?:x([0-9a-f]{2})|(\\))",
                  lambda m: m[2] or bytes([int(m[1], 16)]), text.encode())


def harmless(data, *what):
    """Checks that it is UTF-8 without anything that a terminal
    obeys; as text.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise AssertionError("%s: not UTF-8: %s: %r" % (what, e, data[:300]))
    for c in set(text) - {"\n"}:
        check(unicodedata.category(c) != "Cc" and
              unicodedata.bidirectional(c) not in
              ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI") and
              c not in "\u2028\u2029\u200e\u200f\u061c",
              *what, ": has", repr(c), "in", repr(text[:500]))
    return text


def nbdkit(*args):
    return subprocess.run([os.fsencode(a) for a in (NBDKIT, "-f", "-U", "-",
                                                    PLUGIN, *args)],
                          capture_output=True, stdin=subprocess.DEVNULL,
                          timeout=60)


class Server:
    def __init__(self, *args):
        self.dir = tempfile.mkdtemp(prefix="zram-test.").encode()
        self.sock, self.pid = self.dir + b"/s", self.dir + b"/p"
        self.log = open(self.dir + b"/log", "wb")
        self.job = subprocess.Popen(
            [os.fsencode(a) for a in
             (NBDKIT, "-f", "-P", self.pid, "-U", self.sock,
              "-D", "zram.stats=1", PLUGIN, *args)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        for _ in range(1200):
            if self.job.poll() is not None or (
                    os.path.exists(self.pid) and os.path.getsize(self.pid)):
                break
            time.sleep(0.05)
        check(self.job.poll() is None, "no server:", args, self.said())

    def said(self):
        with open(self.dir + b"/log", "rb") as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, kind, *ignored):
        self.job.terminate()
        try:
            status = self.job.wait(60)
        finally:
            self.job.kill()
        said = self.said()
        shutil.rmtree(self.dir)
        if kind is None:
            check(status == 0, "status", status, said)
            harmless(said, "log")


def ask(path, *lines):
    """The answer to each line, as bytes."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(path)
    f = s.makefile("rb")
    answers = []
    for line in lines:
        s.sendall(line + b"\n")
        answers.append(f.readline())
    f.close()
    s.close()
    return answers


def ctl(path, *words, status=0, locale="C.UTF-8", **more):
    env = environment(**more)
    env["LC_ALL"] = locale
    p = subprocess.run([os.fsencode(w) for w in (CTL, "-s", path, *words)],
                       capture_output=True, stdin=subprocess.DEVNULL, env=env,
                       timeout=60)
    check(p.returncode == status, words, "ended with", p.returncode, p.stderr)
    harmless(p.stdout, words)
    harmless(p.stderr, words)
    if locale == "C":
        check(p.stdout.isascii() and p.stderr.isascii(), words, p)
    return p.stdout.decode() if status == 0 else p.stderr.decode()


# ---- keys whose values are names of files, with such files

LOOKS = [[], ["-n", "-b"], ["mm_stat"], ["io_stat"], ["bd_stat"], ["debug_stat"],
         ["block_state"], ["classes"], ["latency"], ["metrics"], ["mem_limit"],
         ["write_buffer"], ["mem_used_max"], ["algorithm"], ["workers"],
         ["recomp_algorithm"], ["auto_recompress"], ["writeback_limit"],
         ["evict"], ["promote"], ["idle", "all"], ["top"], ["map"]]
WORK = [["compact"], ["audit", "--deep"], ["recompress"],
        ["writeback", "type=idle"]]


def files(name, all_verbs):
    """backing=, control=, dict= and recompress= with that in their paths."""
    here = folder + b"/" + name[:60]
    os.mkdir(here)
    control, backing = here + b"/" + b"c" + name[:20], here + b"/" + name + b".store"
    dictionary = here + b"/" + name
    with open(dictionary, "wb") as f:
        f.write(random.Random(1).randbytes(3000))
    keys = [b"backing=" + backing, b"backing_size=4M", b"algorithm=zstd",
            b"dict=" + dictionary, b"control=" + control, b"mem_limit=16M",
            b"recompress=zstd:level=9" +
            (b"" if set(name) & set(b":,") else b":dict=" + dictionary)]
    where = None if not all_verbs else free_port()
    if where:
        keys.append(b"metrics=%d" % where)
    with Server("16M", *keys) as s:
        h = connect(s.sock.decode())
        h.pwrite(rng.randbytes(65536), 0)
        check(os.path.exists(backing), "no store at", backing)
        answer, = ask(control, b'{"jsonrpc":"2.0","id":1,"method":"stats"}')
        stats = json.loads(harmless(answer, "stats"))["result"]
        check(unescape(stats["backing"]["where"]) == backing, "backing=", backing,
              "is said to be", stats["backing"]["where"])
        for words in LOOKS + WORK if all_verbs else LOOKS[:3] + [["top"]]:
            for locale in ("C.UTF-8", "C") if all_verbs else ("C.UTF-8",):
                text = ctl(control, *words, locale=locale)
                check(text or words == ["recomp_algorithm"], words, "said nothing")
                json.loads(ctl(control, "--json", *words, locale=locale))
                if words in (LOOKS[0], LOOKS[1]):
                    line = text.splitlines()[-1]
                    begin = line[:re.search(r" +(?:16M|16777216) ", line).start()]
                    check(unescape(begin) == control.rstrip(b" "), "NAME is", begin, "for",
                          control)
        value = json.loads(ctl(control, "--json", locale="C"))
        check(unescape(value["backing"]["where"]) == backing, "--json in C", value)
        if where:
            url = "http://127.0.0.1:%d/metrics" % where
            text = harmless(urllib.request.urlopen(url, timeout=60).read(), "metrics")
            check(text.count("# HELP") > 30, text)
            if shutil.which("promtool"):
                subprocess.run(["promtool", "check", "metrics"], check=True,
                               input=text.encode(), stdout=subprocess.DEVNULL)
            try:
                urllib.request.urlopen(url + "/%1b%ff", timeout=60)
            except urllib.error.HTTPError as e:
                harmless(e.read(), "404")
        # With a full disk, the log names the backing.
        ctl(control, "mem_limit", "1M")
        ctl(control, "writeback_limit", "0")
        try:
            for at in range(0, 4 << 20, 65536):
                h.pwrite(rng.randbytes(65536), at)
        except Exception:
            pass
        h.shutdown()
        if b"is used up" in s.said():
            check(b"backing=" in s.said(), s.said())
    shutil.rmtree(here)


# ---- keys that refuse their values

def refused_keys():
    for name in NASTY + RANDOM + [b"x" * 65536, b"\xff" * 65536,
                                  b"\x1b" * 30000]:
        keys = [b"mem_limit=" + name]
        if name in NASTY[3:14:4] or len(name) > 1000:
            keys += [k + name for k in (
                b"metrics=", b"level=", b"algorithm=", b"allocator=",
                b"recompress=", b"recompress=zstd:", b"dict=/nobody/",
                b"recompress=zstd:dict=/nobody/", b"slot_size=", b"promote=",
                b"swap=", b"backing_size=", b"writeback_limit=",
                b"backing=/nobody/", b"backing=nbd+unix:///?socket=/nobody/",
                b"backing=nbd:", b"control=/nobody/")]
        for key in keys:
            # libnbd prints strerror's words itself: with them nbdkit does not
            # end under the address sanitizer.
            if key.startswith(b"backing=nbd") and "address" in SANITIZER:
                continue
            p = nbdkit(*([] if key.startswith(b"size") else ["1M"]), key)
            word = key.split(b"=")[0].decode()
            check(p.returncode != 0, key[:100], "was taken")
            text = harmless(p.stderr, key[:100])
            # nbdkit's own message begins the same; one line each.
            check(all(line.startswith("nbdkit: ") for line in text.splitlines()),
                  key[:100], text[:500])
            check(word.split("=")[0] in text, key[:100], "is not named in",
                  text[:500])
            # The message says what is wrong, however long the value is.
            check(re.search(r"must |: [A-Za-z]", text[-160:]), key[:100],
                  "ends with", text[-160:])


# ---- requests

def request(text):
    return (b'{"jsonrpc":"2.0","id":1,"method":' + text + b"}")


def requests(path):
    names = ["x", "\x9b", "\x7f", "\u202e", "é" * 40, "𝄞" * 70, "\ud7ff\ue000",
             "x" * 60000, "é" * 30000, "\\" * 20000, '"' * 20000, "\n" * 9000]
    names += ["".join(chr(rng.choice((rng.randrange(1, 0xd800),
                                      rng.randrange(0xe000, 0x110000))))
                      for _ in range(rng.randrange(1, 50))) for _ in range(10)]

    def error(line, code, *words):
        answer, = ask(path, line)
        answer = json.loads(harmless(answer, line[:200]))
        check(answer["error"]["code"] == code, line[:200], answer)
        check(len(answer["error"]["message"]) < 640, len(answer["error"]["message"]))
        for word in words:
            check(word in answer["error"]["message"], line[:200], ":", word,
                  "is not in", answer)
        return answer

    for name in names:
        for raw in False, True:
            word = json.dumps(name, ensure_ascii=not raw).encode()
            if len(word) > 65000:
                continue
            error(request(word), METHOD, ": no such method")
            error(request(b'"algorithm","params":{"set":' + word + b"}"), PARAMS,
                  "set=", "must be one of: lz4")
            error(request(b'"algorithm","params":{' + word + b":1}"), PARAMS,
                  ": unknown parameter; known are: set level")
            error(request(b'"recomp_algorithm","params":{"set":' + word + b"}"),
                  PARAMS, "set=", "must be one of: lz4")
            error(request(b'"mem_limit","params":{"set":' + word + b"}"), PARAMS,
                  "set=", "must be a number")
            path_word = json.dumps("zstd:dict=/nobody/" + name.replace(":", "")
                                   .replace(",", ""), ensure_ascii=not raw)
            error(request(b'"recomp_algorithm","params":{"set":' +
                          path_word.encode() + b"}") if len(path_word) < 65000
                  else request(b'"recomp_algorithm","params":{"set":"zstd:dict=/n"}'),
                  REFUSED, "set=zstd:dict=/n", "dict=/n")
            # An id comes back unchanged.
            answer, = ask(path, b'{"jsonrpc":"2.0","id":' + word +
                          b',"method":"version"}')
            check(json.loads(harmless(answer, "id"))["id"] == name, "id", name[:50])
    for bad in b'"\\u0000"', b'"a\\u0000b"':
        error(request(bad), PARSE, "\\u0000")
        error(request(b'"algorithm","params":{"set":' + bad + b"}"), PARSE, "\\u0000")
        error(request(b'"algorithm","params":{' + bad + b":1}"), PARSE, "\\u0000")
    for bad in (b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xed\xa0\x80"',
                b'"\x1b"', b"\x1b]0;x\x07", b"\xc2\x9b", b"\xff" * 60000,
                b'"' + b"x" * 60000, b"\x1b" * 60000):
        error(bad, PARSE, "not JSON: column")
        error(request(bad), PARSE, "not JSON: column")


# ---- arguments

def arguments(path):
    verbs = ["algorithm", "workers", "mem_limit", "idle", "block_state",
             "mem_used_max", "writeback_limit", "promote", "top", "map",
             "recomp_algorithm", "auto_recompress", "write_buffer", "mm_stat",
             "compact"]
    prefixes = ["recompress type=", "recompress algorithm=", "recompress range=",
                "recompress priority=", "train size=", "train samples=",
                "writeback type=", "writeback page_index=", "evict low=",
                "recompress ", "writeback ", "evict ", "idle range "]
    for name in NASTY[1:] + RANDOM:
        for i, verb in enumerate(verbs):
            # All strings for some verbs, one string for all.
            if name in NASTY[3:6] + NASTY[11:14] or i == NASTY[1:].index(name) % len(
                    verbs) if name in NASTY else i == 0:
                said = ctl(path, verb, name, status=2)
                check(said.startswith("nbdzramctl: ") and said.count("\n") == 1,
                      verb, name, said)
        if name in NASTY[3:6] + NASTY[11:14]:
            for prefix in prefixes:
                *words, last = prefix.split(" ")
                said = ctl(path, *words, last.encode() + name, status=2)
                check(said.count("\n") == 1, prefix, name, said)
        said = ctl(path, name, status=2)
        said = ctl(folder + b"/nobody/" + name, "mm_stat", status=3)
        check(said.count("\n") == 1 and "no server at " in said, said)
    for name in b"x" * 70000, b"\\" * 40000, b"\x1b" * 60000, "é".encode() * 32000:
        for words in (["algorithm", name], ["recomp_algorithm", name],
                      ["recompress", b"type=" + name], ["mem_limit", name]):
            said = ctl(path, *words, status=2)
            check(len(said) < 10000, len(said))
    # Nothing of all this has changed anything.
    check(ctl(path, "algorithm").startswith("[lz4] "), "another algorithm")


def main():
    for i, name in enumerate(NASTY + RANDOM):
        # Names that contain several of these kinds, some at a time.
        if i < 4 or name in RANDOM:
            files(name, i == 3 or name in RANDOM[:1])
    for at in range(4, len(NASTY), 6):
        files(b" ".join(NASTY[at:at + 6]), at == 10)
    refused_keys()
    with Server("16M", "workers=2", b"control=" + folder + b"/c") as _:
        requests(folder + b"/c")
        arguments(folder + b"/c")


try:
    main()
finally:
    shutil.rmtree(folder, ignore_errors=True)
