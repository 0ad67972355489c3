#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What the server reports about itself; and a huge disk costs nothing.

. "$(dirname "$0")/lib.sh"
requires nbdinfo --version

info ()
{
  nbdinfo --json "$uri" | sed -nE "s/^\t*\"$1\": *\"?([^\",]*)\"?,?\$/\1/p"
}

is ()
{
  local got
  got="$(info "$1")"
  [[ " $2 " == *" $got "* ]] && [ -n "$got" ] ||
    fail "$1 is '$got', not '$2'"
}

for slot in 4096 16384 65536; do
  start_nbdkit "$PLUGIN" 1G slot_size=$slot
  for what in multi_conn fua fast_zero trim cache zero flush df; do
    is can_$what true
  done
  is is_read_only false
  is is_rotational false
  is export-size 1073741824
  is block_size_minimum 1
  is block_size_preferred $slot
  is block_size_maximum "$((32 << 20)) $((64 << 20))"
  nbdinfo --map "$uri" >"$tmp/map"
  [ "$(awk '{ print $1, $2, $3, $4 }' "$tmp/map")" = \
    "0 1073741824 3 hole,zero" ] || fail "map: $(cat "$tmp/map")"
  stop_nbdkit
done

# Read only: no command that writes; the data can still be read.
start_nbdkit -r "$PLUGIN" 1M
is is_read_only true
stop_nbdkit

# An empty terabyte is one hole.  (The bound catches a server that hangs; it is
# not a measurement.)
start_nbdkit "$PLUGIN" 1T
timeout 60 nbdinfo --map "$uri" >"$tmp/map" ||
  fail "no map of an empty terabyte"
[ "$(awk '{ print $1, $2, $3, $4 }' "$tmp/map")" = \
  "0 1099511627776 3 hole,zero" ] || fail "map: $(cat "$tmp/map")"
stop_nbdkit

# The largest possible disk.
start_nbdkit "$PLUGIN" 9223372036854775807
is export-size 9223372036854775807
if sanitized; then
  echo "memory not checked: $ZRAM_SANITIZER"
else
  kib="$(rss)"
  [ "$kib" -lt 65536 ] || fail "$kib KiB for an empty disk"
fi
stop_nbdkit
