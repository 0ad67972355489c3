#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# A guest whose only disk is the export, as a drive of QEMU that discards, and
# turns zeroes into discards:
#
#   1. from an initramfs it makes a file system, and puts a system on it
#   2. it boots from that, writes files, and ends
#   3. it boots again and finds them; deletes most, and fstrim makes the server's
#      memory fall; writes zeroes, which take none
#   4. it boots a third time: the rest is there

. "$(dirname "$0")/guest.sh"
requires "${NBDZRAMCTL:-nbdzramctl}" --help
requires_guest mke2fs e2fsck
guest_programs="mke2fs e2fsck"

start_tcp 1G
drive=(-drive "file=$uri,format=raw,if=virtio,discard=unmap,detect-zeroes=unmap")

# discarded: bytes that the server was asked to, ever
discarded ()
{
  "${NBDZRAMCTL:-nbdzramctl}" -s "$tmp/control" --json |
    "$PYTHON" -c 'import json, sys
stats = json.load(sys.stdin)
print(stats["ops"]["discard"]["bytes"])'
}

# The disk gets the initramfs's own init, which runs what is in /script.
start_guest "${drive[@]}" <<'END'
/usr/sbin/mke2fs -q -t ext4 -E lazy_itable_init=0 /dev/vda
mount -t ext4 /dev/vda /mnt
mkdir -p /mnt/bin /mnt/sbin /mnt/data
cp /bin/busybox /mnt/bin/
cp /init /mnt/sbin/init
: >/mnt/modules
cat >/mnt/script <<'ROOT'
grep -q ' / ext4 ' /proc/mounts || fail "the disk is not the root"
boot=$(($(cat /boots 2>/dev/null || echo 0) + 1))
echo $boot >/boots
[ ! -e /sums ] || sha1sum -c -s /sums || fail "boot $boot: wrong data"
case $boot in
  1)
    for i in 1 2 3 4; do
      dd if=/dev/urandom of=/data/noise$i bs=1M count=6 2>/dev/null
    done
    yes "a line" | dd of=/data/text bs=1M count=8 iflag=fullblock 2>/dev/null
    sha1sum /data/* /bin/busybox >/sums
    ;;
  2)
    ask full
    rm /data/noise[1-3]
    sha1sum /data/* /bin/busybox >/sums
    sync
    /bin/fstrim /
    sync
    ask trimmed
    # Into the file's own blocks: the file system writes them as zeroes.
    dd if=/dev/urandom of=/data/zeroes bs=1M count=16 2>/dev/null
    sync
    ask noisy
    dd if=/dev/zero of=/data/zeroes bs=1M count=16 conv=notrunc 2>/dev/null
    sync
    ask zeroed
    sha1sum /data/* /bin/busybox >/sums
    ;;
esac
sync
mount -o remount,ro /
ROOT
sync
umount /mnt
/usr/sbin/e2fsck -fn /dev/vda >/dev/null 2>&1
END
end_guest 300

guest_boot_disk=/dev/vda
start_guest "${drive[@]}" </dev/null
end_guest 300

start_guest "${drive[@]}" </dev/null
await full 300
full="$(memory_used)"
go
await trimmed 300
trimmed="$(memory_used)"
go
await noisy 300
noisy="$(memory_used)" before="$(discarded)"
go
await zeroed 300
zeroed="$(memory_used)" after="$(discarded)"
go
end_guest 300
echo "memory used: full $full, trimmed $trimmed, noisy $noisy, zeroed $zeroed"
# 18 MiB of noise deleted, 16 MiB written, and overwritten with zeroes
[ $((full - trimmed)) -ge $((17 << 20)) ] || fail "trim frees too little"
[ $((noisy - trimmed)) -ge $((15 << 20)) ] || fail "16 MiB were not written"
[ $((noisy - zeroed)) -ge $((15 << 20)) ] || fail "zeroes take memory"
[ $((after - before)) -ge $((15 << 20)) ] || fail "zeroes did not come as such"

start_guest "${drive[@]}" </dev/null
end_guest 300
stop_nbdkit
