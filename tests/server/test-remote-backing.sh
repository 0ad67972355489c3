#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Another machine's memory as the backing: an NBD server on TCP in its own
# network namespace, the plugin in a second one, and a cable (veth) between them
# that is pulled under load.
#
#   1. pulled for 3 s, less than backing_timeout: requests wait, none fails
#   2. pulled for longer: some fail, and once it is back all data are there
#
# Never a wrong byte, and the auditor at the end finds everything in order.

. "$(dirname "$0")/lib.sh"
requires_nbd_python
requires nbdinfo --version
requires nbdkit memory --version
[ "$(id -u)" = 0 ] || skip "needs root, to make network namespaces"
requires ip netns

here_ns="zram-here-$$" there_ns="zram-there-$$" store_pid=

clean_up ()
{
  [ -z "$store_pid" ] || kill -9 "$store_pid" 2>/dev/null
  { wait "$store_pid"; } 2>/dev/null
  ip netns del "$here_ns" 2>/dev/null
  ip netns del "$there_ns" 2>/dev/null   # and the cable with it
  return 0
}

ip netns add "$here_ns" 2>"$tmp/why" && ip netns add "$there_ns" 2>"$tmp/why" &&
  ip link add zram-cable netns "$here_ns" type veth \
     peer name zram-cable netns "$there_ns" 2>"$tmp/why" &&
  ip -n "$here_ns" link set lo up 2>"$tmp/why" ||
  skip "cannot make network namespaces here: $(tail -n 1 "$tmp/why")"
ip -n "$here_ns" addr add 192.0.2.1/24 dev zram-cable
ip -n "$there_ns" addr add 192.0.2.2/24 dev zram-cable
ip -n "$here_ns" link set zram-cable up
ip -n "$there_ns" link set zram-cable up

# One thread for each connection: with more, nbdkit 1.32 may abort when the
# connection of a busy client breaks (raw_send_socket).
ip netns exec "$there_ns" nbdkit -t 1 -f -P "$tmp/store.pid" -i 192.0.2.2 \
   memory 256M </dev/null >"$tmp/store.log" 2>&1 &
store_pid=$!
for ((i = 0; i < 2400; i++)); do
  [ ! -s "$tmp/store.pid" ] || break
  sleep 0.05
done
[ -s "$tmp/store.pid" ] || fail "no store: $(cat "$tmp/store.log")"
store=nbd://192.0.2.2

# like start_nbdkit, in the other namespace
printf '#!/bin/sh\nexec ip netns exec %s "%s" "$@"\n' "$here_ns" \
       "$(command -v "$NBDKIT")" >"$tmp/nbdkit"
chmod +x "$tmp/nbdkit"
NBDKIT="$tmp/nbdkit"

cable ()
{
  ip -n "$there_ns" link set zram-cable "$1"
}

# load TIMEOUT STRICT SECONDS: fills, pulls the cable for so long while four
# clients work, goes on until they are served again, compares.
load ()
{
  start_nbdkit "$PLUGIN" 64M mem_limit=12M "backing=$store" backing_timeout="$1"
  py "$2" "$3" "$there_ns" <<'END'
from backingtest import Load

strict, seconds, there = sys.argv[2] == "strict", float(sys.argv[3]), sys.argv[4]

def cable(state):
    subprocess.run(["ip", "-n", there, "link", "set", "zram-cable", state],
                   check=True)

load = Load(sys.argv[1], 64 * M // (4 * K), strict=strict)
load.fill()
load.start(seed())
load.run_for(1)
cable("down")
down = time.monotonic()
load.run_for(seconds)
before = load.reads + load.writes, load.failed_reads + load.failed_writes
cable("up")

# Requests are served again, and no more fail.
back = time.monotonic()
good = 0
while good < 10:
    check(time.monotonic() < back + 25, "not served again within 25 s")
    failed, done = load.failed_reads + load.failed_writes, load.reads + load.writes
    load.run_for(0.1)
    good = good + 1 if (load.failed_reads + load.failed_writes == failed
                        and load.reads + load.writes > done) else 0
print("served again after %.1f s" % (time.monotonic() - back - 1))
load.stop()
print(load.summary())
check(strict or load.failed_reads > 0, "no read failed: was the cable pulled?")
check(not strict or load.slowest > 1, "nothing waited: was the cable pulled?")
load.verify()
END
  # Most of the data are there, not here.
  ip netns exec "$here_ns" timeout 20 nbdinfo --json --map --totals "$store" |
    "$PYTHON" -c '
import json, sys
stored = sum(e["size"] for e in json.load(sys.stdin) if e["type"] == 0)
print("%d MiB in the store" % (stored >> 20))
sys.exit(stored < 30 << 20)' || fail "the store is nearly empty"
  stop_nbdkit
}

load 30 strict 3
# Any nbdkit that has printed a system's error hangs at its exit under the
# address sanitizer (in p11-kit's freelocale).
sanitized || load 2 lax 5
