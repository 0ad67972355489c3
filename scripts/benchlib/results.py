# SPDX-License-Identifier: BSD-3-Clause
"""The one form in which every subcommand writes its results (--json).

   { "format": 1,             grows when something below changes
     "bench": "nbd",          the subcommand
     "commit", "date", "machine", "image":   of what, when, where, on what
     "errors": [...],         why something is not in it; empty if all went
     "cases": [
       { "case": "nbd/read4k/zram -t 4",     unique: bench/test/subject,
                                             without their commas
         "test": "read4k",                   what was measured
         "subject": "zram -t 4",             and of which server or way
         "unit": "k/s",
         "better": "higher",                 or "lower"
         "samples": [143.1, 144.6],          one a round, in their order
         "median", "min", "max": of these
         "ratio": { "to": "null",            the floor, or whatever it is
                    "samples": [0.92, 0.93], compared with, in the same round
                    "median", "min", "max" } } ],     or null: none
     ... }                    what else the subcommand has to say; not for
                              programs, and it may change

compare and chart read nothing but this.
"""
import datetime
import json

from . import common
from .common import BenchError

FORMAT = 1
NUMBERS = ("median", "min", "max")


def numbers(samples):
    return {"samples": [round(v, 6) for v in samples],
            "median": round(common.median(samples), 6),
            "min": round(min(samples), 6), "max": round(max(samples), 6)}


def case(bench, test, subject, unit, better, rounds, floor=None):
    """rounds: {round: value} (or a list); floor: (name, {round: value})."""
    if not isinstance(rounds, dict):
        rounds = dict(enumerate(rounds))
    ratio = None
    if floor:
        to, base = floor
        both = [rounds[r] / base[r] for r in rounds if base.get(r)]
        ratio = {"to": to, **numbers(both)} if both else None
    name = f"{bench}/{test}/{subject}".replace(",", "")
    return {"case": name, "test": test, "subject": subject,
            "unit": unit, "better": better,
            **numbers(list(rounds.values())), "ratio": ratio}


class Field:
    """One figure of a sample that is worth a case of its own: its key, what
    it adds to the name of the test, unit, and whether lower is better."""

    def __init__(self, key, suffix, unit, better="lower", scale=1):
        self.key, self.suffix, self.unit = key, suffix, unit
        self.better, self.scale = better, scale

    def values(self, samples):
        """{(test, server): {round: value}} of the samples that have it."""
        found = {}
        for s in samples:
            if s.get(self.key) is not None:
                rounds = found.setdefault((s["test"], s["server"]), {})
                rounds[s["round"]] = s[self.key] / self.scale
        return found


# Of whatever nbdload measured.
LATENCY = [Field("p50_us", " p50", "us"), Field("p99_us", " p99", "us"),
           Field("p999_us", " p99.9", "us")]
SERVER_CPU = Field("serving_us_op", " server CPU", "us/op")


def from_samples(bench, samples, fields, floor_of):
    """Cases of samples, each of which has round, test and server.
    floor_of(server) names the server that it is compared with, or None."""
    cases = []
    for field in fields:
        values = field.values(samples)
        for (test, server), rounds in values.items():
            base = values.get((test, floor_of(server)))
            cases.append(case(bench, test + field.suffix, server, field.unit,
                              field.better, rounds,
                              base and (floor_of(server), base)))
    return cases


def number_doubles(cases):
    """A case that was measured twice has two names: name, name (2)."""
    seen = {}
    for c in cases:
        count = seen[c["case"]] = seen.get(c["case"], 0) + 1
        if count > 1:
            c["case"] += f" ({count})"
            c["subject"] += f" ({count})"


def document(bench, image, cases, errors=(), **rest):
    number_doubles(cases)
    return {"format": FORMAT, "bench": bench,
            "commit": common.output_of(["git", "-C", common.TOP, "describe",
                                        "--always", "--dirty"]),
            "date": datetime.datetime.now().isoformat(timespec="seconds"),
            "machine": common.machine(), "image": image,
            "errors": list(errors), "cases": cases, **rest}


def write(options, doc, markdown):
    """What --json and --markdown ask for; markdown is a list of parts."""
    if options.json:
        common.write_json(options.json, doc)
    if options.markdown:
        with open(options.markdown, "w") as f:
            f.write("\n\n".join(markdown) + "\n")
        common.say("wrote", options.markdown)


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def wrong_with_case(c):
    """What makes it no case, or None."""
    for key in ("case", "test", "subject", "unit"):
        if not isinstance(c.get(key), str):
            return f"has no {key}"
    if c.get("better") not in ("higher", "lower"):
        return "better is neither higher nor lower"
    for part in [c] + ([c["ratio"]] if c.get("ratio") else []):
        for key in NUMBERS:
            if not is_number(part.get(key)):
                return f"{key} is no number"
    return None


def load(name):
    """A file in this form, or a BenchError that says what is wrong."""
    try:
        with open(name) as f:
            doc = json.load(f)
    except OSError as error:
        raise BenchError(f"{name}: {error.strerror}")
    except ValueError as error:
        raise BenchError(f"{name}: not JSON: {error}")
    if not isinstance(doc, dict) or not isinstance(doc.get("bench"), str) \
       or not isinstance(doc.get("cases"), list):
        raise BenchError(f"{name}: no result of scripts/bench: "
                         "it has no list of cases")
    if doc.get("format") != FORMAT:
        raise BenchError(f"{name}: format {doc.get('format')}, and this "
                         f"program knows only {FORMAT}")
    for number, c in enumerate(doc["cases"]):
        wrong = wrong_with_case(c) if isinstance(c, dict) else "no object"
        if wrong:
            raise BenchError(f"{name}: case {number}: {wrong}")
    return doc
