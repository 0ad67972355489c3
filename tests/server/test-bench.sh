#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# scripts/bench: runs each subcommand that measures, as small as possible, so
# that none breaks unnoticed.  The measured values mean nothing here.  Each must
# end, find the data that it wrote, and write results that compare and chart can
# read.

. "$(dirname "$0")/lib.sh"
requires nbdcopy --version
requires cc --version
requires pkg-config libnbd
requires_nbd_python
if sanitized; then skip "a benchmark of a sanitizer's build says nothing"; fi
build=$(cd "$(dirname "$NBDKIT")" && pwd)
requires test -x "$build/tests/bench/engine-bench"

bench=$SRCDIR/scripts/bench
small=(--build "$build" --work "$tmp/work" --quick --size 16M)

# measure NAME CASE ARGUMENT...: runs a subcommand, whose result must have a
# CASE.
measure ()
{
  local name=$1 case=$2 start=$SECONDS

  shift 2
  timeout 300 "$PYTHON" "$bench" "${name%%-*}" "${small[@]}" \
    --json "$tmp/$name.json" --markdown "$tmp/$name.md" "$@" \
    >"$tmp/$name.log" 2>&1 || { cat "$tmp/$name.log"; fail "bench $name"; }
  "$PYTHON" "$bench" compare --only "$case" "$tmp/$name.json" \
    "$tmp/$name.json" >"$tmp/compare.log" 2>&1 ||
    { cat "$tmp/compare.log"; fail "$name: no result to compare"; }
  grep -q '|' "$tmp/$name.md" || fail "$name: no table in markdown"
  grep -q '"errors": \[\]' "$tmp/$name.json" || fail "$name: errors"
  echo "$name: $((SECONDS - start)) s"
}

measure nbd 'nbd/write4k-c4/zram' --no-peers --seconds 0.1
measure nbd-threads 'nbd/read4k/zram -t 4' --no-peers --threads 1,4 \
  --seconds 0.1 --tests read4k,write4k
grep -q 'is best with -t' "$tmp/nbd-threads.log" || fail "no -t is recommended"
measure engine 'engine/write 4k/lz4 threads 2' -- --threads 1,2
measure passes 'passes/writeback/lz4'
measure memory 'memory/compact again per stored byte/zram' --no-peers \
  --settle 0.05 --zram '' --recompress zstd:level=3
measure latency 'latency/read d32 p99/recompression by hand'
measure buffer 'buffer/repeated server CPU/write buffer'
measure grow 'grow/write c4 server CPU/48M' --disks 16M,48M

# A disk without enough memory is left out, with a reason.
measure grow 'grow/memory/16M' --disks 16M,8192G --connections 1
grep -q 'Skipped: 8192G: it needs .* of memory' "$tmp/grow.md" ||
  fail "8 TiB fit into memory"

if command -v gnuplot >/dev/null; then
  "$PYTHON" "$bench" chart "$tmp"/{nbd,nbd-threads,engine,memory}.json \
    "$tmp"/{latency,grow}.json --out "$tmp/charts" 2>"$tmp/chart.log" ||
    { cat "$tmp/chart.log"; fail "bench chart"; }
  [ "$(ls "$tmp/charts" | wc -l)" = 9 ] || fail "not all charts are there"
else
  echo "left out: charts: needs gnuplot"
fi
