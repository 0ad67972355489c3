#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Memory and space run out outside the plugin's own limit: the Nth allocation
# fails, address space is limited, the backing's file system is full, a cgroup
# has no more.  Clients see ENOMEM or ENOSPC, existing data stay, and the server
# goes on.

. "$(dirname "$0")/lib.sh"
requires_nbd_python

group=
clean_up ()
{
  mountpoint -q "$tmp/small" 2>/dev/null && umount -l "$tmp/small"
  if [ -n "$group" ]; then rmdir "$group" 2>/dev/null; fi
  return 0
}

# wrap COMMANDS: $tmp/wrapped is nbdkit after these.
wrap ()
{
  printf '#!/bin/bash\n%s\nexec "%s" "$@"\n' "$1" "$NBDKIT" >"$tmp/wrapped"
  chmod 755 "$tmp/wrapped"
}

# The server must be full before `most` bytes are written.  All of them are
# still there then, part of them can be discarded, and as much can be written
# again.
fill_and_go_on ()
{
  py "$@" <<'END'
from zlib import crc32
most = int(sys.argv[2])
sums = {}
rng = random.Random(seed())
piece = 64 * K
h.pwrite(b"old" * 20000, 0)             # and something that compresses
at = M
failed = 0
while not failed:
    check(at < M + most, "nothing ever ran out")
    data = rng.randbytes(piece)
    failed = errno_of(h.pwrite, data, at)
    sums[at] = crc32(data if not failed else h.pread(piece, at))
    at += piece
check(failed in (errno.ENOSPC, errno.ENOMEM), "errno", failed)
print("%d MiB, then %s" % (at // M, errno.errorcode[failed]))
# A failed write over old data leaves them there, slot by slot.
again = random.Random(5)
for _ in range(20):
    x = again.randrange(1, at // piece - 17) * piece + M - piece
    before = h.pread(piece, x)
    after = again.randbytes(piece)
    if errno_of(h.pwrite, after, x):
        got = h.pread(piece, x)
        check(all(got[i:i + 4 * K] in (before[i:i + 4 * K], after[i:i + 4 * K])
                  for i in range(0, piece, 4 * K)), "neither old nor new")
    else:
        same(h.pread(piece, x), after, x)
    sums[x] = crc32(h.pread(piece, x))
same(h.pread(60000, 0), b"old" * 20000, 0, "the first")
for x in sums:
    check(crc32(h.pread(piece, x)) == sums[x], "changed: at", x)
half = (at - M) // 2 // piece * piece
h.trim(half, M)
data = rng.randbytes(half // 4 // piece * piece)
for x in range(0, len(data), piece):
    h.pwrite(data[x:x + piece], M + x)
for x in range(0, len(data), piece):
    same(h.pread(piece, M + x), data[x:x + piece], M + x, "afterwards")
END
}

if sanitized; then
  echo "not run: the Nth allocation: $ZRAM_SANITIZER is preloaded already"
elif ! ${CC:-cc} -shared -fPIC -O1 -o "$tmp/fail-nth.so" "$here/fail-nth.c" \
       -ldl >"$tmp/cc.log" 2>&1; then
  ! grep -q error: "$tmp/cc.log" || fail "$(cat "$tmp/cc.log")"
  echo "not run: the Nth allocation: no C compiler"
else
  export FAIL_NTH="$tmp/nth"
  for keys in algorithm=lz4 "algorithm=zstd slot_size=16k"; do
    echo "the Nth allocation or mapping fails, $keys"
    head -c 4096 /dev/zero >"$FAIL_NTH"
    # shellcheck disable=SC2086
    "$PYTHON" - "$tmp/fail-nth.so" $keys <<'END'
import mmap, struct
from zramtest import *

os.environ["LD_PRELOAD"] = sys.argv[1]
f = open(os.environ["FAIL_NTH"], "r+b")
orders = mmap.mmap(f.fileno(), 32)


def order(nth, for_good):
    orders[:] = struct.pack("QQQQ", nth, for_good, 0, 0)


def asked_failed():
    return struct.unpack("QQ", orders[16:])


def attempt(h, base, model, offset, data):
    """A write that may fail; each slot is old or new then."""
    n = len(data)
    failed = errno_of(h.pwrite, data, base + offset)
    if not failed:
        model[offset:offset + n] = data
        return 0
    check(failed in (errno.ENOMEM, errno.ENOSPC), "errno", failed)
    got = h.pread(n, base + offset)
    for a in range(offset - offset % 4096, offset + n, 4096):
        x, y = max(a, offset), min(a + 4096, offset + n)
        part = got[x - offset:y - offset]
        check(part in (model[x:y], data[x - offset:y - offset]),
              "slot at", base + x, "is neither old nor new")
        model[x:y] = part
    return 1


def round_(h, nth, for_good):
    """The first writes of a server, so all that it has is not there yet."""
    data = Data(random.Random(nth))
    base = nth * 1536 * G
    model = bytearray(M)
    order(nth, for_good)
    failed = 0
    for offset, what in ((0, data.noise(300 * K)), (100, data.noise(100)),
                         (400 * K, data.text(64 * K)),
                         (2 * K, data.noise(20 * K)),
                         (500 * K, data.mixed(200 * K))):
        failed += attempt(h, base, model, offset, what)
    # Further away, so it needs more of the table; only for the errno.
    for power in range(30, 40):
        e = errno_of(h.pwrite, data.noise(8 * K), base + (1 << power))
        check(e in (0, errno.ENOMEM, errno.ENOSPC), "errno", e)
        failed += e != 0
    asked, hit = asked_failed()
    order(0, 0)
    same(h.pread(M, base), model, base, "afterwards")
    h.pwrite(data.noise(64 * K), base + 800 * K)        # it goes on
    h.trim(M, base)
    for power in range(30, 40):
        h.trim(8 * K, base + (1 << power))
    return hit, failed


for for_good in 0, 1:
    hits = failures = nth = 0
    while True:
        nth += 1
        check(nth < 300, "no end of allocations")
        with Server("512T", *sys.argv[2:], options=("-t", "4")) as s:
            hit, failed = round_(s.connect(), nth, for_good)
        if not hit:
            break
        hits += 1
        failures += failed
    print("%s: %d places failed, %d writes did"
          % ("from there on" if for_good else "once", hits, failures))
    check(hits > 3 and failures > 3, "hardly anything was made to fail")
END
  done
  unset FAIL_NTH
fi

if sanitized; then
  echo "not run: ulimit -v: a sanitizer maps terabytes"
else
  echo "address space is limited"
  # The memory that nbdkit needs with a connection, and little more.
  PLUGIN=memory start_nbdkit memory 1M
  size="$(awk '/^VmPeak:/ { print $2 }' "/proc/$pid/status")"
  stop_nbdkit
  wrap "ulimit -s 512; ulimit -v $((size + 400 * 1024))"
  NBDKIT="$tmp/wrapped" start_nbdkit -t 2 "$PLUGIN" 64G workers=2
  fill_and_go_on $((600 << 20))
  stop_nbdkit
fi

mkdir "$tmp/small"
if ! mount -t tmpfs -o size=6M none "$tmp/small" 2>"$tmp/said"; then
  echo "not run: a full file system: $(tail -n 1 "$tmp/said")"
else
  echo "the backing store's file system is full"
  start_nbdkit "$PLUGIN" 1G mem_limit=4M backing="$tmp/small/store" \
               backing_size=256M
  fill_and_go_on $((64 << 20))
  [ "$(df --output=avail "$tmp/small" | tail -n 1)" -lt 5000 ] ||
    fail "the store was never used"
  stop_nbdkit
fi

# make_group LIMIT: makes a cgroup of that many bytes, $group, if possible.
make_group ()
{
  local v1=/sys/fs/cgroup/memory v2=/sys/fs/cgroup
  if [ -w "$v1/cgroup.procs" ]; then
    group="$v1/zram-test.$$"
    mkdir "$group" 2>/dev/null || { group=; return 1; }
    echo "$1" >"$group/memory.limit_in_bytes" || return 1
  elif grep -qw memory "$v2/cgroup.subtree_control" 2>/dev/null; then
    group="$v2/zram-test.$$"
    mkdir "$group" 2>/dev/null || { group=; return 1; }
    echo "$1" >"$group/memory.max" || return 1
  else
    return 1
  fi
}

if sanitized; then
  echo "not run: a cgroup's limit: $ZRAM_SANITIZER takes memory of its own"
elif ! make_group $((96 << 20)) 2>"$tmp/said"; then
  echo "not run: a cgroup's limit: no cgroup of memory can be made here"
else
  # The kernel refuses nothing there, it kills.  So the promise is that
  # mem_limit, which is below that, keeps the process inside.
  echo "in a cgroup of 96 MiB, with mem_limit=32M"
  wrap "echo \$\$ >'$group/cgroup.procs'"
  NBDKIT="$tmp/wrapped" start_nbdkit -t 4 "$PLUGIN" 1G mem_limit=32M
  grep -qx "$pid" "$group/cgroup.procs" || fail "not in the cgroup"
  fill_and_go_on $((128 << 20))
  stop_nbdkit
fi
