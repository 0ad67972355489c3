# SPDX-License-Identifier: BSD-3-Clause
"""Where things are, what is installed and built, and small conveniences."""
import json
import os
import re
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
SCRIPTS = os.path.dirname(HERE)
TOP = os.path.dirname(SCRIPTS)
PAGE = 4096


class BenchError(Exception):
    """Something a person must put right: printed without a trace."""


def say(*text):
    print("bench:", *text, file=sys.stderr, flush=True)


def parse_size(text):
    unit = {"K": 10, "M": 20, "G": 30, "T": 40}.get(text[-1:].upper())
    number = text[:-1] if unit else text
    if not number.isdigit() or int(number) == 0:
        raise BenchError(f"{text!r} is not a size (4k, 64M, 1G ...)")
    return int(number) << (unit or 0)


def output_of(command):
    """First line that a command prints, or '' if it is not there."""
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.DEVNULL).stdout
    except OSError:
        return ""
    return out.split("\n")[0].strip()


def must_run(command, **kwargs):
    """Run a command to its end; its output is shown only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, **kwargs)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise BenchError(f"failed: {' '.join(command)}\n{tail}")
    return done.stdout


def install(need_fio):
    """Let scripts/deps install what is missing."""
    tools = ["nbdkit", "nbdcopy", "cc", "pkg-config"]
    if need_fio:
        tools.append("fio")
    have = all(shutil.which(t) for t in tools)
    if have and subprocess.run(["pkg-config", "libnbd"]).returncode == 0:
        return
    deps = os.path.join(SCRIPTS, "deps")
    if subprocess.run([deps, "bench"]).returncode != 0:
        raise BenchError("scripts/deps could not install what is missing")


def default_build():
    """The build tree, by the rule that scripts/run has too."""
    if os.environ.get("ZRAM_BUILD"):
        return os.environ["ZRAM_BUILD"]
    if os.path.exists(os.path.join(TOP, "config.status")):
        return TOP
    return os.path.join(TOP, "build")


def build_tree(build):
    """Configure and make what is not built yet."""
    if build != os.environ.get("ZRAM_BUILD") \
       and os.path.exists(os.path.join(TOP, "configure.ac")):
        say("building in", build)
        must_run([os.path.join(SCRIPTS, "deps"), "build"])
        os.makedirs(build, exist_ok=True)
        if not os.path.exists(os.path.join(TOP, "configure")):
            must_run(["autoreconf", "-fi"], cwd=TOP)
        if not os.path.exists(os.path.join(build, "config.status")):
            must_run([os.path.join(TOP, "configure")], cwd=build)
        must_run(["make", "-j", str(os.cpu_count())], cwd=build)


def plugin_command(options):
    """How to call nbdkit with the plugin: the words before its keys are
    [nbdkit, plugin].  --plugin names a .so or a wrapper; else build."""
    if options.plugin:
        path = os.path.abspath(options.plugin)
        if not os.path.exists(path):
            raise BenchError(f"--plugin: {path} does not exist")
        return ["nbdkit", path] if path.endswith(".so") else [path, "zram"]
    build = os.path.abspath(options.build or default_build())
    plugin = os.path.join(build, "plugin/.libs/nbdkit-zram-plugin.so")
    if not options.build:
        build_tree(build)
    if not os.path.exists(plugin):
        raise BenchError(f"no plugin in {build}: build it, or name it with "
                         "--plugin FILE, or leave it out with --no-zram")
    warn_of_slow_build(build)
    wrapper = os.path.join(build, "nbdkit")
    if os.access(wrapper, os.X_OK):
        return [wrapper, "zram"]
    return ["nbdkit", plugin]


def warn_of_slow_build(build):
    try:
        with open(os.path.join(build, "config.h")) as f:
            config = f.read()
    except OSError:
        return
    if re.search(r"^#define ZRAM_(DEBUG|FAULTS) 1", config, re.M):
        say("WARNING: a build with debug checks or sanitizers: "
            "its speed says nothing")


def build_loader(work):
    """Compile nbdload, unless it is newer than all of its sources."""
    sources = sorted(os.path.join(HERE, name) for name in os.listdir(HERE)
                     if name.startswith("nbdload"))
    program = os.path.join(work, "nbdload")
    if os.path.exists(program) and os.path.getmtime(program) \
       > max(map(os.path.getmtime, sources)):
        return program
    flags = output_of(["pkg-config", "--cflags", "--libs", "libnbd"]).split()
    must_run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread",
              "-o", program] + [s for s in sources if s.endswith(".c")]
             + flags)
    return program


def build_bare_plugin(work):
    source = os.path.join(HERE, "bare-lz4-plugin.c")
    plugin = os.path.join(work, "nbdkit-bare-lz4-plugin.so")
    if not os.path.exists(plugin) \
       or os.path.getmtime(plugin) <= os.path.getmtime(source):
        flags = output_of(["pkg-config", "--cflags", "nbdkit"]).split()
        must_run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-shared",
                  "-fPIC", "-pthread", "-o", plugin, source] + flags
                 + ["-llz4"])
    return plugin


class Image:
    """The image of real files: its name, size, facts and lz4's sizes."""

    def __init__(self, work, size_text):
        self.size = parse_size(size_text)
        self.name = os.path.join(work, f"image-{size_text}.img")
        print(must_run([os.path.join(SCRIPTS, "make-image"), self.name,
                        size_text]), end="", flush=True)
        with open(self.name + ".json") as f:
            self.facts = json.load(f)

    def page_sizes(self):
        """lz4's size of each page, or None if it was not measured."""
        try:
            with open(self.name + ".lz4", "rb") as f:
                return memoryview(f.read()).cast("H")
        except OSError:
            return None

    def warm(self):
        """Bring the whole image into the page cache."""
        with open(self.name, "rb", buffering=0) as f:
            buffer = bytearray(1 << 20)
            while f.readinto(buffer):
                pass


def available_memory():
    with open("/proc/meminfo") as f:
        text = f.read()
    return int(re.search(r"MemAvailable: *(\d+)", text).group(1)) << 10


def check_memory(need):
    have = available_memory()
    if have < need:
        raise BenchError(
            f"this needs about {need >> 20} MiB of memory and "
            f"{have >> 20} are available: try a smaller --size")


def machine():
    """What the numbers were measured on."""
    with open("/proc/cpuinfo") as f:
        cpu = re.search(r"model name\s*: (.*)", f.read())
    with open("/proc/meminfo") as f:
        memory = int(re.search(r"MemTotal: *(\d+)", f.read()).group(1))
    facts = {"cpu": cpu.group(1) if cpu else os.uname().machine,
             "cores": os.cpu_count(),
             "memory_gib": round(memory / (1 << 20), 1),
             "kernel": os.uname().release,
             "nbdkit": output_of(["nbdkit", "--version"]).split(" ")[-1]}
    for library in ("libnbd", "liblz4", "libzstd", "libdeflate"):
        version = output_of(["pkg-config", "--modversion", library])
        if version:
            facts[library] = version
    return facts


def machine_line(facts):
    libraries = ", ".join(f"{k} {v}" for k, v in facts.items()
                          if k not in ("cpu", "cores", "memory_gib"))
    return (f"{facts['cores']} cores ({facts['cpu']}), "
            f"{facts['memory_gib']} GiB; {libraries}")


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def write_json(name, document):
    with open(name, "w") as f:
        json.dump(document, f, indent=1)
        f.write("\n")
    say("wrote", name)
