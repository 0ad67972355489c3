#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# QEMU's tools against the plugin: qemu-img and qemu-io, and a disk that is
# mirrored onto the plugin and away again while it is written to.

. "$(dirname "$0")/lib.sh"
requires qemu-img --version
requires qemu-io --version
requires_nbd_python

M=$((1 << 20))
disk=$((32 * M))
extra=
clean_up ()
{
  [ -z "$extra" ] || kill -9 "$extra" 2>/dev/null || :
}

# quietly COMMAND...: shows its output only if it fails
quietly ()
{
  "$@" >"$tmp/said" 2>&1 </dev/null || fail "$*: $(cat "$tmp/said")"
}

# stat COLUMN: of mm_stat; 1 is the bytes of all slots that hold something
stat ()
{
  "${NBDZRAMCTL:-nbdzramctl}" -s "$tmp/control" mm_stat |
    awk -v column="$1" '{ print $column }'
}

# io COMMAND...: one qemu-io, and every command must succeed.  Only with
# writeback does it let us decide which writes are FUA.
io ()
{
  local c commands=()
  for c; do commands+=(-c "$c"); done
  quietly qemu-io -f raw -t writeback -d unmap "${commands[@]}" "$uri"
  ! grep -qiE 'failed|error' "$tmp/said" || fail "qemu-io: $(cat "$tmp/said")"
}

make_image "$tmp/image" $disk
quietly qemu-img convert -f raw -O qcow2 "$tmp/image" "$tmp/image.qcow2"
start_nbdkit "$PLUGIN" $disk control="$tmp/control"

echo "qemu-img convert in and out, compare"
for format in raw qcow2; do
  image="$tmp/image"
  [ $format = raw ] || image+=".$format"
  quietly qemu-img convert -n -W -m 8 -f $format -O raw "$image" "$uri"
  quietly qemu-img compare -f $format -F raw "$image" "$uri"
  rm -f "$tmp/out"
  quietly qemu-img convert -f raw -O $format "$uri" "$tmp/out"
  quietly qemu-img compare -f raw -F $format "$tmp/image" "$tmp/out"
  [ $format != raw ] || cmp "$tmp/image" "$tmp/out"
  # The comparison notices one byte.
  io "write -P 1 $((5 * M + 77)) 1" "write -P 2 $((5 * M + 78)) 1"
  status=0
  qemu-img compare -f $format -F raw "$image" "$uri" \
           >"$tmp/said" 2>&1 || status=$?
  [ $status = 1 ] || fail "two bytes changed: compare said $status"
done

echo "qemu-img map: what is trimmed is a hole, and takes no memory"
before="$(stat 1)"
io "write -P 3 $((8 * M)) 8M" "discard $((10 * M)) 2M" \
   "discard $((14 * M + 1)) 100000" "write -z -u $((15 * M)) 64k" \
   "read -P 3 $((8 * M)) 2M" "read -P 0 $((10 * M)) 2M" \
   "read -P 3 $((14 * M)) 1" "read -P 0 $((14 * M + 1)) 100000" \
   "read -P 3 $((14 * M + 100001)) 1" "read -P 0 $((15 * M)) 64k"
quietly qemu-img map -f raw --output=json "$uri"
"$PYTHON" - "$tmp/said" $disk <<'END'
import json, sys
M = 1 << 20
at, holes = 0, []
for e in json.load(open(sys.argv[1])):
    assert e["start"] == at and e["length"] > 0, e
    at += e["length"]
    if e["zero"]:
        assert not e["data"], e
        holes.append((e["start"], at))
assert at == int(sys.argv[2]), at
inside = [h for h in holes if 8 * M <= h[0] and h[1] <= 16 * M]
# Of the second discard only whole slots count, to the end of the last one.
want = [(10 * M, 12 * M), (14 * M + 4096, 14 * M + 98304),
        (15 * M, 15 * M + 65536)]
assert inside == want, (inside, want)
END
io "discard 0 $disk"
[ "$before" -gt $M ] || fail "only $before bytes were stored"
[ "$(stat 1)" = 0 ] || fail "$(stat 1) bytes are stored after a discard of all"
quietly qemu-img map -f raw --output=json "$uri"
[ "$(grep -c '"data": false' "$tmp/said")" = 1 ] &&
  [ "$(wc -l <"$tmp/said")" = 1 ] || fail "an empty disk: $(cat "$tmp/said")"

echo "qemu-img bench"
quietly qemu-img bench -f raw -c 2000 -d 32 -s 4096 -w --pattern=165 \
        --flush-interval=100 "$uri"
quietly qemu-img bench -f raw -c 400 -d 16 -s 65536 -S 69632 "$uri"
quietly qemu-img bench -f raw -c 300 -d 8 -s 5000 -S 5000 -o 12289 -w \
        --pattern=90 "$uri"
io "read -P 165 0 12289" "read -P 90 12289 1500000" \
   "read -P 165 1512289 $((2000 * 4096 - 1512289))" \
   "read -P 0 $((2000 * 4096)) 64k"

echo "qemu-io: misaligned, vectored, asynchronous"
io "write -P 17 511 1025" "read -P 165 0 511" "read -P 17 511 1025" \
   "read -P 90 12289 64" \
   "writev -P 18 $((20 * M + 3)) 1 4095 4097 65536 7" \
   "read -P 0 $((20 * M)) 3" "readv -P 18 $((20 * M + 3)) 70000 3736" \
   "read -P 0 $((20 * M + 73739)) 4096" \
   "aio_write -P 19 $((21 * M)) 1M" "aio_write -P 20 $((22 * M + 1)) 1M" \
   "aio_write -z -u $((23 * M + 9)) 1M" "aio_write -P 21 $((25 * M)) 512" \
   "aio_flush" "flush" \
   "aio_read -P 19 $((21 * M)) 1M" "aio_read -P 20 $((22 * M + 1)) 1M" \
   "aio_read -P 0 $((24 * M)) 1M" "aio_read -P 21 $((25 * M)) 512" "aio_flush" \
   "write -P 22 $((disk - 513)) 513" "read -P 22 $((disk - 513)) 513"
! qemu-io -f raw -c "read -P 23 $((21 * M)) 4k" "$uri" >"$tmp/said" 2>&1 ||
  fail "qemu-io takes any pattern for the right one"

echo "zeroes that are written become holes with detect-zeroes=unmap"
io "discard 0 $disk" "write -P 24 0 4M"
quietly qemu-io -d unmap --image-opts \
        -c "write -P 0 1M 1M" -c "read -P 0 1M 1M" -c "read -P 24 0 1M" \
  "driver=raw,detect-zeroes=unmap,file.driver=nbd,file.server.type=unix,\
file.server.path=$sock"
[ "$(stat 1)" = $((3 * M)) ] || fail "$(stat 1) bytes stored and not 3M"
stop_nbdkit

echo "flush and FUA arrive as such"
start_nbdkit --filter=log "$PLUGIN" $disk logfile="$tmp/requests"
io "write -f -P 25 4096 8192" "write -P 26 0 4096" "flush" "write -z -f 64k 64k"
grep -qE ' Write .*offset=0x1000 count=0x2000 fua=1' "$tmp/requests" &&
  grep -qE ' Write .*offset=0x0 count=0x1000 fua=0' "$tmp/requests" &&
  grep -qE ' Zero .*offset=0x10000 count=0x10000 .*fua=1' "$tmp/requests" &&
  grep -qE ' Flush ' "$tmp/requests" ||
  fail "not all of them: $(cat "$tmp/requests")"
stop_nbdkit

if ! command -v qemu-storage-daemon >/dev/null; then
  echo "left out: live mirror: needs qemu-storage-daemon"
  exit 0
fi

echo "live blockdev-mirror onto the plugin and away, while writes go on"
start_nbdkit "$PLUGIN" $disk
cp "$tmp/image" "$tmp/from"
truncate -s $disk "$tmp/to"
node ()
{
  echo "driver=raw,node-name=$1,discard=unmap,file.driver=file,\
file.filename=$tmp/$1"
}
qemu-storage-daemon --chardev "socket,id=qmp,path=$tmp/qmp,server=on,wait=off" \
  --monitor qmp \
  --blockdev "$(node from)" --blockdev "$(node to)" \
  --blockdev "driver=raw,node-name=zram,discard=unmap,file.driver=nbd,\
file.server.type=unix,file.server.path=$sock" \
  --nbd-server "addr.type=unix,addr.path=$tmp/qsd,max-connections=0" \
  --export "type=nbd,id=export,node-name=from,name=,writable=on" \
  </dev/null >"$tmp/qsd.log" 2>&1 &
extra=$!
"$PYTHON" "$here/mirror.py" "$tmp/qmp" "$tmp/qsd" "$sock" "$tmp/image" ||
  fail "mirror: $(cat "$tmp/qsd.log")"
kill "$extra"
wait "$extra" || fail "qemu-storage-daemon: $(cat "$tmp/qsd.log")"
extra=
quietly qemu-img compare -f raw -F raw "$tmp/image" "$tmp/to"
stop_nbdkit
