#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# `make rpm`: the spec builds packages, rpmlint has nothing to say, each has
# what belongs in it and no more, and what is in them works, unpacked.  On a
# Debian system that is as far as it can be tried.

. "$(dirname "$0")/../server/lib.sh"
build="${BUILDDIR:-$(dirname "$NBDKIT")}"
rm -rf "$build/rpm"
# rpm keeps a data base in the home of those who are not on a system of its kind.
export HOME="$tmp"
requires rpmbuild --version
requires nbdinfo --version

version="$(sed -n 's/^#define PACKAGE_VERSION "\(.*\)"$/\1/p' \
               "$build/config.h")"

echo "make rpm"
# What it needs came from packages of another kind.
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$build" rpm \
  RPMBUILD_FLAGS=--nodeps >"$tmp/rpm.log" 2>&1 ||
  fail "$(tail -n 40 "$tmp/rpm.log")"

cd "$build/rpm"
query () { rpm -qp "$@"; }
arch="$(rpm --eval '%{_target_cpu}')"
plugin_rpm="nbdkit-zram-plugin-$version-1.$arch.rpm"
ctl_rpm="nbdzramctl-$version-1.$arch.rpm"
source_rpm="nbdkit-zram-plugin-$version-1.src.rpm"

if command -v rpmlint >/dev/null; then
  echo "rpmlint"
  rpmlint -c "$SRCDIR/packaging/rpmlint.toml" ./*.rpm >"$tmp/said" 2>&1 ||
    fail "$(cat "$tmp/said")"
  ! grep -E ': [EW]: ' "$tmp/said" || fail "rpmlint"
else
  echo "left out: needs rpmlint"
fi

echo "contents"
plugindir="$(pkg-config nbdkit --variable=plugindir)"
# contents PACKAGE: without documents, and what rpm itself makes
contents ()
{
  query -l "$1" | grep -v -e '^/usr/share/doc/' -e '^/usr/share/licenses/' \
                          -e '^/usr/lib/\.build-id' -e '/debug' |
    sed 's/\(\.1\)\.[a-z0-9]*$/\1/' | sort
}
diff - <(contents "$plugin_rpm") <<END || fail "$plugin_rpm"
/etc/nbdkit-zram
/usr/lib/systemd/system/nbdkit-zram@.service
/usr/lib/systemd/system/nbdkit-zram@.socket
$plugindir/nbdkit-zram-plugin.so
/usr/share/man/man1/nbdkit-zram-plugin.1
END
diff - <(contents "$ctl_rpm") <<END || fail "$ctl_rpm"
/usr/bin/nbdzramctl
/usr/share/bash-completion/completions/nbdzramctl
/usr/share/man/man1/nbdzramctl.1
END
query -l "$plugin_rpm" | grep '/examples/example.conf$' >/dev/null || fail "no example"
diff - <(query -l "$source_rpm" | sort) <<END || fail "$source_rpm"
nbdkit-zram-plugin-$version.tar.gz
nbdkit-zram-plugin.spec
END

echo "dependencies"
# What configure asks for, of nbdkit to run and of all to build.
query --requires "$source_rpm" >"$tmp/requires"
sed -n 's/^ZRAM_REQUIRE([^[]*\[[A-Z0-9]*\], \[\([^]]*\)\].*/\1/p' \
    "$SRCDIR/configure.ac" >"$tmp/modules"
[ "$(wc -l <"$tmp/modules")" -gt 5 ] || fail "no modules in configure.ac"
while read -r module more; do
  grep -qxF "pkgconfig($module) $more" "$tmp/requires" ||
    fail "configure wants $module $more"
done <"$tmp/modules"
needed="$(sed -n 's/^nbdkit >= //p' "$tmp/modules")"
query --requires "$plugin_rpm" | grep "^nbdkit-server.* >= $needed\$" >/dev/null ||
  fail "no nbdkit-server >= $needed"

echo "used"
if command -v rpm2cpio >/dev/null && command -v cpio >/dev/null; then
  mkdir "$tmp/root"
  for package in "$plugin_rpm" "$ctl_rpm"; do
    rpm2cpio "$package" | (cd "$tmp/root" && cpio -id --quiet)
  done
  NBDKIT_ZRAM_PLUGIN="$tmp/root$plugindir/nbdkit-zram-plugin.so" \
  NBDZRAMCTL="$tmp/root/usr/bin/nbdzramctl" \
    "$SRCDIR/debian/tests/installed" >"$tmp/said" 2>&1 ||
    fail "debian/tests/installed: $(tail -n 20 "$tmp/said")"
  grep -qx "zram $version" "$tmp/said" || fail "$(head -n 3 "$tmp/said")"
else
  echo "left out: needs cpio"
fi
