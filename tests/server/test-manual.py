#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs every line of the manual page and the README that starts this plugin.

The line runs unchanged, except that its files and sockets are elsewhere, and
servers on other machines are on this one.  A line that only serves a disk is
asked for its size.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile

from zramtest import NBDKIT, SANITIZER, check, skip, wait_listening

TOP = os.environ["SRCDIR"]
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}

if SANITIZER:
    skip("the other servers under a sanitizer")
if not shutil.which("nbdinfo") or not shutil.which("nbdcopy"):
    skip("needs nbdinfo and nbdcopy")


def examples():
    with open(TOP + "/plugin/nbdkit-zram-plugin.pod") as f:
        page = "".join(line[1:] for line in f if line.startswith(" "))
    with open(TOP + "/README.md") as f:
        readme = "".join(re.findall(r"```sh\n(.*?)```", f.read(), re.S))
    # The synopsis is not an example; nor is the section about building
    # packages.
    page = page[page.index("nbdkit zram 64G"):]
    for text in page, readme:
        found = re.findall(r"^(?:here\$ +)?(nbdkit .*\bzram .*)$",
                           text.replace("\\\n", " "), re.M)
        check(len(found) >= 8, "only", found)
        yield from found


class Other:
    """A server that is on another machine in the examples."""

    def __init__(self, sock, *options):
        self.job = subprocess.Popen([NBDKIT, "-f", "-U", sock, *options,
                                     "memory", "32G"],
                                    stdin=subprocess.DEVNULL)
        check(wait_listening(sock, self.job), "no server at", sock)

    def stop(self):
        self.job.terminate()
        self.job.wait(timeout=60)


def here(line, tmp):
    line = re.sub(r"/(?:var/tmp|var/lib|run|tmp|etc)/(?=\w)", tmp + "/", line)
    line = line.replace("nbds://zram@other/?",
                        "nbds+unix://zram@/?socket=%s/tls&" % tmp)
    line = line.replace("nbd://other", "'nbd+unix:///?socket=%s/other'" % tmp)
    words = shlex.split(line, comments=True)
    words[0] = NBDKIT
    size = words[words.index("zram") + 1]
    if "-p" in words:
        del words[words.index("-p"):words.index("-p") + 2]
    if "-U" not in words:
        words[1:1] = ["-U", "-"]
    if "--run" in words:
        return words, None
    return words + ["--run", 'nbdinfo --size "$uri"'], \
        int(size[:-1]) * UNITS[size[-1]]


def run(line, tmp):
    words, size = here(line, tmp)
    r = subprocess.run(words, cwd=tmp, stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=120)
    if "swap=true" in words and r.returncode != 0:
        check(r.stderr.startswith("nbdkit: error: swap=true: "), line, r)
        print("left out:", line, "needs a privilege:", r.stderr.strip())
        return
    check(r.returncode == 0 and "error" not in r.stderr, line, words, r)
    if size is not None:
        check(int(r.stdout) == size, line, r.stdout)
    else:
        check(r.stdout, line, "says nothing")
    print("fine:", line)


tmp = tempfile.mkdtemp(prefix="zram-test.")
others = []
try:
    for name, size in ("fast.dict", 60000), ("pages.dict", 110000), \
                      ("disk.img", 4 << 20):
        with open(os.path.join(tmp, name), "wb") as f:
            f.write(os.urandom(size))
    others += [Other(tmp + "/other"), Other(tmp + "/rbd.sock")]
    lines = list(examples())
    if shutil.which("psktool"):
        psk = tmp + "/zram.psk"
        subprocess.run(["psktool", "-u", "zram", "-p", psk], check=True,
                       stdout=subprocess.DEVNULL)
        others.append(Other(tmp + "/tls", "--tls=require", "--tls-psk=" + psk))
    else:
        lines = [line for line in lines if "psk" not in line]
        print("left out: TLS: needs psktool")
    for line in lines:
        run(line, tmp)
        # A file that one line has made must not exist for the next.
        for name in "zram.store", "zram.marker":
            if os.path.exists(os.path.join(tmp, name)):
                os.unlink(os.path.join(tmp, name))
finally:
    for other in others:
        other.stop()
    shutil.rmtree(tmp)
