#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Swap on the disk, in a guest with 256 MiB: a program that uses 320 MiB runs to
# its end, and every byte that it reads again is right.
#
#   1. through the kernel's NBD client
#   2. on a QEMU drive
#
# The kernel's client needs memory to receive the answers to what it sends to
# get memory; with the reserve of a small machine it stands still for ever, with
# any server.  So vm.min_free_kbytes is raised first, as the manual page says.
#
# A guest in which a task is stuck for two minutes panics; its console is shown.

. "$(dirname "$0")/guest.sh"
requires "${NBDZRAMCTL:-nbdzramctl}" --help
requires_guest nbd-client "${CC:-cc}"
guest_memory=256
guest_modules+=" nbd"
guest_files="$tmp/hog $guest_here/swap-in-guest.sh"

make_hog

# watch_swap: this side of swap-in-guest.sh
watch_swap ()
{
  local out used

  await hogged 590
  out="$(awk '$1 == "hogged" { print $2 + 0 }' "$tmp/asked")"
  # Not what is used now: freed swap is discarded already.
  used="$(memory_peak)"
  echo "$1: $out pages swapped out, $((used >> 20)) MiB for them in the server at the most"
  # 64 MiB more than there is, so at least these must have gone out.
  [ "$out" -ge 16384 ] || fail "$1: $out pages were swapped out"
  [ "$used" -ge $((8 << 20)) ] || fail "$1: the server has $used bytes"
  go
  await trimmed 300
  used="$(memory_used)"
  go
  [ "$used" -le $((4 << 20)) ] || fail "$1: $used bytes left after a trim"
  end_guest 120
}

start_tcp 512M
guest_programs=nbd-client start_guest <<END
/usr/sbin/nbd-client -swap 10.0.2.2 $port /dev/nbd0 >/dev/null
. /swap-in-guest.sh
swap_on /dev/nbd0
hog 320 1
END
watch_swap "kernel's client"
stop_nbdkit

start_tcp 512M
start_guest -drive "file=$uri,format=raw,if=virtio,discard=unmap,detect-zeroes=unmap" <<END
. /swap-in-guest.sh
swap_on /dev/vda
hog 320 1
END
watch_swap "QEMU drive"
stop_nbdkit
