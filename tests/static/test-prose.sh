#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Plain English: words that make a sentence hard to read do not come back.  Each
# .c file of server/ and plugin/ opens with a comment of at most two lines: what
# it is, and which header has its contract.  The test first checks that it
# notices each of these faults.

set -e

words="shall|in vain|nobody's|whoever|who holds"

# Names in JSON and the message of a job: clients compare them.
names='"in vain\\?"|; [0-9]+ in vain,|" in vain, %"'

# files TREE EXTENSION...: the files in TREE with these extensions, without this
# test.
files () {
  local tree=$1 ext names=() f

  shift
  for ext; do names+=(-o -name "*.$ext"); done
  (cd "$tree" &&
   find . -path ./build -prune -o -path ./.git -prune -o \
        -type f \( "${names[@]:1}" -o -path './scripts/*' ! -name '*.*' \) -print) | sed 's,^\./,,' | sort |
    while read -r f; do
      [ "$f" = tests/static/test-prose.sh ] || echo "$f"
    done
}

# complain TREE: a line for each fault.
complain () {
  local tree=$1 f

  files "$tree" c h py sh md pod | while read -r f; do
    grep -niwE -- "$words" "$tree/$f" | grep -vE -- "$names" | sed "s,^,$f:," ||
      true
  done
  files "$tree" c | grep -E '^(server|plugin)/' | while read -r f; do
    # The first comment after the licence: closed by its third line at the
    # latest, and naming a header.
    sed -n '2,4p' "$tree/$f" |
      awk 'NR == 1 && !/^\/\* [A-Za-z]/ { exit 1 }
           { text = text $0 }
           /\*\/$/ { found = 1; exit }
           END { exit !(found && text ~ /Contract: [a-z0-9_\/]*\.h/) }' ||
      echo "$f: does not open with what it is and \"Contract: HEADER.h.\""
  done
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# must_notice WHAT FILE TEXT
must_notice () {
  rm -rf "$tmp/tree"
  mkdir -p "$tmp/tree/$(dirname "$2")"
  printf '%b' "$3" >"$tmp/tree/$2"
  if ! complain "$tmp/tree" | grep -q "^$2:"; then
    echo "not noticed: $1"
    exit 1
  fi
}

spdx='/* SPDX-License-Identifier: BSD-3-Clause */\n'
good=$spdx'/* A thing.\n * Contract: base/a.h.\n */\n'
IFS='|' read -ra list <<<"$words"
for word in "${list[@]}"; do
  must_notice "$word" docs/a.md "One line.\nThis $word be a fault.\n"
done
must_notice "a word in capitals" scripts/a.py '# Whoever.\n'
must_notice "a word in a script without extension" scripts/run '# Whoever.\n'
must_notice "a word beside a name" docs/a.md 'x "in vain"\nWhoever.\n'
must_notice "no opening comment" server/base/a.c "$spdx\n#include <config.h>\n"
must_notice "no contract" server/base/a.c "$spdx/* A thing. */\n"
must_notice "no contract in plugin" plugin/control/a.c "$spdx/* A thing. */\n"
must_notice "a long comment" server/base/a.c \
  "$spdx/* A thing.\n * It\n * is.\n * Contract: base/a.h.\n */\n"
must_notice "a drawing in it" server/base/a.c "$spdx/*\n * A. Contract: a.h.\n */\n"

rm -rf "$tmp/tree"
mkdir -p "$tmp/tree/server/base"
printf '%b' "$good" >"$tmp/tree/server/base/a.c"
[ -z "$(complain "$tmp/tree")" ] ||
  { echo "complains of a good file:"; complain "$tmp/tree"; exit 1; }

complain "$SRCDIR" >"$tmp/out"
if [ -s "$tmp/out" ]; then
  cat "$tmp/out"
  exit 1
fi
[ "$(files "$SRCDIR" c h py sh md pod | wc -l)" -gt 200 ] ||
  { echo "looked at too few files"; exit 1; }
