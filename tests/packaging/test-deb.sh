#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `make deb`: the packages can be built, lintian has nothing to say, each has
# what belongs in it and no more, and what is in them works, unpacked in a
# folder.  Installed they are by test-deb-installed.sh, which takes them from
# deb/ of the build tree.

. "$(dirname "$0")/../server/lib.sh"
build="${BUILDDIR:-$(dirname "$NBDKIT")}"
rm -rf "$build/deb"
requires dpkg-buildpackage --version
requires which dh
lacks="$(dpkg-checkbuilddeps -Pnocheck "$SRCDIR/debian/control" 2>&1)" ||
  skip "$lacks"
requires nbdinfo --version

version="$(sed -n 's/^#define PACKAGE_VERSION "\(.*\)"$/\1/p' \
               "$build/config.h")"

echo "make deb"
# Neither the flags nor the tests of the make that runs this.
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$build" deb LINTIAN=: \
  >"$tmp/deb.log" 2>&1 || fail "$(tail -n 40 "$tmp/deb.log")"

cd "$build/deb"
arch="$(dpkg --print-architecture)"
plugin_deb="nbdkit-zram-plugin_${version}_$arch.deb"
ctl_deb="nbdzramctl_${version}_$arch.deb"

if command -v lintian >/dev/null; then
  echo "lintian"
  # Ubuntu's own rules are for what is uploaded there.
  lintian --profile debian --allow-root --fail-on error,warning ./*.changes \
    >"$tmp/said" 2>&1 || fail "$(cat "$tmp/said")"
else
  echo "left out: needs lintian"
fi

echo "contents"
plugindir="$(pkg-config nbdkit --variable=plugindir)"
# contents PACKAGE: its files except documents, and its folder of settings
contents ()
{
  dpkg-deb --fsys-tarfile "$1" | tar -t | sed 's|^\.||' |
    grep -e '[^/]$' -e '^/etc/..*/$' | grep -v '^/usr/share/doc/' | sort
}
diff - <(contents "$plugin_deb") <<END || fail "$plugin_deb"
/etc/nbdkit-zram/
/usr/lib/systemd/system/nbdkit-zram@.service
/usr/lib/systemd/system/nbdkit-zram@.socket
$plugindir/nbdkit-zram-plugin.so
/usr/share/man/man1/nbdkit-zram-plugin.1.gz
END
diff - <(contents "$ctl_deb") <<END || fail "$ctl_deb"
/usr/bin/nbdzramctl
/usr/share/bash-completion/completions/nbdzramctl
/usr/share/man/man1/nbdzramctl.1.gz
END

echo "dependencies"
# Of nbdkit, the version that configure asks for.
needed="$(sed -n 's/.*\[nbdkit >= \([0-9.]*\)\].*/\1/p' "$SRCDIR/configure.ac")"
depends="$(dpkg-deb -f "$plugin_deb" Depends)"
[[ "$depends" == *"nbdkit (>= $needed)"* ]] || fail "$depends"
for library in libdeflate libjansson liblz4 libmicrohttpd libnbd libzstd; do
  [[ "$depends" == *$library* ]] || fail "no $library in $depends"
done
depends="$(dpkg-deb -f "$ctl_deb" Depends)"
[[ "$depends" != *nbdkit* ]] || fail "nbdzramctl needs no nbdkit: $depends"

echo "hardening"
root="$tmp/root"
dpkg-deb -x "$plugin_deb" "$root"
dpkg-deb -x "$ctl_deb" "$root"
hardened ()
{
  readelf -W -l -d -h "$1" >"$tmp/elf"
  grep -q 'Type: *DYN' "$tmp/elf" || fail "$1: at a fixed address"
  grep -q 'GNU_RELRO' "$tmp/elf" || fail "$1: no relro"
  grep -q 'FLAGS.*NOW' "$tmp/elf" || fail "$1: not bound at once"
  ! grep 'GNU_STACK.* RWE ' "$tmp/elf" || fail "$1: executable stack"
  ! grep -E 'R(UN)?PATH' "$tmp/elf" || fail "$1: looks elsewhere for libraries"
}
hardened "$root$plugindir/nbdkit-zram-plugin.so"
hardened "$root/usr/bin/nbdzramctl"
! grep -rlF "$build" "$root" || fail "names the folder it was built in"

echo "used"
# The system's nbdkit: no sanitizer's runtime is in these.
NBDKIT_ZRAM_PLUGIN="$root$plugindir/nbdkit-zram-plugin.so" \
NBDZRAMCTL="$root/usr/bin/nbdzramctl" \
  "$SRCDIR/debian/tests/installed" >"$tmp/said" 2>&1 ||
  fail "debian/tests/installed: $(tail -n 20 "$tmp/said")"
grep -qx "zram $version" "$tmp/said" || fail "$(head -n 3 "$tmp/said")"
gzip -t "$root"/usr/share/man/man1/*.gz
cmp "$root/usr/share/bash-completion/completions/nbdzramctl" \
    "$SRCDIR/ctl/completion/nbdzramctl"
