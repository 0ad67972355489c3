# SPDX-License-Identifier: BSD-3-Clause
"""A port for a server of a test's own; where there may be no module nbd, too."""

import errno
import random
import socket


def free_port(address="127.0.0.1"):
    """One where nobody listens.

    Not of those from which the kernel takes one for whoever connects somewhere:
    it could, before the port is listened at.
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
