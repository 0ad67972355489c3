#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""metrics= is served to clients that ask for an address or a name of the
server, but not to a page in a browser whose name was made to point here.
"""

import re
import socket
import subprocess

from metricstest import ask, free_port
from zramtest import NBDKIT, PLUGIN, Server, check

HOST = socket.gethostname()


def status(port, headers, version="1.1", method="GET"):
    answer = ask(port, ("%s /metrics HTTP/%s\r\n%sConnection: close\r\n\r\n"
                        % (method, version, headers)).encode())
    found = re.match(rb"HTTP/1\.[01] (\d+) ", answer)
    check(found, "no answer but", answer[:200])
    return int(found.group(1)), answer


def served(port, *hosts):
    for host in hosts:
        got, answer = status(port, "Host: %s\r\n" % host)
        check(got == 200 and b"\nnbdzram_" in answer, host, answer[:300])


def refused(port, *hosts):
    for host in hosts:
        for method in ("GET", "HEAD", "POST"):
            got, answer = status(port, "Host: %s\r\n" % host, method=method)
            check(got == 403, method, host, answer[:300])
            check(b"\nnbdzram_" not in answer, host, "has them")
            if method == "GET":
                check(b"metrics_host=" in answer and b"not a name" in answer,
                      "it does not say why:", answer)


STRANGERS = ("evil.example", "evil.example:80", "evil", "localhost.evil.example",
             "127.0.0.1.evil.example", "xlocalhost", HOST + ".evil.invalid",
             "[::1", "[evil]", "127.0.0.1:80:80", "localhost:x", "-", "*",
             "evil.example, localhost", "\xe4")

port = free_port()
with Server("1M", "metrics=127.0.0.1:%d" % port):
    served(port, "127.0.0.1:%d" % port, "127.0.0.1", "localhost:%d" % port,
           "LOCALHOST", "localhost.", "10.1.2.3:9750", "[::1]:%d" % port,
           "[2001:db8::1]", "", HOST, HOST.upper() + ":%d" % port,
           HOST.split(".")[0])
    refused(port, "db.example", *STRANGERS)
    # HTTP/1.0 need not send a Host; two are as bad as the worse one.
    check(status(port, "", "1.0")[0] == 200, "HTTP/1.0 without Host")
    check(status(port, "Host: evil.example\r\n", "1.0")[0] == 403, "HTTP/1.0")
    for two in ("Host: localhost\r\nHost: evil.example\r\n",
                "Host: evil.example\r\nHost: localhost\r\n"):
        check(status(port, two)[0] in (400, 403), "two hosts")
    # In HTTP/1.1 a missing Host is an error that no browser makes.
    check(status(port, "", "1.1")[0] in (200, 400), "HTTP/1.1 without Host")

port = free_port()
with Server("1M", "metrics=localhost:%d" % port, "metrics_host=db.example",
            "metrics_host=Alias_2"):
    served(port, "db.example", "DB.example.:%d" % port, "alias_2:1",
           "localhost", "127.0.0.1")
    refused(port, "a.db.example", "b.example", "alias", *STRANGERS)


def key_is_refused(value, *words, more=("metrics=%d" % free_port(),)):
    run = subprocess.run([NBDKIT, "-U", "-", PLUGIN, "1M", *more,
                          "metrics_host=" + value, "--run", "true"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=60, text=True)
    check(run.returncode not in (0, 124), value, "was accepted")
    check(run.stdout.count("\n") == 1, "not one line:", run.stdout)
    for word in ("metrics_host=" + value, *words):
        check(word in run.stdout, repr(word), "is not in:", run.stdout)


for bad in ("", "a:80", "a b", "*", "[::1]", "x" * 256):
    key_is_refused(bad, "host name")
key_is_refused("a", "metrics=", more=())
key_is_refused("one-more", "16", more=["metrics=%d" % port]
               + ["metrics_host=a%d" % i for i in range(16)])
