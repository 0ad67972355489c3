# SPDX-License-Identifier: BSD-3-Clause
"""Shared by the tests of metrics= and of few descriptors."""

import contextlib
import resource
import socket
import time

from freeport import free_port                                   # noqa: F401
from zramtest import check


@contextlib.contextmanager
def descriptors(n):
    """Processes started inside may have n descriptors; None: as many as we."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ask(port, request, timeout=60):
    """Everything that is received, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(request)
        answer = b""
        while True:
            piece = s.recv(65536)
            if not piece:
                return answer
            answer += piece


def scrape(port):
    """Like Prometheus, which gives up after 10 seconds."""
    answer = ask(port, b"GET /metrics HTTP/1.1\r\nHost: localhost:%d\r\n"
                       b"Connection: close\r\n\r\n" % port, 10)
    check(answer.startswith(b"HTTP/1.1 200 "), "scraped:", answer[:300])
    check(b"\nnbdzram_disk_size_bytes " in answer, "no metrics:",
          answer[:300])


def ends_in_time(server):
    """The server ends within the promised time, with all its clients
    connected; its log.
    """
    begin = time.monotonic()
    server.job.terminate()
    status = server.job.wait(timeout=60)
    took = time.monotonic() - begin
    log = server._read(server.log)
    check(status == 0, "status", status, log[-2000:])
    check(took < 10, "it ended after", took, "seconds")
    return log
