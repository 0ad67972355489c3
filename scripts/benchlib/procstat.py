# SPDX-License-Identifier: BSD-3-Clause
"""CPU time and memory as the kernel accounts for them.

   /proc/stat busy time over a sample
   | server | client, its children | this script | foreign                |
   '------- measured one by one ---------------' '-- what is left: others'

Foreign time is what makes a sample worth nothing: another program, or the
hypervisor (steal), had the CPU.  Kernel threads count as foreign too, except
for the kernel's own zram, which does part of its work in them.
"""
import os
import resource
import time

TICK = os.sysconf("SC_CLK_TCK")
PF_KTHREAD = 0x00200000


def stat_fields(pid):
    """Fields of /proc/PID/stat from the third (state) on."""
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()


def process_cpu(pid):
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICK


def kernel_threads_cpu():
    total = 0
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = stat_fields(name)
        except OSError:
            continue
        if int(fields[6]) & PF_KTHREAD:
            total += int(fields[11]) + int(fields[12])
    return total / TICK


def machine_busy():
    """Seconds of user, nice, system, irq, softirq and steal so far."""
    with open("/proc/stat") as f:
        fields = [int(x) for x in f.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


def used_by(who):
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """CPU time of all parties between its creation and stop()."""

    def __init__(self, pid, kernel=False):
        self.pid, self.kernel = pid, kernel
        self.before = self.read()

    def read(self):
        return {"server": process_cpu(self.pid) if self.pid else 0,
                "kthreads": kernel_threads_cpu() if self.kernel else 0,
                "client": used_by(resource.RUSAGE_CHILDREN),
                "self": used_by(resource.RUSAGE_SELF),
                "busy": machine_busy(), "time": time.monotonic()}

    def stop(self):
        after = self.read()
        used = {k: after[k] - self.before[k] for k in after}
        known = used["server"] + used["kthreads"] + used["client"] \
            + used["self"]
        used["foreign"] = max(0.0, used["busy"] - known)
        used["foreign_share"] = \
            used["foreign"] / (used["time"] * os.cpu_count())
        return used


def memory(pid):
    """Memory of a process, in bytes.  `own` is what it alone has written
    (Private_Dirty and swap): Private and Pss also count its share of program
    files in the page cache, and change when another nbdkit starts or ends."""
    sizes = {}
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f.readlines()[1:]:
            name, kib = line.split()[:2]
            sizes[name.rstrip(":")] = int(kib) << 10
    swap = sizes.get("Swap", 0)
    return {"rss": sizes["Rss"], "pss": sizes["Pss"],
            "private": sizes["Private_Clean"] + sizes["Private_Dirty"] + swap,
            "own": sizes["Private_Dirty"] + swap}
