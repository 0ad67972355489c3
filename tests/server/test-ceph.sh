#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A Ceph cluster (a throw-away one, scripts/ceph-store) as the backing, through
# qemu-nbd.  Four clients write and read more than memory holds; meanwhile the
# OSD is frozen for two seconds.  At the end all data are right, and discarded
# data are discarded in the cluster too.

. "$(dirname "$0")/lib.sh"
requires_nbd_python
requires nbdinfo --version

cluster="$tmp/ceph"

clean_up ()
{
  "$SRCDIR/scripts/ceph-store" stop "$cluster"
}

status=0
"$SRCDIR/scripts/ceph-store" start "$cluster" 256M >"$tmp/start" || status=$?
case $status in
  0) store="$(tail -n 1 "$tmp/start")" ;;
  77) skip "$(tail -n 1 "$tmp/start")" ;;
  *) fail "scripts/ceph-store: $(tail -n 1 "$tmp/start")" ;;
esac

# MiB that the image takes
stored ()
{
  timeout 20 nbdinfo --json --map --totals "$store" | "$PYTHON" -c '
import json, sys
print(sum(e["size"] for e in json.load(sys.stdin) if e["type"] == 0) >> 20)'
}

start_nbdkit "$PLUGIN" 96M mem_limit=16M "backing=$store"
py "$(cat "$cluster/osd.0.pid")" <<'END'
from backingtest import Load

osd = int(sys.argv[2])
load = Load(sys.argv[1], 96 * M // (4 * K))
load.fill()
load.verify()
load.start(seed())
load.run_for(2)
os.kill(osd, signal.SIGSTOP)
try:
    load.run_for(2)
finally:
    os.kill(osd, signal.SIGCONT)
load.run_for(2)
load.stop()
print(load.summary())
load.verify()
END
full="$(stored)"
echo "$full MiB in the image"
[ "$full" -ge 40 ] || fail "the image is nearly empty"

py <<'END'
h.trim(96 * M, 0)
check(h.pread(M, 5 * M) == bytes(M), "discarded, and not zero")
END
left="$full"
# Ceph frees only whole pieces of its objects: something always stays.
for ((i = 0; i < 20 && left > full * 3 / 4; i++)); do
  sleep 0.5
  left="$(stored)"
done
echo "$left MiB in the image after a discard of everything"
[ "$left" -le $((full * 3 / 4)) ] || fail "what is discarded stays in the image"
stop_nbdkit
