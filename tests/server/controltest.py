# SPDX-License-Identifier: BSD-3-Clause
"""Shared by the tests of the control socket."""

import json
import os
import re
import socket
import time

from zramtest import Server, check

PARSE, REQUEST, METHOD, PARAMS = -32700, -32600, -32601, -32602
REFUSED, INTERNAL = 1, 2


class Refused(Exception):
    def __init__(self, error):
        super().__init__("%(code)d: %(message)s" % error)
        self.code, self.message = error["code"], error["message"]


class Control:
    """A connection to the control socket."""

    def __init__(self, path, timeout=60):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.s.connect(path)            # waits if the queue is full
        self.s.settimeout(timeout)      # a stalled server fails the test
        self.f = self.s.makefile("rb")
        self.id = 0

    def send(self, data):
        self.s.sendall(data)

    def line(self):
        """One answer, checked; None at the end of the connection."""
        line = self.f.readline()
        if not line:
            return None
        check(line.endswith(b"\n"), "half an answer:", line[-200:])
        answer = json.loads(line)
        check(set(answer) in ({"jsonrpc", "id", "result"},
                              {"jsonrpc", "id", "error"}),
              "members of an answer:", line[:300])
        check(answer["jsonrpc"] == "2.0", "jsonrpc in", line[:300])
        if "error" in answer:
            check(set(answer["error"]) == {"code", "message"},
                  "members of an error:", line[:300])
            check(answer["error"]["message"], "an error without a message")
        return answer

    def raw(self, data):
        """The answer to a line, which may be anything."""
        self.send(data if data.endswith(b"\n") else data + b"\n")
        return self.line()

    def call(self, method, **params):
        self.id += 1
        request = {"jsonrpc": "2.0", "id": self.id, "method": method}
        if params:
            request["params"] = params
        answer = self.raw(json.dumps(request).encode())
        check(answer, "no answer to", request)
        check(answer["id"] == self.id, "asked", request, "got", answer)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def refused(self, code, words, method, **params):
        """Expects an error with that code, and the words in its message."""
        try:
            result = self.call(method, **params)
        except Refused as e:
            check(e.code == code, method, params, "gave", e)
            for word in words:
                check(str(word) in e.message, method, params, ":", repr(word),
                      "is not in:", e.message)
            return e.message
        raise AssertionError("%s %s was answered with %s"
                             % (method, params, str(result)[:300]))

    def job(self, method, **params):
        """Begins a job and waits until it has ended."""
        return self.wait(self.call(method, **params)["job"])

    def wait(self, job, seconds=300):
        for _ in range(seconds * 100):
            state = self.call("job", id=job)
            if state["state"] != "running":
                return state
            time.sleep(0.01)
        raise AssertionError("job %d does not end: %s" % (job, state))

    def end(self):
        """Ends our side of the connection."""
        self.s.shutdown(socket.SHUT_WR)

    def close(self):
        self.f.close()
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()


def sound(c):
    """Runs a deep audit, which must find nothing."""
    job = c.job("audit", deep=True)
    check(job["state"] == "done" and job["result"]["sound"], "audit:", job)


def metric(c, name):
    """The value of a metric without labels."""
    found = re.findall(r"^nbdzram_%s (\S+)$" % re.escape(name),
                       c.call("metrics")["text"], re.M)
    check(len(found) == 1, "lines of", name, len(found))
    return int(found[0])


class ControlServer(Server):
    """with ControlServer("1G") as s: s.control().call("stats")"""

    def __init__(self, *args, path=None, **kw):
        import tempfile
        self.control_dir = tempfile.mkdtemp(prefix="zram-test.")
        self.path = path or os.path.join(self.control_dir, "control")
        self.controls = []
        super().__init__(*args, "control=" + self.path, **kw)

    def control(self, **kw):
        self.controls.append(Control(self.path, **kw))
        return self.controls[-1]

    def __exit__(self, kind, value, trace):
        import shutil
        for c in self.controls:
            c.close()
        try:
            super().__exit__(kind, value, trace)
            if kind is None:
                check(not os.path.lexists(self.path),
                      "the socket is still there")
        finally:
            shutil.rmtree(self.control_dir, ignore_errors=True)
