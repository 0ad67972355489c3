#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Data come out as they went in, with tools that people use.

. "$(dirname "$0")/lib.sh"
requires nbdcopy --version
requires nbdinfo --version
requires qemu-img --version
requires qemu-io --version
requires_nbd_python

# ---- nbdcopy in and out: each algorithm with each slot size
size=$((8 * 1024 * 1024 + 777))
make_image "$tmp/image" $size 1
for algorithm in lz4 lz4hc zstd deflate; do
  for slot in 4k 8k 16k 32k 64k; do
    what="$algorithm $slot"
    start_nbdkit "$PLUGIN" $size algorithm=$algorithm slot_size=$slot
    nbdcopy "$tmp/image" "$uri"
    nbdcopy "$uri" "$tmp/copy"
    cmp "$tmp/image" "$tmp/copy" || fail "$what: nbdcopy"
    rm "$tmp/copy"
    stop_nbdkit
  done
done

# ---- four connections, over existing data, with and without holes
size=$((64 * 1024 * 1024))
make_image "$tmp/old" $size 2
make_image "$tmp/image" $size 3
for keys in slot_size=4k "slot_size=64k algorithm=zstd workers=2"; do
  # shellcheck disable=SC2086
  start_nbdkit "$PLUGIN" $size $keys
  nbdcopy --connections=4 "$tmp/old" "$uri"
  nbdcopy --connections=4 --requests=32 "$tmp/image" "$uri"
  nbdcopy --connections=4 --requests=32 "$uri" "$tmp/copy"
  cmp "$tmp/image" "$tmp/copy" || fail "$keys: nbdcopy with 4 connections"
  nbdcopy --connections=4 --allocated "$tmp/old" "$uri"
  nbdcopy --request-size=4096 --connections=4 "$uri" "$tmp/copy"
  cmp "$tmp/old" "$tmp/copy" || fail "$keys: nbdcopy --allocated"
  rm "$tmp/copy"

  # Every byte that the map calls zero is zero in the image.
  nbdinfo --map "$uri" >"$tmp/map"
  "$PYTHON" - "$tmp/old" "$tmp/map" <<'END'
import sys
image = open(sys.argv[1], "rb").read()
at = zeros = 0
for line in open(sys.argv[2]):
    begin, length, kind = map(int, line.split()[:3])
    assert begin == at, "map has a gap at %d" % at
    at += length
    if kind & 2:
        zeros += length
        assert not any(image[begin:at]), "map calls data zero: " + line
assert at == len(image), "map ends at %d" % at
assert zeros > 0, "map finds no zeros in an image that has them"
END

  # ---- qemu
  qemu-img compare -q -f raw -F raw "$tmp/old" "$uri" ||
    fail "$keys: qemu-img compare"
  if qemu-img compare -q -f raw -F raw "$tmp/image" "$uri"; then
    fail "$keys: qemu-img compare finds two images equal"
  fi
  qemu-img convert -n -W -f raw -O raw "$tmp/image" "$uri"
  qemu-img convert -f raw -O qcow2 "$uri" "$tmp/q.qcow2"
  qemu-img compare -q -f raw -F qcow2 "$tmp/image" "$tmp/q.qcow2" ||
    fail "$keys: qemu-img convert in and out"
  # A qcow2 image kept on the disk.
  qemu-img create -q -f qcow2 "$uri" 32M
  head -c 33554432 "$tmp/image" >"$tmp/half"
  qemu-img convert -q -n -f raw -O qcow2 "$tmp/half" "$uri"
  qemu-img check -q -f qcow2 "$uri" || fail "$keys: qcow2 on the disk"
  qemu-img convert -f qcow2 -O raw "$uri" "$tmp/copy"
  cmp "$tmp/half" "$tmp/copy" || fail "$keys: qcow2 contents"
  rm "$tmp/copy" "$tmp/q.qcow2"
  stop_nbdkit
done

# ---- qemu-io: patterns at awkward places
# io COMMAND...: each a qemu-io command
io ()
{
  local c args=()
  for c; do args+=(-c "$c"); done
  qemu-io -f raw "${args[@]}" "$uri" >"$tmp/io" 2>&1 ||
    fail "qemu-io: $(cat "$tmp/io")"
  if grep -iE 'failed|error' "$tmp/io"; then
    fail "qemu-io: line above"
  fi
}
for slot in 4k 64k; do
  start_nbdkit "$PLUGIN" 128M slot_size=$slot
  io 'read -P 0 0 1M' \
     'write -P 0x11 0 1M' \
     'write -P 0x22 65537 3' \
     'write -P 0x33 4095 2' \
     'write -f -P 0x44 131071 65538' \
     'read -P 0x11 0 4095' 'read -P 0x33 4095 2' 'read -P 0x11 4097 61440' \
     'read -P 0x22 65537 3' 'read -P 0x11 65540 65531' \
     'read -P 0x44 131071 65538' 'read -P 0x11 196609 1000' \
     'write -z 70000 50000' \
     'read -P 0x11 65540 4460' 'read -P 0 70000 50000' \
     'read -P 0x11 120000 11071' \
     'write -z -u 140000 5000' \
     'read -P 0x44 131071 8929' 'read -P 0 140000 5000' \
     'read -P 0x44 145000 51609' \
     'discard 262144 131072' \
     'read -P 0x11 261144 1000' 'read -P 0 262144 131072' \
     'read -P 0x11 393216 1000' \
     'flush' \
     'aio_write -P 0x55 1M 2M' 'aio_write -P 0x66 5M 1M' \
     'aio_write -P 0x77 4M 1M' 'aio_flush' \
     'read -P 0x55 1M 2M' 'read -P 0x66 5M 1M' 'read -P 0x77 4M 1M' \
     'write -P 0x88 100M 28M' 'read -P 0x88 100M 28M' \
     'read -P 0 6M 90M'
  # A second client sees the same.
  io 'read -P 0x22 65537 3' 'read -P 0x88 100M 28M' 'read -P 0 6M 90M'
  # The comparison would have noticed a difference.
  if qemu-io -f raw -c 'read -P 0x99 100M 28M' "$uri" >"$tmp/io" 2>&1 &&
     ! grep -qi failed "$tmp/io"; then
    fail "qemu-io compares nothing"
  fi
  stop_nbdkit
done
