#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The faults of nbdkit's memory plugin with allocator=zstd, each by name.

. "$(dirname "$0")/lib.sh"
requires nbdinfo --version
requires_nbd_python

echo "1. a map of an empty disk kills the server"
for size in 8G 1T; do
  start_nbdkit "$PLUGIN" $size
  nbdinfo --map "$uri" >"$tmp/map" || fail "no map"
  [ "$(wc -l <"$tmp/map")" -eq 1 ] || fail "map: $(cat "$tmp/map")"
  stop_nbdkit
done

echo "2. a zero that begins inside a page and crosses 128 MiB destroys" \
     "earlier data"
start_nbdkit "$PLUGIN" 512M algorithm=zstd slot_size=32k
py <<'END'
data = Data(random.Random(1))
# Nothing has ever been written after the boundary.
old = data.text(22768)
h.pwrite(old, 128 * M - 32768)
h.zero(200 * K, 128 * M - 10000)
same(h.pread(22768, 128 * M - 32768), old, 128 * M - 32768, "before")
same(h.pread(200 * K, 128 * M - 10000), bytes(200 * K), 128 * M - 10000)
# And with data there.
for name in "zero", "trim":
    for begin, n in ((128 * M - 10000, 20000), (100 * M + 1, 100 * M),
                     (127 * M + 5, 3 * M)):
        before, after = data.text(200 * K), data.text(200 * K)
        h.pwrite(before, begin - 200 * K)
        h.pwrite(after, begin + n)
        h.pwrite(data.text(n // 4), begin + n // 2)
        getattr(h, name)(n, begin)
        same(h.pread(200 * K, begin - 200 * K), before, begin, "before")
        same(h.pread(200 * K, begin + n), after, begin + n, "after")
        for at in range(begin, begin + n, 8 * M):
            m = min(M, begin + n - at)
            same(h.pread(m, at), bytes(m), at, name)
END
stop_nbdkit

echo "3. when memory is short the old data is already gone"
start_nbdkit "$PLUGIN" 1G algorithm=zstd slot_size=32k mem_limit=16M
py <<'END'
data = Data(random.Random(2))
old = data.text(M)
h.pwrite(old, 0)
at = M
while errno_of(h.pwrite, data.noise(32 * K), at) == 0:
    at += 32 * K
    check(at < 64 * M, "mem_limit is not kept")
for begin, n in ((0, 32 * K), (32 * K, 20 * K), (64 * K + 1, 30 * K)):
    failed = 0
    while begin + n < M and not failed:
        e = errno_of(h.pwrite, data.noise(n), begin)
        failed = e
        begin += 96 * K
    check(failed == errno.ENOSPC, "errno", failed)
    begin -= 96 * K
    same(h.pread(n, begin), old[begin:begin + n], begin, "after ENOSPC")
END
stop_nbdkit

echo "4. one mutex is held while it compresses: others wait"
start_nbdkit "$PLUGIN" 64M algorithm=zstd level=19 slot_size=64k workers=4
py <<'END'
# While a large, slow write runs, another client reads slots of it.  If it sees
# one slot with new data and a later one with old data, it was answered in the
# middle of the write.
data = Data(random.Random(3))
other = connect(sys.argv[1])
slots = 128


def seen_inside(number):
    buf = b"".join(bytes([number]) + data.mixed(64 * K - 1)
                   for _ in range(slots))
    cookie = h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(buf)), 0)
    while not h.aio_is_ready():         # all of it is sent
        h.poll(-1)
    new = inside = False
    while h.aio_in_flight():
        for slot in range(0, slots, 9):
            if other.pread(1, slot * 64 * K)[0] == number:
                new = True
            elif new:
                inside = True
        h.poll(0)
    check(h.aio_command_completed(cookie), "write failed")
    return inside


check(any(seen_inside(number) for number in range(1, 6)),
      "others wait for a large write to end")
END
stop_nbdkit

# 5 and 8 are not visible from outside: count the calls of the library.
if sanitized; then
  echo "5 and 8 not run: $ZRAM_SANITIZER is preloaded already"
elif ! ${CC:-cc} -shared -fPIC -O1 -o "$tmp/count.so" \
       "$here/count-decompress.c" >"$tmp/cc.log" 2>&1; then
  echo "5 and 8 not run: no C compiler"
else
  export COUNT_DECOMPRESS="$tmp/decompressed"
  : >"$COUNT_DECOMPRESS"
  LD_PRELOAD="$tmp/count.so" \
    start_nbdkit "$PLUGIN" 64M algorithm=zstd slot_size=16k
  echo "5. an overwrite of whole pages decompresses them first"
  echo "8. extents decompress every page"
  py <<'END'
calls = lambda: os.stat(os.environ["COUNT_DECOMPRESS"]).st_size
data = Data(random.Random(4))
h.pwrite(data.text(8 * M), 0)
h.pwrite(data.text(8 * M), 0)
h.pwrite(data.text(16 * K), 3 * M)
check(calls() == 0, "5: an overwrite made", calls(), "decompressions")
all_extents(h, 0, 64 * M)
extents(h, 10 * M, 100)
h.trim(4 * M, 0)
h.zero(2 * M, 4 * M)
check(calls() == 0, "8: extents or trim made", calls(), "decompressions")
h.pread(16 * K, 6 * M)
check(calls() > 0, "the counting library counts nothing")
END
  stop_nbdkit
  unset COUNT_DECOMPRESS
fi

echo "6. incompressible data grows"
start_nbdkit "$PLUGIN" 1G algorithm=zstd mem_limit=32M
py <<'END'
rng = random.Random(5)
at = 0
while errno_of(h.pwrite, rng.randbytes(4 * K), at) == 0:
    at += 4 * K
    check(at < 64 * M, "mem_limit is not kept")
check(at >= 0.97 * 32 * M, "only", at, "bytes of noise in 32M")
END
stop_nbdkit

echo "7. repeated words are stored like anything else"
start_nbdkit "$PLUGIN" 1G mem_limit=8M slot_size=4k
py <<'END'
words = [b"\0" * 8, b"\xff" * 8, b"abcdefgh", b"\0\0\0\0\0\0\0\1"]
for i in range(200):
    h.pwrite(words[i % 4] * (M // 8), i * M)
for i in range(200):
    same(h.pread(M, i * M), words[i % 4] * (M // 8), i * M)
END
stop_nbdkit

echo "9. the name of an algorithm is accepted when it only begins like one"
for a in z zs lz d; do
  if "$NBDKIT" -U - "$PLUGIN" 1M algorithm=$a --run true \
               </dev/null 2>"$tmp/err"; then
    fail "algorithm=$a accepted"
  fi
  grep -q "$a" "$tmp/err" || fail "algorithm=$a: $(cat "$tmp/err")"
done
