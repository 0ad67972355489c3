#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# swap=true: a guest that swaps to the server that runs in it, over a Unix
# socket.  A program that uses more memory than the guest has runs to its end,
# and every byte that it reads again is right.
#
# The guest has its programs in a file system in memory, so what is not locked
# of the server would be swapped out to itself.

. "$(dirname "$0")/guest.sh"
requires_guest nbd-client "${CC:-cc}"
[ -z "$ZRAM_SANITIZER" ] || skip "sanitizers do not let memory be locked"
plugin="$(dirname "$NBDKIT")/plugin/.libs/nbdkit-zram-plugin.so"
[ -x "$plugin" ] || skip "needs the plugin of a build tree"
guest_memory=512
guest_modules+=" nbd"
guest_files="$tmp/hog $guest_here/swap-in-guest.sh $here/swap-checks.sh"
guest_programs="nbd-client nbdkit $plugin"

make_hog

start_guest <<END
plugin=$plugin
$(cat <<'SCRIPT'
. /swap-in-guest.sh
. /swap-checks.sh

chmod 1777 /tmp # the server writes its pid as the other user
# Reserved for a disk of this size are 16 TiB of addresses.  Another user.
/usr/bin/nbdkit -f -u 65534 -g 65534 -U /run/large -P /tmp/pid "$plugin" 1T \
  swap=true &
while ! [ -s /tmp/pid ] && kill -0 $!; do sleep 0.1; done
sleep 1
io_flushers "$(cat /tmp/pid)"
is_locked "$(cat /tmp/pid)"
kill "$(cat /tmp/pid)"

/usr/bin/nbdkit -U /run/sock -P /run/pid "$plugin" 1G swap=true
pid="$(cat /run/pid)"
ask "flushers $(io_flushers "$pid")"
/usr/sbin/nbd-client -swap -unix /run/sock /dev/nbd0 >/dev/null
ask "connected $(io_flushers "$pid")"
is_locked "$pid"

swap_on /dev/nbd0
awk '/^MemAvail/ { print "available", $2 }' /proc/meminfo
hog 352 1
grep -e pswp -e oom_kill /proc/vmstat
io_flushers "$pid"
[ "$(status_kib "$pid" VmSwap)" = 0 ] || fail "the server was swapped out"
/usr/sbin/nbd-client -d /dev/nbd0 >/dev/null
kill "$pid"
SCRIPT
)
END
await flushers 300
go
await connected 300
go
asked () { awk -v word="$1" '$1 == word { print $2 + 0 }' "$tmp/asked"; }
[ "$(asked connected)" -gt "$(asked flushers)" ] ||
  fail "no threads for the connection"
await hogged 590
go
echo "$(asked hogged) pages swapped out"
[ "$(asked hogged)" -ge 16384 ] || fail "$(asked hogged) pages were swapped out"
await trimmed 300
go
end_guest 300
grep -a -e '^available' -e '^hog' -e '^pswp' -e '^oom' -e locked "$tmp/console"
