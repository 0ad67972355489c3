# SPDX-License-Identifier: BSD-3-Clause
"""The servers that are measured: nbdkit with one plugin each, all up at once.

A Server owns one nbdkit process, its socket and the model of what its disk
holds (see nbdload.c).  A KernelZram also owns a zram block device below it,
which is put back as it was found whatever ends the program.
"""
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
import urllib.parse

from . import procstat
from .common import BenchError, PAGE

STATS = b"zram: stats:"


class StatsReader(threading.Thread):
    """Reads a verbose nbdkit's messages and keeps only the statistics."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream = stream
        self.found = []         # One dictionary a line, appended only.
        self.tail = b""         # The last messages, for a post-mortem.
        self.start()

    def run(self):
        rest = b""
        while True:
            data = os.read(self.stream.fileno(), 1 << 16)
            if not data:
                return
            self.tail = (self.tail + data)[-4000:]
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if STATS in line:
                    self.found.append(self.parse(line))

    @staticmethod
    def parse(line):
        words = line.split(STATS, 1)[1].decode().split()
        pairs = (w.split("=", 1) for w in words if "=" in w)
        return {k: int(v) for k, v in pairs if v.isdigit()}


class Server:
    """One nbdkit.  command is [nbdkit, plugin], options go between them."""

    stores = True               # What is written can be read again.
    kernel = False              # Kernel threads work for it.

    def __init__(self, name, command, options, arguments):
        self.name = name
        self.command, self.options = command, options
        self.arguments = arguments
        self.process = self.pid = self.stats = None
        self.model_valid = False
        self.facts = {"name": name, "command": " ".join(
            [os.path.basename(command[0])] + options
            + [os.path.basename(command[1])] + arguments)}

    def start(self, folder, number, stats=False):
        self.socket = os.path.join(folder, f"{number}.sock")
        self.model = os.path.join(folder, f"{number}.model")
        self.log = os.path.join(folder, f"{number}.log")
        pidfile = os.path.join(folder, f"{number}.pid")
        for left_over in (self.socket, self.model, pidfile):
            if os.path.exists(left_over):
                os.unlink(left_over)
        self.process = subprocess.Popen(
            self.words(pidfile, stats), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if stats else open(self.log, "wb"))
        if stats:
            self.stats = StatsReader(self.process.stderr)
        self.wait_until_ready(pidfile)
        quoted = urllib.parse.quote(self.socket)
        self.uri = f"nbd+unix:///?socket={quoted}"

    def words(self, pidfile, stats):
        """The command line."""
        words = [self.command[0], "-f", "-U", self.socket, "-P", pidfile]
        words += ["-v", "-D", "zram.stats=1"] if stats else []
        return words + self.options + [self.command[1]] + self.arguments

    def wait_until_ready(self, pidfile):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with open(pidfile) as f:
                    self.pid = int(f.read())
                return
            except (OSError, ValueError):
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise BenchError(f"{self.name}: {self.program()} did not start: "
                         + self.last_words())

    def program(self):
        return os.path.basename(self.command[0])

    def last_words(self):
        if self.stats:
            time.sleep(0.1)
            text = self.stats.tail
        else:
            with open(self.log, "rb") as f:
                text = f.read()[-4000:]
        lines = text.decode(errors="replace").splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    def check(self):
        if self.process.poll() is not None:
            raise BenchError(f"{self.name}: {self.program()} ended with "
                             f"status {self.process.returncode}: "
                             + self.last_words())

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        try:
            os.kill(self.pid or self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()

    def before_sample(self):
        """Put the server in the state in which each sample starts."""

    def holds_image(self):
        """The disk was just filled with the image: the model starts anew."""
        if os.path.exists(self.model):
            os.unlink(self.model)
        self.model_valid = self.stores

    def content_unknown(self):
        self.model_valid = False

    def memory(self):
        return procstat.memory(self.pid)

    def compact(self):
        """Compact by hand; False where there is no way to ask for it."""
        return False


class NullServer(Server):
    stores = False


class ZramDevice:
    """A zram block device of the kernel: set up, read, put back."""

    def __init__(self, number, added, size):
        self.number, self.added = number, added
        self.path = f"/dev/zram{number}"
        self.sys = f"/sys/block/zram{number}"
        try:
            self.write("comp_algorithm", "lz4")
            self.write("disksize", str(size))
        except OSError as error:
            self.put_back()
            raise BenchError(f"{self.path}: cannot set it up: {error}")

    def write(self, name, value):
        with open(f"{self.sys}/{name}", "w") as f:
            f.write(value)

    def read(self, name):
        with open(f"{self.sys}/{name}") as f:
            return f.read().split()

    def flush(self):
        """Write the device's page cache out, and drop it."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, 0x1261)             # BLKFLSBUF
        finally:
            os.close(fd)

    def mm_stat(self):
        names = ["orig_data_size", "compr_data_size", "mem_used_total",
                 "mem_limit", "mem_used_max", "same_pages",
                 "pages_compacted", "huge_pages"]
        return dict(zip(names, map(int, self.read("mm_stat"))))

    def put_back(self):
        for _ in range(50):     # udev may have it open for a moment.
            try:
                self.write("reset", "1")
                break
            except OSError:
                time.sleep(0.1)
        if self.added:
            with open("/sys/class/zram-control/hot_remove", "w") as f:
                f.write(str(self.number))


def kernel_zram_missing():
    """Why the kernel's zram cannot be measured here, or None."""
    if not os.path.exists("/dev/zram0") \
       or not os.path.exists("/sys/block/zram0"):
        return "there is no /dev/zram0 (modprobe zram)"
    if os.geteuid() != 0:
        return "only root can set up /dev/zram0"
    with open("/sys/block/zram0/initstate") as f:
        if f.read().strip() != "0":
            return ("/dev/zram0 is in use (if a bench was killed: "
                    "echo 1 > /sys/block/zram0/reset)")
    with open("/sys/block/zram0/comp_algorithm") as f:
        if "lz4" not in f.read().replace("[", " ").replace("]", " ").split():
            return "the kernel's zram has no lz4"
    return None


def open_zram_device(size):
    """zram0, or a new device if it is taken; None if there is no other."""
    if kernel_zram_missing() is None:
        return ZramDevice(0, False, size)
    try:
        with open("/sys/class/zram-control/hot_add") as f:
            number = int(f.read())
    except (OSError, ValueError):
        return None
    return ZramDevice(number, True, size)


class KernelZram(Server):
    """nbdkit file over a zram device of its own."""

    kernel = True
    serve = ["nbdkit", "file"]

    def __init__(self, name, device, arguments):
        super().__init__(name, self.serve, [], [device.path] + arguments)
        self.device = device

    def stop(self):
        super().stop()
        if self.device:
            self.device.put_back()
            self.device = None

    def before_sample(self):
        self.device.flush()

    def memory(self):
        """The pool's pages in place of the process, which holds no data."""
        used = self.device.mm_stat()["mem_used_total"]
        return dict.fromkeys(("rss", "pss", "private", "own"), used)

    def compact(self):
        self.device.flush()
        self.device.write("compact", "1")
        return True


class QemuNbdZram(KernelZram):
    """The same by qemu-nbd, past the page cache, by io_uring where it can."""

    serve = ["qemu-nbd", "--persistent"]
    aio = "io_uring"

    def words(self, pidfile, stats):
        return [*self.command, "--shared=0", "--socket", self.socket,
                "--pid-file", pidfile, "--format=raw", "--cache=none",
                "--discard=unmap", f"--aio={self.aio}"] + self.arguments

    def start(self, folder, number, stats=False):
        try:
            super().start(folder, number, stats)
        except BenchError:
            self.aio = "native"
            super().start(folder, number, stats)
        self.facts["command"] = " ".join(self.words("PIDFILE", stats))


def split_config(text):
    """'-t 4 algorithm=zstd' is options of nbdkit, then keys."""
    words = shlex.split(text)
    options = []
    while words and words[0].startswith("-"):
        options.append(words.pop(0))
        if words and "=" not in words[0] and not words[0].startswith("-"):
            options.append(words.pop(0))
    return options, words


def memory_server(allocator, size, name=None):
    return Server(name or f"memory {allocator}", ["nbdkit", "memory"], [],
                  [str(size), f"allocator={allocator}"])


def other_server(text, size):
    options, words = split_config(text)
    name = os.path.basename(words[0]).removeprefix("nbdkit-")
    name = name.removesuffix(".so").removesuffix("-plugin")
    return Server(" ".join([name] + options + words[1:]),
                  ["nbdkit", words[0]], options, words[1:] + [f"size={size}"])


class ZramServer(Server):
    """The plugin; with statistics, or without their verbose log and what that
    costs, it can be steered too."""
    control = None

    def start(self, folder, number, stats=False, control=False):
        if stats or control:
            self.control = os.path.join(folder, f"{number}.control")
            self.arguments = self.arguments + [f"control={self.control}"]
        super().start(folder, number, stats)

    def ask(self, method, **params):
        """One request and its answer on the control socket."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.control)
            request = {"jsonrpc": "2.0", "id": 1, "method": method,
                       "params": params}
            s.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(s.makefile().readline())
        if "error" in answer:
            raise BenchError(f"{self.name}: {method}: "
                             + answer["error"]["message"])
        return answer["result"]

    def run_job(self, method, **params):
        """Start a job and wait for its end; returns its result."""
        number = self.ask(method, **params)["job"]
        while (job := self.ask("job", id=number))["state"] == "running":
            time.sleep(0.05)
        if job["state"] != "done":
            raise BenchError(f"{self.name}: {method}: {job['message']}")
        return job["result"]

    def compact(self):
        self.run_job("compact")
        return True


def zram_name(config):
    options, keys = split_config(config)
    return " ".join(["zram"] + options + keys)


def zram_server(command, config, size):
    options, keys = split_config(config)
    return ZramServer(zram_name(config), command, options,
                      [f"size={size}"] + keys)


class Loader:
    """Runs nbdload against a server."""

    def __init__(self, program, image):
        self.program, self.image = program, image

    def words(self, server, op, keys):
        words = [self.program, "--op", op, "--socket", server.socket,
                 "--image", self.image.name]
        if server.stores:
            words += ["--model", server.model]
        for key, value in keys.items():
            words += [f"--{key}"] if value is True else \
                [f"--{key}", str(value)]
        return words

    def run(self, server, op, **keys):
        done = subprocess.run(self.words(server, op, keys),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, text=True)
        return self.result(server, op, done.stdout, done.stderr,
                           done.returncode)

    def run_held(self, server, op, while_open, **keys):
        """As run, and call while_open before the connections close."""
        process = subprocess.Popen(
            self.words(server, op, {**keys, "hold": True}), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        line = process.stdout.readline()
        if line:
            while_open()
        rest, messages = process.communicate()
        return self.result(server, op, line + rest, messages,
                           process.returncode)

    @staticmethod
    def result(server, op, output, messages, status):
        server.check()
        try:
            result = json.loads(output)
        except ValueError:
            raise BenchError(f"{server.name}: {op}: nbdload: "
                             f"{messages.strip() or status}")
        if result["errors"]:
            raise BenchError(
                f"{server.name}: {op}: {result['errors']} requests failed, "
                f"the first with: {os.strerror(result['errno'])}")
        if result["mismatches"]:
            raise BenchError(
                f"{server.name}: {op}: WRONG DATA in {result['mismatches']} "
                f"pages, the first at offset {result['first_bad']}")
        return result

    def live_bytes(self, server):
        """Bytes of the disk that were written and not discarded, and what
        lz4 makes of them page by page (None if that is not known)."""
        with open(server.model, "rb") as f:
            pages = memoryview(f.read()).cast("I")
        sizes = self.image.page_sizes()
        hole = 0xffffffff
        live = [p for p in pages if p != hole]
        packed = sum(map(sizes.__getitem__, live)) if sizes else None
        return len(live) * PAGE, packed
