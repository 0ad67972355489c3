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
nbdkit --dump-plugin zram | grep -qx 'path=/usr/lib/.*/nbdkit-zram-plugin.so'
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

echo "stopped, and started by the next client: empty"
systemctl stop $service 2>said
[ "$(systemctl show -P Result $service)" = success ]
[ ! -e /var/cache/nbdkit-zram/disk/store ]
[ ! -e $run/disk ]
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
