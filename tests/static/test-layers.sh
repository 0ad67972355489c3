#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# No floor of the house includes a higher one; and the checker itself notices
# when one does.

set -e

check=$SRCDIR/scripts/check-layers
"$check"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# must_fail WHAT FILE FIRST-LINE INCLUDE...
must_fail () {
  local what=$1 file=$2 line

  rm -rf "$tmp/tree"
  mkdir -p "$tmp/tree/$(dirname "$file")"
  shift 2
  for line; do echo "$line"; done >"$tmp/tree/$file"
  if "$check" --tree "$tmp/tree" >"$tmp/out" 2>&1; then
    echo "check-layers did not notice: $what"
    exit 1
  fi
  grep -qF "$file:" "$tmp/out" || { cat "$tmp/out"; exit 1; }
}

spdx='/* SPDX-License-Identifier: BSD-3-Clause */'
config='#include <config.h>'

must_fail "base includes store" server/base/x.h "$spdx" '#include "store/slot.h"'
must_fail "mem includes comp" server/mem/x.h "$spdx" '#include "comp/zcomp.h"'
must_fail "comp includes mem" server/comp/x.h "$spdx" '# include "mem/pool.h"'
must_fail "store includes maint" server/store/x.h "$spdx" \
  '#include "maint/compactor.h"'
must_fail "the engine includes nbdkit" server/maint/x.h "$spdx" \
  '#include <nbdkit-plugin.h>'
must_fail "the engine includes the plugin" server/base/x.h "$spdx" \
  '#include "../plugin/config.h"'
must_fail "a path that is not relative to server/" server/base/x.h "$spdx" \
  '#include "mutex.h"'
must_fail "include/ includes a floor" include/x.h "$spdx" \
  '#include "base/check.h"'
must_fail "the control tool includes the engine" ctl/x.h "$spdx" \
  '#include "store/query.h"'
must_fail "no licence" server/base/x.h '#include "base/mutex.h"'
must_fail "config.h is not first" server/base/x.c "$spdx" '#include <stdio.h>' \
  "$config"

# And what is right passes.
rm -rf "$tmp/tree"
mkdir -p "$tmp/tree/server/maint"
printf '%s\n' "$spdx" "$config" '#include "base/mutex.h"' \
  '#include "store/store.h"' >"$tmp/tree/server/maint/x.c"
"$check" --tree "$tmp/tree"
