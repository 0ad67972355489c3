#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# What test-deb-installed.sh runs as root in a system that nobody needs, where
# systemd is the init and has started nothing yet.  Beside it lie the packages.
# The last line says "all is well" or what is not.

set -eE -o pipefail
trap 'echo "line $LINENO: status $?: $BASH_COMMAND"' ERR
cd "$(dirname "$0")"
[ "$(cat /proc/1/comm)" = systemd ]
echo "init is systemd"

fail ()
{
  echo "FAIL: $*"
  journalctl --no-pager -n 40 2>/dev/null || :
  exit 1
}

# not COMMAND...: it must fail
not ()
{
  ! "$@" >said 2>&1 || fail "succeeded: $*"
}

export DEBIAN_FRONTEND=noninteractive
# Containers forbid packages to start and stop services; this one is booted.
rm -f /usr/sbin/policy-rc.d
# Other packages' work (man-db goes through all manuals) is not tested here.
dpkg ()
{
  command dpkg --force-unsafe-io --no-triggers "$@"
}

# A machine may have had the packages already.
dpkg --purge nbdkit-zram-plugin nbdzramctl >said 2>&1
rm -rf /etc/nbdkit-zram
ours ()
{
  find /etc /usr /var /run -xdev \
       \( -name '*nbdkit-zram*' -o -name '*nbdzram*' \) \
       -not -path '/usr/local/*' -not -path '/var/tmp/*' | sort
}
ours >before

echo "install"
dpkg -i ./*.deb >said 2>&1 || fail "$(cat said)"
if command -v man >/dev/null &&
   ! grep -rqs 'path-exclude.*/man' /etc/dpkg; then
  man -w nbdkit-zram-plugin nbdzramctl >/dev/null
fi
bash -c '. /usr/share/bash-completion/completions/nbdzramctl
         complete -p nbdzramctl' >/dev/null
nbdkit --dump-plugin zram | grep -x 'path=/usr/lib/.*/nbdkit-zram-plugin.so' >/dev/null
./installed >said 2>&1 || fail "$(cat said)"
cmp example.conf /usr/share/doc/nbdkit-zram-plugin/examples/example.conf

echo "a disk needs its configuration"
not systemctl start nbdkit-zram@disk.socket
systemctl reset-failed

echo "the example, served when somebody comes"
cp example.conf /etc/nbdkit-zram/disk.conf
systemctl start nbdkit-zram@disk.socket
service=nbdkit-zram@disk.service
run=/run/nbdkit-zram
uri="nbd+unix:///?socket=$run/disk.sock"
[ "$(stat -c %a:%U $run/disk.sock)" = 600:root ]
not systemctl is-active $service
[ "$(nbdinfo --size "$uri")" = $((8 << 30)) ]
systemctl is-active $service >/dev/null
systemctl stop nbdkit-zram@disk.socket
not systemctl is-active $service
[ ! -e $run/disk.sock ]

echo "all that a disk can do is allowed to it"
cat >/etc/nbdkit-zram/disk.conf <<'END'
SIZE=64M
NBDKIT_OPTIONS="--threads=4 -D zram.audit=1"
OPTIONS="mem_limit=16M backing=/var/cache/nbdkit-zram/disk/store backing_size=32M metrics=9750 recompress=zstd:level=9 workers=3"
END
systemctl enable --now nbdkit-zram@disk.socket 2>said
head -c 30000000 /dev/urandom >image
truncate -s 48M image
seq 2000000 >>image
truncate -s 64M image
nbdcopy image "$uri"
nbdcopy "$uri" back
cmp image back
ctl ()
{
  nbdzramctl -s $run/disk/control.sock "$@"
}
[ "$(ctl bd_stat | awk '{ print $1 }')" -gt 0 ] || fail "nothing in the store"
[ -s /var/cache/nbdkit-zram/disk/store ]
ctl compact >said
ctl recompress >said
ctl workers 2 >said
ctl audit --deep >said
ctl
exec 3<>/dev/tcp/127.0.0.1/9750
printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
grep -q '^nbdzram_' <&3
exec 3>&-
systemctl show -P MainPID $service >pid

echo "and no more"
pid=$(cat pid)
status ()
{
  awk -v key="$1:" '$1 == key { print $2 }' "/proc/$pid/status"
}
[ "$(status Uid)" != 0 ]
[ "$(status CapEff)" = 0000000000000000 ]
[ "$(status CapBnd)" = 0000000000000000 ]
[ "$(status NoNewPrivs)" = 1 ]
[ "$(status Seccomp)" = 2 ]
[ "$(stat -c %a:%u $run/disk)" = "700:$(status Uid)" ]

echo "installed again: the disk stays as it is"
dpkg -i ./*.deb >said 2>&1 || fail "$(cat said)"
[ "$(systemctl show -P MainPID $service)" = "$pid" ]
nbdcopy "$uri" back
cmp image back

# A client that connects again gets an error, until a person acts.
socket=nbdkit-zram@disk.socket
marker=/var/lib/nbdkit-zram/disk/marker
# down: the socket is not served any more, within 20 seconds
down ()
{
  for ((i = 0; i < 200; i++)); do
    if ! systemctl -q is-active $socket && ! systemctl -q is-active $service
    then
      not nbdinfo "$uri"
      return
    fi
    sleep 0.1
  done
  fail "served, or half"
}
# started: by a person; the disk is empty, and something is written
started ()
{
  # It is started more often than systemd lets units be by itself.
  systemctl reset-failed $socket $service
  systemctl start $socket
  nbdcopy "$uri" back
  cmp -n $((64 << 20)) back /dev/zero
  nbdcopy image "$uri"
}
# refused: nor is it before the marker is removed
refused ()
{
  not systemctl start $socket
  grep -q Assert said || fail "$(cat said)"
  grep -q 'the disk is gone' $marker
  not nbdinfo "$uri"
  rm $marker
}

echo "restarted by a tool: the disk stays as it is"
not systemctl restart $service
not systemctl try-restart $service
[ "$(systemctl show -P MainPID $service)" = "$pid" ]
nbdcopy "$uri" back
cmp image back

echo "stopped"
systemctl stop $service 2>said
[ "$(systemctl show -P Result $service)" = success ]
[ ! -e /var/cache/nbdkit-zram/disk/store ]
[ ! -e $run/disk ]
down
refused
started

echo "killed"
systemctl kill -s KILL $service
down
[ "$(systemctl show -P Result $service)" = signal ]
refused
started

echo "killed while a client waits to connect again"
if command -v qemu-io >/dev/null; then
  mkfifo commands
  qemu-io --image-opts "driver=raw,file.driver=nbd,file.server.type=unix,\
file.server.path=$run/disk.sock,file.reconnect-delay=5" <commands >said 2>&1 &
  exec 4>commands
  echo "read 0 512" >&4
  for ((i = 0; i < 200; i++)); do
    ! grep -q 'read 512' said || break
    sleep 0.1
  done
  systemctl kill -s KILL $service
  printf '%s\n' "read 0 512" "write 0 512" quit >&4
  exec 4>&-
  wait $! || :
  [ "$(grep -c -e 'read 512' -e 'wrote' said)" = 1 ] &&
    [ "$(grep -c 'failed: Input/output error' said)" = 2 ] ||
    fail "$(cat said)"
else
  echo "left out: needs qemu-io"
  systemctl kill -s KILL $service
fi
down

echo "a marker by itself: the next client's server does not start"
mv $marker ../kept
systemctl start $socket
mv ../kept $marker
not nbdinfo "$uri"
down
[ "$(systemctl show -P Result $service)" = exit-code ]
journalctl -u $service --no-pager |
  grep -q "marker=$marker: the disk that was served before is gone" ||
  fail "no word in the journal"

echo "without a marker: a start of the socket is enough"
echo MARKER= >>/etc/nbdkit-zram/disk.conf
rm $marker
started
systemctl kill -s KILL $service
down
[ ! -e $marker ]
started
systemctl stop $socket
down
started
systemctl restart $socket
nbdcopy "$uri" back
cmp -n $((64 << 20)) back /dev/zero

echo "removed, and purged"
dpkg -r nbdkit-zram-plugin >said 2>&1 || fail "$(cat said)"
not systemctl is-active nbdkit-zram@disk.socket
not systemctl is-active $service
not nbdkit --dump-plugin zram
[ -e /etc/nbdkit-zram/disk.conf ]
rm /etc/nbdkit-zram/disk.conf
dpkg --purge nbdkit-zram-plugin nbdzramctl >said 2>&1 || fail "$(cat said)"
ours | diff before - || fail "left behind"
echo "all is well"
