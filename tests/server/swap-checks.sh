# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
#
# Checks of a server with swap=true, from /proc.  For the shells of the tests
# and for a guest's busybox; needs the caller's "fail".

# io_flushers PID: each of its threads is one; prints how many there are.  The
# bits of a task's flags are PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE.
io_flushers ()
{
  local stat rest threads=0

  for stat in /proc/"$1"/task/*/stat; do
    rest="$(sed 's/.*) //' "$stat")"
    # shellcheck disable=SC2086
    set -- "$1" $rest
    [ $(($8 & 0x180000)) = $((0x180000)) ] ||
      fail "$stat: flags $8: no I/O flusher"
    threads=$((threads + 1))
  done
  echo "$threads"
}

# status_kib PID FIELD
status_kib ()
{
  awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
}

# is_locked PID: all its memory is locked, and it is not much
is_locked ()
{
  local locked rss

  locked="$(status_kib "$1" VmLck)"
  rss="$(status_kib "$1" VmRSS)"
  echo "locked $locked KiB of addresses, resident $rss KiB"
  [ "$locked" -ge "$rss" ] || fail "not all is locked"
  # 16 MiB of reserve, 16 MiB of heap, and the programs (50 MiB of libraries).
  # Locking in advance takes far more: 16 MiB for each mapping that grows, or
  # all of every mapping.
  [ "$rss" -lt $((160 << 10)) ] || fail "$rss KiB are resident"
}
