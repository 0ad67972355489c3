# SPDX-License-Identifier: BSD-3-Clause
#
# In the guest: what the tests with file systems on /dev/nbd0 share.  Each
# "ask" is a moment at which the test looks at the server (watch_fs in
# guest.sh).

# A busybox applet would win over a program that is named without its path.
nbd=/usr/sbin/nbd-client
# attach PORT
attach () { $nbd 10.0.2.2 $1 /dev/nbd0 -C 4 >/dev/null; }
forget () { sync; echo 3 >/proc/sys/vm/drop_caches; }

# Half of it noise, half of it text.
make_files ()
{
  for i in 1 2 3 4 5 6; do
    dd if=/dev/urandom of=$1/noise$i bs=1M count=4 2>/dev/null
    yes "line of file $i" | dd of=$1/text$i bs=1M count=4 iflag=fullblock \
      2>/dev/null
  done
  (cd $1 && sha1sum noise* text* >/tmp/sums)
}

# one_fs ext4|xfs|btrfs
one_fs ()
{
  fs=$1
  case $fs in
    ext4)
      make="/usr/sbin/mke2fs -q -t ext4 -E lazy_itable_init=0"
      check="/usr/sbin/e2fsck -fn"
      ;;
    xfs)
      make="/usr/sbin/mkfs.xfs -q -f"
      check="/usr/sbin/xfs_repair -n"
      ;;
    btrfs)
      make="/usr/sbin/mkfs.btrfs -q -f"
      check="/usr/bin/btrfs check --readonly"
      ;;
  esac
  echo "== $fs"
  $make /dev/nbd0 >/tmp/said 2>&1 || { cat /tmp/said; fail "$make"; }
  mount -t $fs /dev/nbd0 /mnt
  ask "$fs empty"
  make_files /mnt
  forget
  ask "$fs filled"
  (cd /mnt && sha1sum -c -s /tmp/sums) || fail "$fs: wrong data"
  umount /mnt
  $check /dev/nbd0 >/tmp/said 2>&1 || { cat /tmp/said; fail "$check"; }
  mount -t $fs /dev/nbd0 /mnt
  rm /mnt/noise[1-5]
  sync
  /bin/fstrim -v /mnt
  # What btrfs freed it trims after the transaction that freed it.
  sync
  /bin/fstrim /mnt
  sync
  ask "$fs trimmed"
  forget
  (cd /mnt && grep -v 'noise[1-5]' /tmp/sums | sha1sum -c -s) ||
    fail "$fs: wrong data after fstrim"
  umount /mnt
  $check /dev/nbd0 >/tmp/said 2>&1 || { cat /tmp/said; fail "$check"; }
}
