#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The server ends when it is told to, whatever its clients do, and does not end
# when they do.

. "$(dirname "$0")/lib.sh"
requires_nbd_python

# With a sanitizer's runtime preloaded, any nbdkit hangs in its exit handlers
# after its threads have printed errors with %m (glibc's locale lock stays
# taken).  So there it prints none.  Reports do not go through nbdkit's log.
options=()
if sanitized; then options=(--log=null); fi

clients=()

# client KIND: runs in the background, and is connected when this returns
client ()
{
  local ready="$tmp/ready.$((++nready))" i
  "$PYTHON" "$here/zramtest.py" "$1" "$sock" "$ready" \
            >"$tmp/client.log" 2>&1 &
  clients+=($!)
  disown $!                     # no message when it is killed
  for ((i = 0; i < 1200; i++)); do
    [ -e "$ready" ] && return 0
    running $! || break
    sleep 0.05
  done
  fail "client: $(cat "$tmp/client.log")"
}
nready=0

# ends SIGNAL CLIENT...: the server is gone within 10 seconds, status 0, and its
# clients, idle or with requests in flight, notice it.
ends ()
{
  local signal="$1" c
  shift
  start_nbdkit "${options[@]}" "$PLUGIN" 64M
  clients=()
  for c; do client "$c"; done
  kill "-$signal" "$pid"
  wait_nbdkit "$signal" 10
  for c in "${clients[@]}"; do gone "$c"; done
}

gone ()
{
  local i
  for ((i = 0; i < 600; i++)); do
    running "$1" || return 0
    sleep 0.05
  done
  kill -9 "$1"
  fail "a client never learned that the server went"
}

for signal in TERM INT HUP; do
  ends $signal
  ends $signal busy
  ends $signal busy busy busy
  ends $signal idle idle idle
  ends $signal busy busy idle
done

# ---- clients die in the middle of their requests
# One thread for each connection: with more, nbdkit itself (1.32) now and then
# fails an assertion in raw_send_socket when it replies to a client that is
# gone, with any plugin.
start_nbdkit "${options[@]}" -t 1 "$PLUGIN" 64M
"$PYTHON" - "$sock" "$pid" <<'END'
import os, random, signal, sys, time
from zramtest import K, M, SANITIZER, Data, busy, check, connect, same, seed

sock, pid = sys.argv[1], int(sys.argv[2])
number = seed()
rng = random.Random(number)
h = connect(sock)
mine = Data(rng).text(300 * K)
h.pwrite(mine, 32 * M)


def rss():
    for line in open("/proc/%d/status" % pid):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * K


def entries(what):
    return len(os.listdir("/proc/%d/%s" % (pid, what)))


def settled(what, count):
    """Connections of the dead are noticed a little later."""
    for _ in range(600):
        if entries(what) <= count:
            return
        time.sleep(0.05)
    check(False, entries(what), "entries in", what, "and not", count)


fds, tasks = entries("fd"), entries("task")
sizes = []
for i in range(50):
    r, w = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            busy(sock, number + i, lambda: os.write(w, b"r"), 0, 4 * M,
                 connections=6)
        finally:
            os._exit(1)
    os.close(w)
    check(os.read(r, 1) == b"r", "client", i, "did not get going")
    os.close(r)
    time.sleep(rng.random() * 0.02)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    check(os.WIFSIGNALED(status), "client", i, "ended by itself")
    same(h.pread(len(mine), 32 * M), mine, 32 * M, "after client %d" % i)
    settled("task", tasks)
    sizes.append(rss())
settled("fd", fds)
same(h.pread(4 * M, 0), connect(sock).pread(4 * M, 0), 0, "two clients")
if SANITIZER:
    print("memory not checked: " + SANITIZER)
else:
    check(sizes[-1] - max(sizes[:10]) < 6 * M, "memory grows:", sizes)
h.shutdown()
END
stop_nbdkit
