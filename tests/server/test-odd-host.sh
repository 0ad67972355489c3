#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Machines that differ from this one.  With memory pages of another size nbdkit
# does not start, and says why.  With locked memory, which the system does not
# give back at the first call, a full disk still answers only ENOSPC, reuses
# discarded memory, and evicts to a backing.

. "$(dirname "$0")/lib.sh"
requires_nbd_python
requires cc --version

# The sanitizer's library must be loaded first.
! sanitized || skip "a sanitizer's build takes no preloaded library"
cc -shared -fPIC -o "$tmp/odd.so" "$here/odd-host.c" -ldl

for page in 8192 16384 65536; do
  if ODD_PAGE=$page LD_PRELOAD="$tmp/odd.so" \
     "$NBDKIT" -U - "$PLUGIN" 1M --run "touch $tmp/ran" 2>"$tmp/said"; then
    fail "started with pages of $page bytes"
  fi
  [ ! -e "$tmp/ran" ] || fail "ran with pages of $page bytes"
  grep -q "memory pages are $page bytes.*4096" "$tmp/said" ||
    fail "pages of $page bytes: $(cat "$tmp/said")"
  [ "$(wc -l <"$tmp/said")" -eq 1 ] || fail "not one line: $(cat "$tmp/said")"
done
# The library itself does not disturb.
ODD_PAGE=4096 LD_PRELOAD="$tmp/odd.so" \
  "$NBDKIT" -U - "$PLUGIN" 1M --run "touch $tmp/ran"
[ -e "$tmp/ran" ] || fail "did not run with pages of 4096 bytes"
"$NBDKIT" --dump-plugin "$PLUGIN" | grep -x zram_page_size=4096 >/dev/null ||
  fail "dump-plugin does not say which pages it needs"

# start_locked HOW KEY=VALUE...
start_locked ()
{
  local how="$1"
  shift
  ODD_LOCKED=$how LD_PRELOAD="$tmp/odd.so" start_nbdkit "$PLUGIN" "$@"
}

# Full, then half of it is discarded and written again, by several clients at
# once: one makes zspages that another finds to be too many.
fill ()
{
  py "$sock" <<'END'
import threading
h2 = [connect(sys.argv[1]) for _ in range(4)]
bad, first = set(), seed()
def fill(n):
    rng = random.Random(first + n)
    c, at = h2[n], n << 30
    for round in range(3):
        done = full = 0
        while full < 20 and done < 64 * M:
            size = rng.choice((1, 3, 17, 64)) * K
            data = rng.randbytes(size // 2) + bytes(size - size // 2)
            e = errno_of(c.pwrite, data, at + done)
            if e not in (0, errno.ENOSPC):
                bad.add(errno.errorcode.get(e, e))
            full += e == errno.ENOSPC
            done += size
        check(full == 20, "never full")
        c.trim(done // 2, at)
threads = [threading.Thread(target=fill, args=(n,)) for n in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
check(not bad, "errors that are none of the client's business", bad)
END
}

for allocator in zsmalloc z3fold; do
  for how in 1 2; do
    echo "$allocator, locked $how"
    start_locked $how 8G mem_limit=16M allocator=$allocator workers=4
    fill
    stop_nbdkit
  done

  # Room is made: four times as much as fits in memory.
  echo "$allocator, with a backing store"
  start_locked 1 1G mem_limit=16M allocator=$allocator workers=4 \
    "backing=$tmp/store-$allocator" backing_size=128M
  py <<'END'
from zlib import crc32
rng = random.Random(seed())
sums = []
for i in range(512):
    data = rng.randbytes(128 * K)
    h.pwrite(data, i * 128 * K)
    sums.append(crc32(data))
for i, s in enumerate(sums):
    check(crc32(h.pread(128 * K, i * 128 * K)) == s, "slot", i)
END
  stop_nbdkit
done
