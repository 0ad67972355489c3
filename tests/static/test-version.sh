#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every file that says which version this is says what configure.ac does; all
# build dependencies that configure asks for are in debian/control, in the same
# versions.

set -e
cd "$SRCDIR"

version=$(sed -n 's/^AC_INIT(\[[^]]*\], \[\([^]]*\)\].*/\1/p' configure.ac)
[ -n "$version" ] || { echo "no version in configure.ac"; exit 1; }
failed=0

# says FILE WHAT: what it says of the version
says () {
  if [ "$2" != "$version" ]; then
    echo "$1: version '$2', but configure.ac has '$version'"
    failed=1
  fi
}

says debian/changelog "$(sed -n '1s/^[^ ]* (\([^)]*\)).*/\1/p' debian/changelog)"
says CHANGELOG.md "$(sed -n 's/^## \([^ ]*\).*/\1/p' CHANGELOG.md | head -n 1)"
says plugin/nbdkit-zram-plugin.pod \
  "$(sed -n 's/^C<nbdkit-zram-plugin> \([0-9.]*\) needs.*/\1/p' \
         plugin/nbdkit-zram-plugin.pod)"
# Everything else takes it from there.
if ! grep -q '^Version: *@VERSION@$' packaging/nbdkit-zram-plugin.spec.in; then
  echo "the spec has a version of its own"
  failed=1
fi

# ZRAM_REQUIRE([VARIABLE], [MODULE >= VERSION], [DEBIAN PACKAGE], ...
n=0
while read -r package needed; do
  n=$((n + 1))
  # ncurses' packages have another version than its pkg-config module.
  [ "$package" = libncurses-dev ] && line=" $package," ||
    line=" $package (>= $needed),"
  if ! grep -qxF "$line" debian/control; then
    echo "debian/control: no '$line', which configure asks for"
    failed=1
  fi
done < <(tr '\n' ' ' <configure.ac | sed 's/ZRAM_REQUIRE(/\n&/g' |
         sed -n 's/^ZRAM_REQUIRE(\[[A-Z0-9]*\], \[[^ ]* >= \([^]]*\)\], *\[\([^]]*\)\].*/\2 \1/p')
[ $n -gt 5 ] || { echo "no dependencies found in configure.ac"; failed=1; }

exit $failed
