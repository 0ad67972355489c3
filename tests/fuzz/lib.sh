# SPDX-License-Identifier: BSD-3-Clause
#
# What the tests of this folder and scripts/fuzz share.
#
#   fuzz_prepare             skips (77) where no fuzzer can be built
#   fuzz_build NAME          builds fuzz-NAME in $fuzz_dir
#   fuzz_run NAME SECONDS    runs it on corpus-NAME; what it finds out on the
#                            way goes to $fuzz_found, and what breaks it to the
#                            current folder
#   fuzz_test NAME           all of that, as a test does it
#
#   test-fuzz-NAME.sh --> lib.sh --> fuzz.mk: fuzz-NAME.c + the engine
#   scripts/fuzz NAME ----^            in $fuzz_dir, once for all fuzzers
#
# Several tests may run at once: one at a time builds.

set -eEu -o pipefail
export LC_ALL=C

fuzz_here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
fuzz_src="$(cd "${SRCDIR:-$fuzz_here/../..}" && pwd)"
fuzz_clang="${CLANG:-clang}"
fuzz_dir="${FUZZ_DIR:-$PWD/fuzz-build}"
fuzz_found="${FUZZ_FOUND:-}"
fuzz_leaks=1

fuzz_skip ()
{
  echo "SKIP: $*"
  exit 77
}

fuzz_prepare ()
{
  local try="$fuzz_dir/try.$$"

  command -v "$fuzz_clang" >/dev/null || fuzz_skip "needs $fuzz_clang"
  mkdir -p "$fuzz_dir"
  cat >"$try.c" <<'END'
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <jansson.h>
int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  return data && size && json_object_size (NULL);
}
END
  "$fuzz_clang" -fsanitize=fuzzer,address,undefined -o "$try" "$try.c" \
    -ljansson >"$try.log" 2>&1 || {
    rm -f "$try"*
    fuzz_skip "$fuzz_clang cannot build a fuzzer here"
  }
  # Leaks can be looked for only where a process may trace its own threads.
  ASAN_OPTIONS=detect_leaks=1 "$try" -runs=1 >"$try.log" 2>&1 || fuzz_leaks=0
  rm -f "$try"*
}

fuzz_build ()
{
  local log="$fuzz_dir/make-$1.log"

  (
    flock 9
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$fuzz_dir" \
      -f "$fuzz_here/fuzz.mk" SRC="$fuzz_src" CLANG="$fuzz_clang" \
      -j "$(nproc)" "fuzz-$1" >"$log" 2>&1
  ) 9>"$fuzz_dir/lock" || {
    tail -n 40 "$log"
    echo "FAIL: fuzz-$1 does not compile"
    exit 1
  }
}

# The longest input that makes sense, and what else the fuzzer should know.
fuzz_options ()
{
  case $1 in
    rpc) echo -max_len=4096 "-dict=$fuzz_here/fuzz-rpc.dict" ;;
    # Short inputs are no better: what goes wrong takes several steps.
    engine | backing) echo -max_len=600 -len_control=0 ;;
    *) echo -max_len=4096 -len_control=0 ;;
  esac
}

fuzz_run ()
{
  local options

  read -r -a options < <(fuzz_options "$1")
  ASAN_OPTIONS="detect_leaks=$fuzz_leaks:${ASAN_OPTIONS:-}" \
  UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}" \
    "$fuzz_dir/fuzz-$1" "-max_total_time=$2" -timeout=60 -rss_limit_mb=3072 \
    -print_final_stats=1 "-artifact_prefix=fuzz-$1-" "${options[@]}" \
    "$fuzz_found" "$fuzz_here/corpus-$1"
}

fuzz_test ()
{
  local tmp status=0 runs seeds

  fuzz_prepare
  fuzz_build "$1"
  tmp="$(mktemp -d "${TMPDIR:-/tmp}/zram-fuzz.XXXXXX")"
  # shellcheck disable=SC2064
  trap "rm -rf '$tmp'" EXIT
  trap 'exit 130' INT TERM HUP
  fuzz_found="$tmp/found"
  mkdir "$fuzz_found"
  fuzz_run "$1" "${FUZZ_SECONDS:-60}" >"$tmp/log" 2>&1 || status=$?
  if [ $status -ne 0 ]; then
    tail -n 60 "$tmp/log"
    echo "FAIL: status $status; to see it again: scripts/fuzz $1" \
         "$(sed -n "s|.*Test unit written to |$PWD/|p" "$tmp/log" | tail -n 1)"
    exit 1
  fi
  tail -n 8 "$tmp/log"
  # More than the corpus that it begins with.
  runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$tmp/log")"
  seeds="$(find "$fuzz_here/corpus-$1" -type f | wc -l)"
  [ "${runs:-0}" -gt $((seeds + 50)) ] || {
    echo "FAIL: only ${runs:-0} runs"
    exit 1
  }
}
