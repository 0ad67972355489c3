# SPDX-License-Identifier: BSD-3-Clause
"""One sample, and the same again while other programs use the CPUs.

   sample -> more than --foreign of the CPUs went to others? -> a pause -> ...
                                                 at most --retakes times

What counts is the one of them that was disturbed least.
"""
import time

from .procstat import Meter


def metered(server, run):
    """run() gives what nbdload printed; the CPU time of an operation, and the
    share of the CPUs that others had meanwhile, are put to it."""
    meter = Meter(server.pid, server.kernel)
    result = run()
    used = meter.stop()
    result["foreign_share"] = round(used["foreign_share"], 4)
    ops = max(result["ops"], 1)
    for who in ("server", "client", "kthreads"):
        result[f"{who}_us_op"] = round(used[who] * 1e6 / ops, 3)
    result["serving_us_op"] = result["server_us_op"] + result["kthreads_us_op"]
    return result


def undisturbed(options, measure):
    """measure() gives a sample that has foreign_share."""
    best = None
    for attempt in range(options.retakes + 1):
        time.sleep(0.5 * attempt)           # It may pass.
        result = measure()
        if best is None \
           or result["foreign_share"] < best["foreign_share"]:
            best = result
        if best["foreign_share"] <= options.foreign:
            break
    best["taken"] = attempt + 1
    return best


def describe(samples, limit):
    bad = sum(s["foreign_share"] > limit for s in samples)
    again = sum(s["taken"] > 1 for s in samples)
    return (f"{len(samples)} samples; {again} taken again because other "
            f"programs used more than {limit * 100:g} % of the CPUs, "
            f"{bad} still disturbed")
