#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The packages that test-deb.sh has built, installed, used through systemd,
# and removed, by in-container.sh: in a copy of this machine's system, made of
# an overlay that is in memory and private to this test, with systemd as its
# init, and without a network.  Nothing of the machine itself is changed.  Needs
# root, and what may be done with namespaces; where a container does not start,
# this is skipped.

. "$(dirname "$0")/../server/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
requires systemd-nspawn --version
requires which unshare nbdinfo nbdcopy
build="${BUILDDIR:-$(dirname "$NBDKIT")}"
version="$(sed -n 's/^#define PACKAGE_VERSION "\(.*\)"$/\1/p' \
               "$build/config.h")"
arch="$(dpkg --print-architecture)"
plugin_deb="$build/deb/nbdkit-zram-plugin_${version}_$arch.deb"
ctl_deb="$build/deb/nbdzramctl_${version}_$arch.deb"
[ -f "$plugin_deb" ] && [ -f "$ctl_deb" ] ||
  skip "no packages: packaging/test-deb.sh makes them"

# Where there is no systemd to ask for a place for the container, it goes into
# this process's control group, and leaves groups there.
keep_unit=()
[ -d /run/systemd/system ] || keep_unit=(--keep-unit)
groups="$(find /sys/fs/cgroup -maxdepth 3 -type d 2>/dev/null | sort)"
clean_up ()
{
  [ ${#keep_unit[@]} -gt 0 ] || return 0
  find /sys/fs/cgroup -maxdepth 3 -type d \
       \( -path '*/payload*' -o -name supervisor \) 2>/dev/null |
    sort -r | grep -vxF "$groups" | xargs -r rmdir 2>/dev/null
}

mkdir "$tmp/overlay" "$tmp/shared"
cp "$plugin_deb" "$ctl_deb" "$here/../packaging/in-container.sh" \
   "$SRCDIR/debian/tests/installed" "$SRCDIR/packaging/example.conf" \
   "$tmp/shared"

cat >"$tmp/container.sh" <<'END'
set -e
cd "$1"
shift
mount -t tmpfs -o mode=755 tmpfs overlay
mkdir overlay/upper overlay/work overlay/root
mount -t overlay -o lowerdir=/,upperdir=$PWD/overlay/upper,workdir=$PWD/overlay/work overlay overlay/root
root=$PWD/overlay/root
# Other file systems of the machine are not in it; these may not miss.
[ -x "$root/usr/bin/nbdkit" ] && [ -s "$root/var/lib/dpkg/status" ]
mv shared "$root/zram-test"
cat >"$root/etc/systemd/system/zram-test.service" <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
Environment=HOME=/root LC_ALL=C
ExecStart=/bin/bash /zram-test/in-container.sh
StandardOutput=file:/zram-test/log
StandardError=inherit
TimeoutStartSec=120
ExecStopPost=/bin/systemctl --no-block --force poweroff
UNIT
# What nspawn leaves in /run stays in here too.
mkdir -p /run/systemd/nspawn
mount -t tmpfs tmpfs /run/systemd/nspawn
status=0
timeout -k 10 180 systemd-nspawn "$@" --register=no --private-network \
  --link-journal=no -M "zram-test-$$" -D "$root" --boot -- \
  --unit=zram-test.service --show-status=no || status=$?
cp "$root/zram-test/log" . || :
exit $status
END
had_nspawn=no
[ ! -d /run/systemd/nspawn ] || had_nspawn=yes
status=0
unshare --mount --propagation private bash "$tmp/container.sh" "$tmp" \
        "${keep_unit[@]}" </dev/null >"$tmp/said" 2>&1 || status=$?
[ $had_nspawn = yes ] || rmdir /run/systemd/nspawn 2>/dev/null || :

# The first line is printed before anything of ours is used.
if ! grep -q '^init is systemd$' "$tmp/log" 2>/dev/null; then
  cat "$tmp/said"
  skip "no container here: $(grep -v '^[[:space:]]*$' "$tmp/said" | tail -n 1)"
fi
cat "$tmp/log"
[ "$(tail -n 1 "$tmp/log")" = "all is well" ] ||
  fail "in the container (status $status)"
