# SPDX-License-Identifier: BSD-3-Clause
"""bench engine, bench passes: the engine alone, without NBD.

The build tree's tests/bench/engine-bench (passes-bench) does the work:

   engine-bench --image FILE --seconds S [ARGUMENT...]

FILE is the image of real files.  It prints one JSON object a line, and lines
with the same keys one after another become one table here.
"""
import json
import os
import subprocess

from . import common, report
from .common import BenchError, say


def main(options):
    return run(options, "engine")


def main_passes(options):
    return run(options, "passes")


def run(options, name):
    build = os.path.abspath(options.build or common.default_build())
    program = os.path.join(build, f"tests/bench/{name}-bench")
    if not os.path.exists(program):
        raise BenchError(f"there is no {program}")
    common.warn_of_slow_build(build)
    image = common.Image(options.work, options.size)
    image.warm()
    words = [program, "--image", image.name,
             "--seconds", str(options.seconds)] + options.arguments
    say(" ".join(words))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    rows = []
    for line in process.stdout:
        try:
            rows.append(json.loads(line))
        except ValueError:
            print(line, end="", flush=True)
    status = process.wait()
    machine = common.machine()
    print("\n" + common.machine_line(machine))
    parts = []
    for head, cells in report.generic(rows):
        print("\n" + report.text_table(head, cells))
        parts.append(report.markdown_table(head, cells))
    if options.json:
        common.write_json(options.json, {
            "bench": name, "machine": machine, "image": image.facts,
            "rows": rows})
    if options.markdown:
        with open(options.markdown, "w") as f:
            f.write("\n\n".join(parts) + "\n")
    return 1 if status else 0
