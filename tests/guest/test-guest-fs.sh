#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The kernel's NBD client, in a guest, with four connections:
#
#   1. ext4, xfs and btrfs: made, mounted, filled, checked, read back with
#      nothing cached, trimmed (the server's memory falls), checked again
#   2. the client disconnects under load, three times: what was flushed
#      before is there afterwards
#   3. the server is killed under a mounted file system and a new one takes
#      its place: errors, then an empty disk, never anything else

. "$(dirname "$0")/guest.sh"
requires ss -V
requires "${NBDZRAMCTL:-nbdzramctl}" --help
requires_guest nbd-client mke2fs e2fsck mkfs.xfs xfs_repair mkfs.btrfs btrfs
guest_programs="nbd-client mke2fs e2fsck mkfs.xfs xfs_repair mkfs.btrfs btrfs"
guest_modules+=" nbd xfs btrfs"
guest_files="$guest_here/fs-in-guest.sh"
guest_cpus=4

start_tcp 1G
start_guest <<END
port=$port
$(cat <<'SCRIPT'
. /fs-in-guest.sh
attach $port
ask "attached $(nproc)"
for fs in ext4 xfs btrfs; do one_fs $fs; done

echo "== disconnect under load"
dd if=/dev/urandom of=/tmp/known bs=1M count=8 2>/dev/null
dd if=/tmp/known of=/dev/nbd0 bs=1M conv=fsync 2>/dev/null
for i in 1 2 3; do
  dd if=/dev/zero of=/dev/nbd0 bs=64k seek=1024 count=8192 oflag=direct \
    2>/tmp/dd & load=$!
  dd if=/dev/nbd0 of=/dev/null bs=64k skip=256 count=8192 iflag=direct \
    2>/dev/null & load2=$!
  sleep 0.$((i * 3))
  kill -0 $load || fail "the load had ended"
  $nbd -d /dev/nbd0 >/dev/null
  ! wait $load || fail "wrote without a connection"
  wait $load2 || :
  attach $port
  echo 3 >/proc/sys/vm/drop_caches
  dd if=/dev/nbd0 bs=1M count=8 2>/dev/null | cmp - /tmp/known ||
    fail "flushed data are missing"
done

echo "== server killed"
/usr/sbin/mke2fs -q -t ext4 -F /dev/nbd0
mount /dev/nbd0 /mnt
make_files /mnt
forget
# Remembered are size and name only; the data would have to come.
while cp /tmp/known /mnt/more && sync -f /mnt/more; do :; done 2>/dev/null &
load=$!
ask kill
wait $load || :
good=0 bad=0
for f in /mnt/noise* /mnt/text*; do
  sum=$(sha1sum $f 2>/dev/null) || { bad=$((bad + 1)); continue; }
  grep -q "^${sum%% *} .*${f##*/}$" /tmp/sums || fail "garbage in $f"
  good=$((good + 1))
done
echo "with no server $bad files could not be read, $good could"
[ $bad -gt 0 ] || fail "no error without a server"
umount /mnt || umount -l /mnt
$nbd -d /dev/nbd0 >/dev/null || :
! dd if=/dev/nbd0 of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null ||
  [ "$(cat /sys/block/nbd0/size)" = 0 ] || fail "read without a server"
ask restart
for i in 1 2 3 4 5; do attach $port && break || sleep 1; done
echo 3 >/proc/sys/vm/drop_caches
! mount -t ext4 /dev/nbd0 /mnt 2>/dev/null || fail "mounted an empty disk"
dd if=/dev/nbd0 bs=1M count=64 2>/dev/null | tr -d '\000' | wc -c >/tmp/n
[ "$(cat /tmp/n)" = 0 ] || fail "$(cat /tmp/n) bytes of an empty disk"
dd if=/tmp/known of=/dev/nbd0 bs=1M conv=fsync 2>/dev/null
forget
dd if=/dev/nbd0 bs=1M count=8 2>/dev/null | cmp - /tmp/known
$nbd -d /dev/nbd0 >/dev/null
SCRIPT
)
END

await attached 300
# The client makes no more connections than there are processors, and under
# load not all of QEMU's come up in time.
cpus="$(awk '$1 == "attached" { print $2 + 0 }' "$tmp/asked")"
n="$(connections)"
echo "$n connections, $cpus processors"
[ "$n" -ge 2 ] && [ "$n" = "$cpus" ] ||
  guest_failed "$n connections with $cpus processors"
go

for fs in ext4 xfs btrfs; do watch_fs "$fs"; done

await kill 300
kill_nbdkit
go
await restart 300
start_tcp 1G
go
end_guest 300
stop_nbdkit
