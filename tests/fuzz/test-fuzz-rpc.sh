#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The control socket's requests under libFuzzer, with the address and undefined
# behaviour sanitizers, for FUZZ_SECONDS (60), from the corpus beside this
# file.  An input that breaks it is kept in the current folder.

set -eEu -o pipefail
export LC_ALL=C

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
src="${SRCDIR:-$(cd "$here/../.." && pwd)}"
clang="${CLANG:-clang}"
seconds="${FUZZ_SECONDS:-60}"
tmp="$(mktemp -d "${TMPDIR:-/tmp}/zram-fuzz.XXXXXX")"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

skip ()
{
  echo "SKIP: $*"
  exit 77
}

flags=(-std=gnu11 -pthread -O1 -g -fno-omit-frame-pointer
       -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
       "-I$tmp" "-I$src" "-I$src/include" "-I$src/server")

command -v "$clang" >/dev/null || skip "needs $clang"
cat >"$tmp/try.c" <<'END'
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  return data && size && json_object_size (NULL);
}
END
"$clang" "${flags[@]}" -o "$tmp/try" "$tmp/try.c" -ljansson \
         >"$tmp/log" 2>&1 || skip "$clang cannot build a fuzzer here"
# Leaks can be looked for only where a process may trace its own threads.
leaks=1
ASAN_OPTIONS=detect_leaks=1 "$tmp/try" -runs=1 >"$tmp/log" 2>&1 || leaks=0

# A build of its own: all checks, fault points, the shared liblz4.
cat >"$tmp/config.h" <<'END'
#define _GNU_SOURCE 1
#define PACKAGE_VERSION "fuzzed"
#define ZRAM_DEBUG 1
#define ZRAM_FAULTS 1
END
sources=("$src"/server/*/*.c "$src"/plugin/control/*.c "$src/plugin/method_key.c"
         "$here/fuzz-rpc.c")
n=0
for source in "${sources[@]}"; do
  case $source in */metrics_http.c) continue ;; esac # no HTTP in here
  n=$((n + 1))
  printf '%s\0%s\0' "$tmp/$n.o" "$source"
done | xargs -0 -n 2 -P "$(nproc)" "$clang" "${flags[@]}" -c -o ||
  { echo "FAIL: it does not compile"; exit 1; }
"$clang" "${flags[@]}" -o "$tmp/fuzz" "$tmp"/*.o -ljansson -llz4 -lzstd \
         -ldeflate -lnbd -lxxhash

mkdir "$tmp/found"
status=0
ASAN_OPTIONS="detect_leaks=$leaks:${ASAN_OPTIONS:-}" \
UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}" \
  "$tmp/fuzz" "-max_total_time=$seconds" -max_len=4096 -timeout=60 \
  -rss_limit_mb=3072 -print_final_stats=1 -dict="$here/fuzz-rpc.dict" \
  -artifact_prefix=fuzz-rpc- "$tmp/found" "$here/corpus-rpc" \
  >"$tmp/log" 2>&1 || status=$?
if [ $status -ne 0 ]; then
  tail -n 60 "$tmp/log"
  echo "FAIL: status $status"
  exit 1
fi
tail -n 8 "$tmp/log"
runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$tmp/log")"
[ "${runs:-0}" -gt 1000 ] || { echo "FAIL: only ${runs:-0} runs"; exit 1; }
