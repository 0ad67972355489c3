# SPDX-License-Identifier: BSD-3-Clause
"""Shared by the tests of nbdzramctl."""

import json
import os
import subprocess

from zramtest import check

CTL = os.environ.get("NBDZRAMCTL", "nbdzramctl")

OK, REFUSED, USAGE, NO_SERVER = 0, 1, 2, 3


def environment(leaks=False, **more):
    """Our environment, without any variable that nbdzramctl reads.

    Leaks are checked only where nbdzramctl ends normally: on an error it ends
    at once and frees nothing.
    """
    env = dict(os.environ, LC_ALL="C", **more)
    if not leaks:
        env["ASAN_OPTIONS"] = "detect_leaks=0:" + env.get("ASAN_OPTIONS", "")
    for name in "NBDZRAM_SOCKET", "LINES", "COLUMNS", "LD_PRELOAD":
        if name not in more:
            env.pop(name, None)
    return env


class Ctl:
    """ctl = Ctl(path); ctl("mem_limit", "2G") -> what it printed"""

    def __init__(self, path):
        self.path = path

    def run(self, *words, leaks=False, **more):
        return subprocess.run([CTL, "-s", self.path, *map(str, words)],
                              stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, env=environment(leaks, **more), timeout=300)

    def __call__(self, *words, **more):
        p = self.run(*words, leaks=True, **more)
        check(p.returncode == OK, words, "ended with", p.returncode, p.stderr)
        check(p.stderr == "", words, "said", p.stderr)
        return p.stdout

    def json(self, *words):
        return json.loads(self("--json", *words))

    def fails(self, status, about, *words):
        """Expects that exit status, and one line that contains these words."""
        p = self.run(*words)
        check(p.returncode == status, words, "ended with", p.returncode,
              "and not", status, p.stdout, p.stderr)
        check(p.stdout == "", words, "failed and printed", p.stdout)
        check(p.stderr.startswith("nbdzramctl: ") and
              p.stderr.count("\n") == 1 and p.stderr.endswith("\n"),
              words, "does not say one line:", p.stderr)
        for word in [about] if isinstance(about, str) else about:
            check(word in p.stderr, words, ":", repr(word), "is not in",
                  p.stderr)
