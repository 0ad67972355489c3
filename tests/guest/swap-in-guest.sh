# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
#
# In the guest: what the tests with swap share.  Each "ask" is a moment at which
# the test looks at the server.

# swap_on DEVICE
swap_on ()
{
  swap=$1
  echo 32768 >/proc/sys/vm/min_free_kbytes
  mkswap "$swap" >/dev/null
  swapon -d "$swap"
}

# hog MIB ROUNDS: the program hog.c, then nothing is left in the swap
hog ()
{
  /hog "$1" "$2"
  ask "hogged $(awk '$1 == "pswpout" { print $2 }' /proc/vmstat)"
  swapoff "$swap"
  # Pages in use when it was switched off are not trimmed until now.
  swapon -d "$swap"
  swapoff "$swap"
  ask trimmed
}
