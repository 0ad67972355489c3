#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""metrics= with many connections from one address that are silent, send or
read a byte now and then, or come back as soon as they are shut.  A scraper
gets its answer meanwhile, no connection stays for long, and the server ends
in time with all of them connected.
"""

import selectors
import socket
import threading
import time

from metricstest import descriptors, ends_in_time, free_port, scrape
from zramtest import Server, check

HEAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"

# Each sends this at once, and then a byte at a time.
KINDS = {
    "silent": (b"", b""),
    "half a line": (b"GET /metr", b""),
    "half a header": (HEAD, b"X-Slow: " + b"x" * 10000),
    "a header's end that does not come": (HEAD + b"\r", b""),
    "a byte of the line": (b"", b"GET /" + b"x" * 10000),
    "a body": (HEAD + b"Content-Length: 100000\r\n\r\n", b"x" * 10000),
    "a body in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
                         b"1\r\nx\r\n" * 10000),
    "does not read": (HEAD + b"\r\n", b""),
    "asks and asks and does not read": ((HEAD + b"\r\n") * 100, HEAD * 100),
    "wants to go on": (HEAD + b"Expect: 100-continue\r\n"
                       b"Content-Length: 9\r\n\r\n", b""),
}
NO_READER = ("does not read", "asks and asks and does not read")


class Slow:
    def __init__(self, port, kind):
        self.kind = kind
        self.first, self.rest = KINDS[kind]
        self.at = 0
        self.s = socket.socket()
        self.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.s.settimeout(60)
        self.s.connect(("127.0.0.1", port))
        self.s.setblocking(False)
        self.send(self.first)

    def send(self, data):
        try:
            self.s.send(data)
        except OSError:
            pass

    def drip(self):
        self.send(self.rest[self.at:self.at + 1])
        self.at += 1

    def has_gone(self):
        """Without reading what has arrived, if it is of that kind."""
        try:
            return not self.s.recv(65536, socket.MSG_PEEK
                                   if self.kind in NO_READER else 0)
        except BlockingIOError:
            return False
        except OSError:
            return True


class Crowd:
    """Serves n of them in turn, a byte a second; connections that are shut are
    replaced.
    """

    def __init__(self, port, n, kinds):
        self.port, self.kinds, self.n = port, kinds, n
        self.made, self.error = 0, None
        self.all = [self.one() for _ in range(n)]
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def one(self):
        self.made += 1
        return Slow(self.port, self.kinds[self.made % len(self.kinds)])

    def run(self):
        try:
            while not self.stop.is_set():
                for i, c in enumerate(self.all):
                    if i % 10 == 0 and self.stop.wait(1.0 * 10 / self.n):
                        return
                    if c.has_gone():
                        c.s.close()
                        self.all[i] = self.one()
                    else:
                        c.drip()
        except Exception as e:
            self.error = e

    def end(self):
        self.stop.set()
        self.thread.join()
        check(not self.error, repr(self.error))

    def close(self):
        for c in self.all:
            c.s.close()


def scraped(port, n, kinds):
    crowd = Crowd(port, n, kinds)
    try:
        worst = 0
        for _ in range(15):
            begin = time.monotonic()
            scrape(port)
            worst = max(worst, time.monotonic() - begin)
            time.sleep(0.02)
        print("%d connections, %s: worst scrape %.0f ms, %d made"
              % (n, "; ".join(kinds), worst * 1e3, crowd.made), flush=True)
    finally:
        crowd.end()
    return crowd


def leaves(clients):
    """All are gone at the end, and no other wait was needed."""
    poll = selectors.DefaultSelector()
    for c in clients:
        poll.register(c.s, selectors.EVENT_READ, c)
    until, left = time.monotonic() + 60, len(clients)
    while left:
        check(time.monotonic() < until, left, "are still connected")
        for key, _ in poll.select(1):
            try:
                while key.fileobj.recv(65536):
                    pass
            except BlockingIOError:
                continue
            except OSError:
                pass
            poll.unregister(key.fileobj)
            left -= 1
    poll.close()


# Some that have unlimited time; checked at the end.
port = free_port()
with Server("1M", "metrics=%d" % port) as quiet:
    calm = [Slow(port, kind) for kind in KINDS if kind not in NO_READER]
    for limit in (None, 64):
        port = free_port()
        with descriptors(limit):
            server = Server("64M", "metrics=%d" % port)
        try:
            kinds = [[kind] for kind in KINDS] if not limit else []
            for kind in kinds:
                scraped(port, 40, kind).close()
            for n in (40, 200):
                crowd = scraped(port, n, list(KINDS))
                if n < 200:
                    crowd.close()
            ends_in_time(server)
            crowd.close()
        except BaseException:
            print("--- server log\n" + server._read(server.log)[-4000:])
            raise
        finally:
            server.kill()
    leaves(calm)
