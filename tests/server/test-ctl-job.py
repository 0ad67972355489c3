#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""nbdzramctl waits for long work: compact, audit, reset.  It shows the
progress, and on Ctrl-C cancels the work and reports the result.

Nothing here depends on speed: hold-decommit.c, preloaded into the server,
stops a compaction where it gives back its first memory, until it may go on.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

from controltest import ControlServer
from ctltest import CTL, OK, REFUSED, Ctl, environment
from zramtest import K, M, check, seed, skip

SLOT = 4 * K
SLOTS = 4096

number = seed()
rng = random.Random(number)
folder = tempfile.mkdtemp(prefix="zram-test.")
hold = folder + "/hold"


def build_preload():
    source = os.path.join(os.path.dirname(__file__), "hold-decommit.c")
    so = folder + "/hold.so"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", so, source, "-ldl"],
                       check=True)
    except FileNotFoundError:
        skip("needs cc")
    return so


def wait_for(what, *condition):
    """Waits up to a minute; a failure after that is not a measurement."""
    for _ in range(6000):
        if condition[0](*condition[1:]):
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in time: " + what)


def fragment(h):
    """Objects of a few classes, three of four discarded."""
    for at in range(0, SLOTS * SLOT, M):
        h.pwrite(b"".join((rng.randbytes(rng.choice((100, 500, 1000, 1700)))
                           + bytes(SLOT))[:SLOT] for _ in range(M // SLOT)),
                 at)
    for i in range(SLOTS):
        if i % 4:
            h.trim(SLOT, i * SLOT)


def start(path, *words):
    return subprocess.Popen([CTL, "-s", path, *words],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True,
                            env=environment())


class Held:
    """with Held(): a compaction that begins inside stands still."""

    def __enter__(self):
        open(hold, "w").close()
        return self

    def wait(self):
        wait_for("a compaction", os.path.exists, hold + ".held")

    def go_on(self):
        if os.path.exists(hold):
            os.unlink(hold)

    def __exit__(self, *ignored):
        self.go_on()


def finished(server, ctl, h):
    """Runs it to its end: its output agrees with the statistics."""
    fragment(h)
    before = ctl.json("mm_stat")
    check(server.control().call("stats")["compaction"]["freeable_pages"] > 100,
          "nothing to compact")
    p = ctl.run("compact")
    check(p.returncode == OK, p)
    m = re.fullmatch(r"compact: done after \S+, (\d+)/(\d+) pages: (\d+) "
                     r"pages freed, (\d+) objects .*\n", p.stdout)
    check(m, p.stdout)
    after = ctl.json("mm_stat")
    freed = after["pages_compacted"] - before["pages_compacted"]
    check(int(m[1]) == int(m[3]) == freed > 100, m[0], freed)
    check(before["mem_used_total"] - after["mem_used_total"] > 300 * K,
          before, after)
    check(after["orig_data_size"] == before["orig_data_size"], before, after)


def watched(server, ctl, h):
    """Without a terminal: a line each second on stderr; none with JSON."""
    fragment(h)
    with Held() as held:
        p, lines = start(server.path, "compact"), []
        held.wait()
        for _ in range(2):
            lines.append(p.stderr.readline())
        held.go_on()
        out, rest = p.communicate(timeout=60)
    check(p.returncode == OK and out.startswith("compact: done after "), out)
    for line in lines + rest.splitlines(True):
        check(re.fullmatch(r"compact: +\d+% \d+/\d+ pages, [\d.]+k?/s, "
                           r"(\?|[\d:]+) left\n", line), "line:", line)

    fragment(h)
    with Held() as held:
        p = start(server.path, "compact", "--json")
        held.wait()
        time.sleep(1.2)                 # long enough for a line
        held.go_on()
        out, err = p.communicate(timeout=60)
    job = json.loads(out)
    check(err == "" and p.returncode == OK, out, err)
    check((job["kind"], job["state"]) == ("compact", "done"), job)
    check(job["result"]["pages_freed"] == job["done"] > 0, job)


def said_cancelling(p):
    for line in p.stderr:
        if line.endswith(" pages, cancelling\n"):
            return
    raise AssertionError("it never cancelled")


def interrupted(server, ctl, h):
    for sig in signal.SIGINT, signal.SIGTERM:
        fragment(h)
        before = ctl.json("mm_stat")
        control = server.control()
        with Held() as held:
            p = start(server.path, "compact")
            held.wait()
            check(control.call("stats")["compaction"]["running"], "running")
            p.send_signal(sig)
            # It waits until the server has cancelled, and reports that then.
            said_cancelling(p)
            check(p.poll() is None, "did not wait for what was done")
            # Meanwhile no other work of the kind begins.
            ctl.fails(REFUSED, "compact", "audit")
            held.go_on()
            out, err = p.communicate(timeout=60)
        check(p.returncode == REFUSED, "status", p.returncode)
        m = re.fullmatch(r"compact: cancelled after \S+, (\d+)/(\d+) pages: "
                         r"(\d+) pages freed, .*\n", out)
        check(m, out)
        check(err.splitlines()[-1] == "nbdzramctl: compact cancelled", err)
        freed = (ctl.json("mm_stat")["pages_compacted"]
                 - before["pages_compacted"])
        check(int(m[3]) == freed < int(m[2]), "said", m[0], "freed", freed)
        # The rest is still there to be freed, and nothing is damaged.
        check("everything fits together" in ctl("audit", "--deep"), "audit")
        check(ctl.run("compact").returncode == OK, "compact afterwards")


def twice(server, ctl, h):
    """After a second signal it does not wait; the server ends
    the work alone.
    """
    fragment(h)
    with Held() as held:
        p = start(server.path, "compact")
        held.wait()
        p.send_signal(signal.SIGINT)
        said_cancelling(p)
        time.sleep(0.5)                 # two at once count as one
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        held.go_on()
    check(p.returncode == REFUSED and out == "", out)
    check("the server goes on" in err, err)
    wait_for("the end of it", lambda: not server.control().call("stats")
             ["compaction"]["running"])


def server_dies(h):
    """In the middle of the work: status 3, and one more line that says so."""
    with ControlServer("64M", "compact_threshold=0") as other:
        fragment(other.connect())
        with Held() as held:
            p = start(other.path, "compact")
            held.wait()
            os.kill(other.pid, signal.SIGKILL)
            out, err = p.communicate(timeout=60)
        check(p.returncode == 3 and out == "", out, p.returncode)
        check(err.splitlines()[-1].startswith("nbdzramctl: "), err)
        # So that its end does not come unexpectedly.
        other.kill()
        other.stop = lambda: None
        os.unlink(other.path)


def not_cancelled(server, ctl, h):
    """An audit waits for a discard that stands still.  When the audit is
    cancelled, it stops waiting.  A reset that has begun goes on.
    """
    fragment(h)
    with Held() as held:
        h.aio_trim(SLOTS * SLOT // 2, 0)
        held.wait()
        p = start(server.path, "audit")
        line = p.stderr.readline()
        check(re.fullmatch(r"audit: +0% 0/\d+ slots, 0/s, \? left\n", line),
              "line:", line)
        p.send_signal(signal.SIGINT)
        for line in p.stderr:
            if line.endswith(" slots, cancelling\n"):
                break
        out, _ = p.communicate(timeout=60)
        check(p.returncode == REFUSED and
              re.fullmatch(r"audit: cancelled after \S+, 0/\d+ slots: "
                           r"nothing wrong in 0 slots\n", out), out)
        check(h.aio_in_flight(), "who let the discard go on?")
        held.go_on()
    while h.aio_in_flight():
        h.poll(-1)

    fragment(h)
    with Held() as held:
        p = start(server.path, "reset", "--force")
        held.wait()
        line = p.stderr.readline()
        check(re.fullmatch(r"reset: +\d+% \d+/{0} slots, .* left\n"
                           .format(SLOTS // 4), line), "line:", line)
        p.send_signal(signal.SIGINT)
        for line in p.stderr:
            if line.endswith(" slots, cannot be cancelled\n"):
                break
        held.go_on()
        out, _ = p.communicate(timeout=60)
        check(p.returncode == OK and out.startswith("reset: done after "), out)


def reset_and_audit(server, ctl, h):
    fragment(h)
    ctl("compact")
    check(re.fullmatch(r"audit: done after \S+, {0}/{0} slots: {0} slots: .*\n"
                       .format(SLOTS // 4), ctl("audit")), "audit")
    job = json.loads(ctl("audit", "--deep", "--json"))
    check(job["result"] == {"sound": True, "deep": True,
                            "slots": SLOTS // 4}, job)
    ctl.fails(REFUSED, ["reset", "1 NBD client"], "reset")
    check(ctl.json("mm_stat")["orig_data_size"] == SLOTS // 4 * SLOT, "kept")
    check(ctl.json("mm_stat")["pages_compacted"] > 0, "compacted before")
    check(re.fullmatch(r"reset: done after \S+, {0}/{0} slots: {0} slots "
                       r"discarded\n".format(SLOTS // 4),
                       ctl("reset", "--force")), "reset")
    mm = ctl.json("mm_stat")
    check(mm["orig_data_size"] == mm["compr_data_size"] ==
          mm["pages_compacted"] == mm["huge_pages_since"] ==
          ctl.json("io_stat")["notify_free"] == 0, mm)
    check(h.pread(SLOT, 0) == bytes(SLOT), "reads after reset")
    # No client is connected: force is not needed.
    h.pwrite(b"x", 0)
    h.shutdown()
    wait_for("the client to be gone", lambda:
             server.control().call("stats")["clients"] == 0)
    check(json.loads(ctl("--json", "reset"))["result"] == {"slots": 1},
          "reset")


try:
    os.environ["HOLD_DECOMMIT"] = hold
    os.environ["LD_PRELOAD"] = build_preload()
    with ControlServer("64M", "workers=2", "compact_threshold=0") as server:
        ctl = Ctl(server.path)
        h = server.connect()
        finished(server, ctl, h)
        watched(server, ctl, h)
        interrupted(server, ctl, h)
        twice(server, ctl, h)
        server_dies(h)
        not_cancelled(server, ctl, h)
        reset_and_audit(server, ctl, h)
finally:
    shutil.rmtree(folder, ignore_errors=True)
