# SPDX-License-Identifier: BSD-3-Clause
#
# A Linux kernel as the client: what the tests of this folder share.  A test
# begins with
#
#   . "$(dirname "$0")/guest.sh"
#
# has all of ../server/lib.sh, and at most one guest, which runs a script:
#
#   test                                guest (QEMU, user networking)
#     start_tcp KEY=VALUE...              10.0.2.2:$port is the server
#     start_guest OPTION... <<SCRIPT  ->  runs SCRIPT with sh -eu
#     await filled 60                 <-  ask filled
#       (look at the server)
#     go                              ->  (ask returns)
#     end_guest 60                    <-  SCRIPT has ended: its status
#
# Two serial ports: what the guest prints goes to $tmp/console, what it asks
# comes to $tmp/asked, and "go" takes the same way back.
#
# The kernel is the one of the distribution, its package unpacked in a cache
# and never installed.  All else that the guest has is copied from the
# running system, libraries included, into an initramfs made for each guest.
#
#   ZRAM_GUEST_CACHE  folder of the unpacked kernel
#   ZRAM_GUEST_ACCEL  tcg or kvm (default: kvm if a probe boots with it)

. "$(dirname "${BASH_SOURCE[0]}")/../server/lib.sh"

guest_here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
guest_cache="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/zram-guest"
guest_cache="${ZRAM_GUEST_CACHE:-$guest_cache}"
guest_modules="virtio_pci virtio_net virtio_blk virtio_rng"
guest_memory=512 guest_cpus=1
qemu= reader= kernel= modules_top= release= port= accel=

# The programs of administrators are not on everybody's path.
export PATH="$PATH:/usr/sbin:/sbin"

clean_up ()
{
  local job
  for job in $qemu $reader; do kill -9 "$job" 2>/dev/null; done
  return 0
}

# The newest that was fetched before: what apt knows may be out of date.
use_old_kernel ()
{
  folder="$(find "$guest_cache" -maxdepth 1 -name 'linux-image-*' | sort -V |
            tail -n 1)"
  name="${folder##*/}"
  [ -n "$name" ]
}

# find_kernel: sets $kernel, $release and $modules_top, fetches if need be.
find_kernel ()
{
  local name folder

  requires apt-get --version
  requires dpkg-deb --version
  name="$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
          awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')"
  [ -n "$name" ] || skip "needs Debian's package linux-image-cloud-amd64"
  folder="$guest_cache/$name"
  mkdir -p "$guest_cache"
  # Two tests that run at once fetch it once.
  (
    flock 9
    [ ! -d "$folder" ] || exit 0
    cd "$tmp" && chmod 755 . && mkdir -m 777 fetch && cd fetch &&
      apt-get -qq download "$name" && dpkg-deb -x ./*.deb root &&
      depmod -b root "${name#linux-image-}" && mv root "$folder" && rm -f ./*.deb
  ) 9>"$guest_cache/lock" >"$tmp/fetched" 2>&1 ||
    use_old_kernel || skip "cannot fetch $name: $(tail -n 1 "$tmp/fetched")"
  release="${name#linux-image-}"
  kernel="$folder/boot/vmlinuz-$release"
  modules_top="$folder"
  [ -f "$kernel" ] || fail "no kernel in $folder"
}

# requires_guest COMMAND...: all that a guest needs, and these commands
requires_guest ()
{
  local program
  [ "$(uname -m)" = x86_64 ] || skip "needs x86_64"
  for program in qemu-system-x86_64 busybox cpio depmod flock "$@"; do
    command -v "$program" >/dev/null || skip "needs '$program'"
  done
  busybox modprobe --help >/dev/null 2>&1 || skip "needs busybox-static"
  ! ldd "$(command -v busybox)" >/dev/null 2>&1 || skip "needs busybox-static"
  find_kernel
  find_accel
}

# add_programs TOP PROGRAM...: with their libraries, to the same places
add_programs ()
{
  local top="$1" program path
  shift
  for program; do
    path="$(command -v "$program")"
    { echo "$path"
      ldd "$path" 2>/dev/null | grep -o '/[^ ]*' || :
    } | xargs cp -L --parents -t "$top"
  done
}

# add_modules TOP MODULE...: with those that they need
add_modules ()
{
  local top="$1" file
  shift
  modprobe -d "$modules_top" -S "$release" -a -D "$@" |
    awk '$1 == "insmod" { print $2 }' | sort -u |
    while read -r file; do
      file="${file#"$modules_top"}"
      mkdir -p "$top/${file%/*}"
      cp "$modules_top$file" "$top/$file"
    done
  cp "$modules_top/lib/modules/$release"/modules.{order,builtin,builtin.modinfo} \
     "$top/lib/modules/$release/"
  depmod -b "$top" "$release"
}

guest_init ()
{
  cat <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mkdir -p /proc /sys /dev /tmp /mnt /run /etc
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
ln -sf /proc/mounts /etc/mtab
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1 </dev/null
ask () { echo "$*" >&3; read -r _ <&3; }
fail () { echo "FAIL: $*"; exit 1; }
modprobe -a $(cat /modules)
if [ -s /boot-disk ]; then
  mount -t ext4 "$(cat /boot-disk)" /mnt
  exec switch_root /mnt /sbin/init
fi
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
# # A task that hangs for so long never goes on: panic, which ends QEMU.
echo 1 >/proc/sys/kernel/hung_task_panic
echo 120 >/proc/sys/kernel/hung_task_timeout_secs
(set -eu; . /script)
echo "status $?" >&3
sleep 1
poweroff -f
END
}

# make_initramfs FILE <SCRIPT: with $guest_programs, $guest_modules, and the
# files $guest_files in its root folder
make_initramfs ()
{
  local top="$tmp/initramfs"
  rm -rf "$top"
  mkdir -p "$top/bin" "$top/lib/modules/$release"
  cp "$(command -v busybox)" "$top/bin/busybox"
  guest_init >"$top/init"
  chmod +x "$top/init"
  cat >"$top/script"
  echo "$guest_modules" >"$top/modules"
  printf %s "${guest_boot_disk:-}" >"$top/boot-disk"
  # shellcheck disable=SC2086
  add_programs "$top" ${guest_programs:-}
  # shellcheck disable=SC2086
  add_modules "$top" $guest_modules
  # shellcheck disable=SC2086
  [ -z "${guest_files:-}" ] || cp $guest_files "$top/"
  (cd "$top" && find . | cpio -o -H newc --quiet) >"$1"
  rm -rf "$top"
}

# make_hog: $tmp/hog, from hog.c; static, so a guest needs nothing else for it
make_hog ()
{
  "${CC:-cc}" -O2 -static -o "$tmp/hog" "$guest_here/hog.c" 2>"$tmp/cc.log" ||
    skip "cannot make a static program: $(tail -n 1 "$tmp/cc.log")"
}

# A kernel that says hello with KVM within 20 s; some machines have a
# /dev/kvm on which nothing gets anywhere.  Asked once after each boot.
find_accel ()
{
  local known="$guest_cache/accel-$(id -u)" boot
  boot="$(cat /proc/sys/kernel/random/boot_id)"
  accel="${ZRAM_GUEST_ACCEL:-}"
  [ -z "$accel" ] || return 0
  accel=tcg
  [ -w /dev/kvm ] || return 0
  if [ "$(head -n 1 "$known" 2>/dev/null)" = "$boot" ]; then
    accel="$(tail -n 1 "$known")"
    return 0
  fi
  accel=kvm
  echo "does KVM work here?"
  start_guest <<<'echo hello >&3'
  if ! await_or hello 20; then
    kill -9 "$qemu" 2>/dev/null || :
    accel=tcg
  fi
  wait "$qemu" 2>/dev/null || :
  kill "$reader" 2>/dev/null || :
  qemu= reader=
  printf '%s\n' "$boot" "$accel" >"$known"
}

# start_guest [OPTION...] <SCRIPT: the options are QEMU's.  With
# $guest_boot_disk it goes on with the init of that disk, and no SCRIPT.
start_guest ()
{
  local speed="-accel kvm -cpu host"
  # The kernel's check of its timer panics if it misses some ticks, as an
  # emulated processor does that hardly gets a real one.
  local options="console=ttyS0 quiet panic=-1 oops=panic tsc=unstable"
  options+=" no_timer_check"
  [ "$accel" = kvm ] || speed="-accel tcg,tb-size=256 -cpu max"
  make_initramfs "$tmp/initrd"
  rm -f "$tmp/line.in" "$tmp/line.out"
  mkfifo "$tmp/line.in" "$tmp/line.out"
  : >"$tmp/asked"
  cat <"$tmp/line.out" >"$tmp/asked" &
  reader=$!
  # shellcheck disable=SC2086
  qemu-system-x86_64 -M q35 $speed -smp $guest_cpus -m $guest_memory \
    -nodefaults -no-user-config -display none -no-reboot \
    -serial "file:$tmp/console" -serial "pipe:$tmp/line" \
    -netdev user,id=net0 -device virtio-net-pci,netdev=net0,romfile= \
    -device virtio-rng-pci -kernel "$kernel" -initrd "$tmp/initrd" \
    -append "$options" "$@" \
    </dev/null >"$tmp/qemu.log" 2>&1 &
  qemu=$!
}

guest_failed ()
{
  echo "--- guest's console"
  tail -n 60 "$tmp/console"
  cat "$tmp/qemu.log"
  fail "$* (asked so far: $(tr -d '\r' <"$tmp/asked" | xargs))"
}

# await_or WORDS SECONDS: has the guest said a line that begins so?
await_or ()
{
  local i
  for ((i = 0; i < $2 * 10; i++)); do
    if grep -q "^$1" "$tmp/asked"; then return 0; fi
    # The script is over, or the guest is: nothing more will come.  But what
    # is awaited may have come since it was looked for.
    if grep -q '^status ' "$tmp/asked"; then grep -q "^$1" "$tmp/asked"; return; fi
    if ! running "$qemu"; then sleep 0.2; grep -q "^$1" "$tmp/asked"; return; fi
    sleep 0.1
  done
  return 1
}

await ()
{
  await_or "$1" "$2" || guest_failed "guest did not get to '$1' in $2 s"
}

go ()
{
  echo go >"$tmp/line.in"
}

# end_guest SECONDS: the script must end in this time, with status 0.
end_guest ()
{
  local i
  await status "$1"
  grep -q '^status 0' "$tmp/asked" || guest_failed "the guest's script failed"
  for ((i = 0; i < 300; i++)); do
    running "$qemu" || break
    sleep 0.1
  done
  kill -9 "$qemu" 2>/dev/null || :
  wait "$qemu" 2>/dev/null || :
  wait "$reader" 2>/dev/null || :
  qemu= reader=
}

# ------------------------------------------------------------------------
# The server, on TCP and for this machine only

# start_tcp KEY=VALUE...: on $port, a new one if it is empty; its control
# socket is $tmp/control.
start_tcp ()
{
  local i
  nserver=$((nserver + 1))
  log="$tmp/log$nserver"
  port="${port:-$(free_port)}"
  uri="nbd://127.0.0.1:$port"
  "$NBDKIT" -f -P "$tmp/pid$nserver" -i 127.0.0.1 -p "$port" \
            -D zram.audit=1 "$PLUGIN" control="$tmp/control" "$@" \
            </dev/null >"$log" 2>&1 &
  job=$! pid=$!
  for ((i = 0; i < 2400; i++)); do
    if pid_in "$tmp/pid$nserver"; then return 0; fi
    running "$job" || break
    sleep 0.05
  done
  fail "nbdkit $* did not start"
}

# kill_nbdkit: at once, as when its machine loses power
kill_nbdkit ()
{
  kill -9 "$pid"
  wait "$job" || :
  job= pid=
  rm -f "$tmp/control"
}

# Bytes of the server's memory for data, by its own account.
memory_used ()
{
  "${NBDZRAMCTL:-nbdzramctl}" -s "$tmp/control" mm_stat | awk '{ print $3 }'
}

# The most that it was.
memory_peak ()
{
  "${NBDZRAMCTL:-nbdzramctl}" -s "$tmp/control" mm_stat | awk '{ print $5 }'
}

connections ()
{
  ss -Htn state established "sport = :$port" | wc -l
}

# ------------------------------------------------------------------------
# File systems

# watch_fs NAME: this side of fs-in-guest.sh's one_fs
watch_fs ()
{
  local fs="$1" empty filled trimmed
  await "$fs empty" 300
  empty="$(memory_used)"
  go
  await "$fs filled" 300
  filled="$(memory_used)"
  go
  await "$fs trimmed" 300
  trimmed="$(memory_used)"
  go
  echo "$fs: memory used when empty $empty, filled $filled, trimmed $trimmed"
  # 24 MiB of noise, of which 20 MiB are deleted
  [ $((filled - empty)) -ge $((23 << 20)) ] || fail "$fs: not filled"
  [ $((filled - trimmed)) -ge $((18 << 20)) ] ||
    fail "$fs: trim frees too little"
}
