#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# swap=true: without the needed privilege it says what is missing.  With it,
# every thread is an I/O flusher, everything is locked, and a disk of 1 TiB
# still takes little memory.  ../guest tests it with a kernel that swaps.

. "$(dirname "$0")/lib.sh"
. "$here/swap-checks.sh"

# Not under a sanitizer: its mlockall does nothing.
! sanitized || skip "sanitizers do not let memory be locked"

start=()
if grep -q '^CapEff:.*[1-9a-f]' /proc/self/status; then
  requires setpriv --version
  start=(setpriv --bounding-set=-sys_resource)
fi
if "${start[@]}" "$NBDKIT" -U - "$PLUGIN" 1M swap=true --run true \
     2>"$tmp/said"; then
  fail "started without CAP_SYS_RESOURCE"
fi
grep -q 'swap=true: CAP_SYS_RESOURCE is missing' "$tmp/said" ||
  fail "$(cat "$tmp/said")"

# As with nbdkit's own --swap, which locks everything in advance.  Freed memory
# is given back all the same.
if "$NBDKIT" --swap -U - null --run true 2>/dev/null; then
  start_nbdkit --swap zram 1G
  requires_nbd_python
  py <<'END'
import os
for i in range(16):
    h.pwrite(os.urandom(M), i * M)
h.trim(16 * M, 0)
check(h.pread(M, 3 * M) == bytes(M), "not trimmed")
END
  stop_nbdkit
fi

"$NBDKIT" -U - "$PLUGIN" 1M swap=true --run true 2>"$tmp/said" ||
  skip "$(tail -n 1 "$tmp/said")"

start_nbdkit zram 1T swap=true
threads="$(io_flushers "$pid")"
is_locked "$pid"
requires_nbd_python
py <<'END'
import os
for i in range(16):
    h.pwrite(os.urandom(M), i * M)
check(h.pread(M, 3 * M) != bytes(M), "not written")
h.trim(16 * M, 0)
END
# The threads of connections too, while there is one.
"$PYTHON" -c 'import nbd, sys, time
h = nbd.NBD()
h.connect_unix(sys.argv[1])
print("connected", flush=True)
time.sleep(60)' "$sock" >"$tmp/connected" &
client=$!
clean_up () { kill "$client" 2>/dev/null; }
for ((i = 0; i < 200; i++)); do
  grep -q connected "$tmp/connected" && break
  sleep 0.05
done
more="$(io_flushers "$pid")"
[ "$more" -gt "$threads" ] || fail "$more threads with a connection"
kill "$client"
stop_nbdkit
