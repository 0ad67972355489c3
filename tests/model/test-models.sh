#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Check the Promela models of the locks.  A model must hold ("holds"), and a
# variant of it that is broken on purpose must be found wrong ("fails"), so
# that a model that proves nothing is noticed.
#
#   test-models.sh [MODEL...]      all models without arguments
#
# Each check says in which mode it is:
#   safety  assertions, and end states where somebody still waits
#   live    non-progress cycles, without any assumption of fairness
#
# Needs spin and a C compiler, one core, and at most 2 GB of memory.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
CC=${CC:-cc}

for tool in spin "${CC%% *}"; do
  if ! command -v "$tool" >/dev/null; then
    echo "$0: skipped: $tool is not installed"
    exit 77
  fi
done

work=$(mktemp -d "${TMPDIR:-/tmp}/test-models.XXXXXX")
trap 'rm -rf "$work"' EXIT
failed=0

# check holds|fails MODEL safety|live [-D...]
check ()
{
  local want=$1 model=$2 mode=$3 got flags
  shift 3

  rm -rf "$work/run"
  mkdir "$work/run"
  cd "$work/run"
  case $mode in
    safety) flags=-DSAFETY ;;
    live)   flags=-DNP ;;
  esac
  # What is to be searched through is worth optimizing, a quick find is not.
  case $want in
    holds) flags="$flags -O2" ;;
    fails) flags="$flags -O0" ;;
  esac
  cp "$here/$model.pml" .
  got=no-verdict
  # shellcheck disable=SC2086
  if spin "-P$CC -E -x c" "$@" -a "$model.pml" >log 2>&1 &&
     $CC $flags -w -DCOLLAPSE -DMEMLIM=1700 -o pan pan.c >>log 2>&1; then
    if [ $mode = live ]; then
      ./pan -l -m100000 >out 2>&1 || :
    else
      ./pan -m100000 >out 2>&1 || :
    fi
    cat out >>log
    got=$(verdict out)
  fi
  echo "$model $mode ${*:-as it is}: $got (must be: $want)"
  if [ "$got" != "$want" ]; then
    failed=1
    tail -n 40 log
  fi
}

# A search that stopped half-way, for memory or for depth, is no verdict.
verdict ()
{
  if grep -Eq 'errors: [1-9]' "$1" &&
     grep -Eq '^pan:1: (assertion violated|invalid end|non-progress)' "$1"; then
    echo fails
  elif grep -q 'errors: 0' "$1" &&
       ! grep -Eqi 'out of memory|MEMLIM|search depth too small|aborted' "$1"
  then
    echo holds
  else
    echo no-verdict
  fi
}

slot_lock ()
{
  local m=slot-lock

  check holds $m safety -DONE_STEP_UNLOCK
  check holds $m safety -DONE_STEP_UNLOCK \
        -DNWRITE=1 -DRROUNDS=2 -DWROUNDS=2
  check holds $m live -DONE_STEP_UNLOCK -DNWRITE=1
  check holds $m live -DONE_STEP_UNLOCK -DNTRY=0
  check holds $m safety -DNREAD=1
  check fails $m safety -DBROKEN_SEQ_LATE
  check fails $m safety -DBROKEN_SKIP_CAS
  check fails $m safety -DBROKEN_TRY_DROPS -DNWRITE=1
  check fails $m safety -DBROKEN_NO_RECHECK
  check fails $m live -DBROKEN_NO_SLEEP
}

zspage_pin ()
{
  local m=zspage-pin

  check holds $m safety -DSAME_SLOT
  check holds $m safety -DWRITES=1 -DMOVES=2
  check holds $m safety -DWRITES=1 -DTWO_READERS
  check holds $m live -DWRITES=1
  check fails $m safety -DBROKEN_NO_REVALIDATE -DWRITES=1
  check fails $m live -DBROKEN_READ_ONCE -DWRITES=1
  check fails $m safety -DBROKEN_MOVE_LOCKED -DWRITES=1
  check fails $m safety -DBROKEN_STALE_FREE -DWRITES=1
  check fails $m safety -DBROKEN_STORE_EARLY -DWRITES=1
  check fails $m safety -DBROKEN_KEEP_BACK -DSAME_SLOT
  check fails $m safety -DBROKEN_BACK_FIRST -DSAME_SLOT
  check fails $m safety -DBROKEN_LATE_BACK -DSAME_SLOT
  check fails $m safety -DBROKEN_LOCK_RESET -DWRITES=1
}

leaf_reclaim ()
{
  local m=leaf-reclaim

  check holds $m safety -DNBASE=1
  check holds $m safety -DWRITERS=1 -DRECLAIMERS=2
  check holds $m live -DWRITERS=1 -DOPS=2 -DREADERS=0
  check holds $m live -DNBASE=1 -DREADERS=0
  check fails $m safety -DBROKEN_BASE_CHECK -DNBASE=1 -DREADERS=0
  check fails $m live -DBROKEN_BASE_LATE -DWRITERS=1
  check fails $m safety -DBROKEN_NO_CHECK -DNBASE=1 -DREADERS=0
  check fails $m safety -DBROKEN_BLIND \
        -DWRITERS=1 -DOPS=2 -DRECLAIMERS=2 -DREADERS=0
  check fails $m safety -DBROKEN_BASE_BLIND \
        -DWRITERS=1 -DOPS=2 -DRECLAIMERS=2 -DREADERS=0
  check fails $m safety -DBROKEN_NO_WAKE
  check fails $m safety -DBROKEN_WAKE_FIRST
  check fails $m safety -DBROKEN_ZERO_FREE
}

z3_page ()
{
  local m=z3-page

  check holds $m safety
  check holds $m live -DRECLAIMS=1
  check fails $m safety -DBROKEN_NO_REF
  check fails $m safety -DBROKEN_LATE_REF
  check fails $m safety -DBROKEN_NO_LOOK
  check fails $m safety -DBROKEN_RECLAIM_NO_REF
  check fails $m safety -DBROKEN_FREE_AT_ONCE
  check fails $m safety -DBROKEN_STAYS_LOCKED
}

hand_over ()
{
  local m=hand-over

  check holds $m safety
  check holds $m safety -DZ3
  check fails $m safety -DBROKEN_NO_LOCK
  check fails $m safety -DBROKEN_BACK_LATE
  check fails $m safety -DBROKEN_NO_TO_LOCK
  check fails $m safety -DZ3 -DBROKEN_NO_TO_LOCK
  check fails $m safety -DZ3 -DBROKEN_TRUST
}

directory ()
{
  local m=directory

  check holds $m safety
  check holds $m live -DROUNDS=1 -DNO_READER
  check fails $m safety -DBROKEN_NO_CHECK
  check fails $m safety -DBROKEN_WALK
  check fails $m safety -DBROKEN_PLACE_FIRST
  # It is a reader who meets a leaf that is being made.
  check holds $m live -DROUNDS=0
  check fails $m live -DBROKEN_SPIN -DROUNDS=0
  check fails $m safety -DBROKEN_KEEP_PLACE
}

for model in "${@:-all}"; do
  case $model in
    all)          slot_lock; zspage_pin; leaf_reclaim; z3_page; hand_over; directory ;;
    slot-lock)    slot_lock ;;
    zspage-pin)   zspage_pin ;;
    leaf-reclaim) leaf_reclaim ;;
    z3-page)      z3_page ;;
    hand-over)    hand_over ;;
    directory)    directory ;;
    *) echo "$0: no model $model" >&2; exit 1 ;;
  esac
done
exit $failed
