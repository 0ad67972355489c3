# SPDX-License-Identifier: BSD-3-Clause
"""A table of numbers to an SVG file, by gnuplot.

   Chart: title, label of y     names       series 1   series 2
                                row "a"     0.92       -            (- is None)
                                row "b"     0.81       0.75

The same numbers give the same file, byte for byte (with one gnuplot).
"""
import os
import re
import shutil
import subprocess

from . import common
from .common import BenchError

COLOURS = ["#1b6ca8", "#e07b39", "#4a9c5d", "#8e5ea2", "#c0392b", "#7f8c8d",
           "#d4a017", "#16a2a2", "#5d4037", "#e377c2", "#2c3e50", "#9acd32"]
SIZE = (860, 440)


class Chart:
    """bars: a group for each row and a bar for each series; else lines."""

    def __init__(self, name, title, label, bars=False, xlabel="", floor=None):
        self.name, self.title, self.label = name, title, label
        self.bars, self.xlabel = bars, xlabel
        self.floor = floor          # A horizontal line, such as 1.
        self.rows, self.series, self.values = [], [], {}

    def add(self, row, series, value):
        for seen, one in ((self.rows, row), (self.series, series)):
            if one not in seen:
                seen.append(one)
        assert (row, series) not in self.values, (row, series)
        self.values[row, series] = value

    def block(self):
        """gnuplot's data: a line for each row, a tab between values."""
        lines = ["$data << END"]
        for row in self.rows:
            cells = [self.values.get((row, s)) for s in self.series]
            lines.append("\t".join([quoted(row)] + [
                "?" if v is None else f"{v:.5g}" for v in cells]))
        return lines + ["END"]

    def script(self):
        how = ("with histograms" if self.bars else
               "with linespoints linewidth 2 pointtype 7 pointsize 0.5")
        slanted = any(len(str(row)) > 6 for row in self.rows)
        plots = [f'$data using {n + 2}:xtic(1) {how} linecolor rgb '
                 f'"{COLOURS[n % len(COLOURS)]}" title {quoted(s)}'
                 for n, s in enumerate(self.series)]
        if self.floor is not None:
            plots.append(f'{self.floor} with lines dashtype 2 linecolor rgb '
                         '"#555555" notitle')
        return "\n".join([
            f'set terminal svg size {SIZE[0]},{SIZE[1]} dynamic noenhanced '
            'font "sans-serif,12" background rgb "white"',
            'set datafile separator "\\t"', 'set datafile missing "?"',
            f"set title {quoted(self.title)}",
            f"set ylabel {quoted(self.label)}",
            f"set xlabel {quoted(self.xlabel)}",
            "set style fill solid noborder",
            "set style histogram clustered gap 1.5" if self.bars else "",
            "set key below Left reverse", "set rmargin 8",
            'set grid ytics linecolor rgb "#dddddd"', "set yrange [0:*]",
            f"set xrange [-0.7:{len(self.rows) - 0.3:.1f}]",
            "set xtics nomirror" + (" rotate by -15" if slanted else ""),
            "set ytics nomirror", "set border 3",
            *self.block(), "plot " + ", ".join(plots)]) + "\n"


def slim(svg):
    """Without the program's version, and what draws nothing: half of it."""
    svg = re.sub(r"<desc>.*?</desc>", "", svg, flags=re.S)
    svg = re.sub(r"<filter.*?</filter>", "", svg, flags=re.S)
    count = 1
    while count:
        svg, count = re.subn(r"<g [^>]*>\s*</g>", "", svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def quoted(text):
    return '"' + str(text).replace("\\", "/").replace('"', "'") + '"'


def draw(chart, folder):
    """Writes FOLDER/NAME.svg; returns its name."""
    if not shutil.which("gnuplot"):
        deps = os.path.join(common.SCRIPTS, "deps")
        if subprocess.run([deps, "bench"]).returncode != 0 \
           or not shutil.which("gnuplot"):
            raise BenchError("charts need gnuplot (package gnuplot-nox)")
    done = subprocess.run(["gnuplot"], input=chart.script(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, "LC_ALL": "C"})
    if done.returncode != 0 or "</svg>" not in done.stdout:
        raise BenchError(f"gnuplot: {chart.name}: {done.stderr.strip()}")
    name = os.path.join(folder, chart.name + ".svg")
    with open(name, "w") as f:
        f.write(slim(done.stdout))
    return name
