#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# fio writes, reads and verifies checksums: four jobs, each its own
# connection and part of the disk, mixed random reads and writes.

. "$(dirname "$0")/lib.sh"
requires fio --version
fio --enghelp 2>/dev/null | grep -w nbd >/dev/null || skip "needs fio with engine nbd"

part=$((16 * 1024 * 1024))
if sanitized; then part=$((part / 2)); fi

# verify NAME OPTION...
verify ()
{
  local name="$1"
  shift
  # --size bounds it, not time.
  fio --name="$name" --ioengine=nbd --uri="$uri" --numjobs=4 \
      --size=$part --offset_increment=$part --rw=randrw --rwmixread=40 \
      --iodepth=16 --verify=crc32c --do_verify=1 --verify_fatal=1 \
      --verify_dump=0 --verify_state_save=0 --thread --group_reporting \
      --randseed=4711 "$@" >"$tmp/fio" 2>&1 ||
    fail "fio $name: $(cat "$tmp/fio")"
  if grep -qE 'verify: bad|verify failed' "$tmp/fio"; then
    fail "fio $name: $(cat "$tmp/fio")"
  fi
  # It did write and did read.
  grep -q 'READ: bw=' "$tmp/fio" && grep -q 'WRITE: bw=' "$tmp/fio" ||
    fail "fio $name did nothing: $(cat "$tmp/fio")"
}

# Recompress everything, again and again, until $tmp/stop exists.
recompress_for_ever ()
{
  while [ ! -e "$tmp/stop" ]; do
    "${NBDZRAMCTL:-nbdzramctl}" -s "$tmp/control" recompress >"$tmp/said" 2>&1 ||
      return
  done
}

cd "$tmp"
# The second one with a compactor that never rests: objects move all the time.
for keys in "$PLUGIN slot_size=4k" \
            "-D zram.compact=1 $PLUGIN slot_size=4k control=$tmp/control" \
            "$PLUGIN recompress=zstd:level=1,lz4hc write_buffer=8M control=$tmp/control" \
            "$PLUGIN slot_size=16k algorithm=zstd" \
            "$PLUGIN slot_size=4k allocator=z3fold"; do
  # shellcheck disable=SC2086
  start_nbdkit $keys size=$((4 * part))
  passes=
  if [[ $keys == *recompress* ]]; then
    recompress_for_ever &
    passes=$!
  fi
  verify slots --bs=4k --buffer_compress_percentage=50 \
         --refill_buffers --buffer_compress_chunk=512
  # Over existing data, smaller and larger than a slot and across slots.
  verify parts --bs=1536 --buffer_compress_percentage=70 --refill_buffers
  verify backlog --bs=20k --verify_backlog=64 --verify_backlog_batch=16
  verify mixed --bssplit=512/20:4k/40:12k/20:64k/20 --verify_backlog=128 \
         --buffer_compress_percentage=50 --refill_buffers
  if [ -n "$passes" ]; then
    touch "$tmp/stop"
    wait $passes || fail "recompress: $(cat "$tmp/said")"
  fi
  case $keys in
  *recompress*)
    "${NBDZRAMCTL:-nbdzramctl}" -s "$tmp/control" --json >"$tmp/stat"
    grep -q '"recompressed": *[1-9]' "$tmp/stat" ||
      fail "nothing was recompressed: $(cat "$tmp/stat")" ;;
  *control*)
    "${NBDZRAMCTL:-nbdzramctl}" -s "$tmp/control" --json >"$tmp/stat"
    grep -q '"objects_moved": *[1-9]' "$tmp/stat" ||
      fail "nothing was moved: $(cat "$tmp/stat")" ;;
  esac
  stop_nbdkit
done
