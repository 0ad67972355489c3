# SPDX-License-Identifier: BSD-3-Clause
"""A port for a test's own server; also works without the module nbd."""

import errno
import random
import socket


def free_port(address="127.0.0.1"):
    """A port where no server listens.

    It is outside the range of ports that the kernel gives to outgoing
    connections: otherwise the kernel could do so before our server listens.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    number = random.SystemRandom()
    while True:
        port = number.randrange(10000, 30000)
        with socket.socket(family) as s:
            try:
                s.bind((address, port))
            except OSError as e:
                if e.errno == errno.EADDRINUSE:
                    continue
                raise
        return port
