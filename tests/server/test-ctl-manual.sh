#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# nbdzramctl's manual page: every example in it works unchanged (except the
# paths, and the test does not wait for a day).  The page, --help and the
# completion know the same verbs and options.

. "$(dirname "$0")/lib.sh"
CTL="${NBDZRAMCTL:-nbdzramctl}"
page="$SRCDIR/ctl/nbdzramctl.pod"
unset NBDZRAM_SOCKET LINES COLUMNS

# ---- the same words everywhere
help="$("$CTL" --help)"
verbs="$(sed -n '/^Verbs:/,/^$/s/^  \([a-z_]*\) .*/\1/p' <<<"$help" | sort)"
[ "$(wc -l <<<"$verbs")" -gt 15 ] || fail "verbs: $verbs"
items="$(sed -n 's/^=item B<\([a-z_]*\)>.*/\1/p' "$page" | sort -u)"
diff <(echo "$verbs") <(echo "$items") ||
  fail "verbs of --help (<) and items of the page (>)"
# The synopsis names them too.
synopsis="$(sed -n '/^=head1 SYNOPSIS/,/^=head1 DESCRIPTION/p' "$page")"
for verb in $verbs; do
  grep -qw -- "$verb" <<<"$synopsis" || fail "$verb is not in the synopsis"
done
options="$(sed -n '/^Options:/,/^$/s/^  \(-[a-zA-Z]\), \(--[a-z]*\).*/\1\n\2/p' \
           <<<"$help" | sort)"
items="$(sed -n '/^=head1 OPTIONS/,/^=head1 VERBS/s/^=item B<\(-[^>]*\)>.*/\1/p' \
         "$page" | sort)"
diff <(echo "$options") <(echo "$items") ||
  fail "options of --help (<) and items of the page (>)"

# ---- the examples, in their order
requires_nbd_python
start_nbdkit "$PLUGIN" 8G control="$tmp/zram.control" backing="$tmp/store" \
             backing_size=16M
py <<'END'
h.pwrite(Data(random.Random(1)).text(1 << 20), 0)
h.shutdown()
END
examples="$(sed -n '/^=head1 EXAMPLES/,/^=head1 OPTIONS/p' "$page" |
            sed -n 's/^ //p')
$(sed -n '/^=head1 DESCRIPTION/,/^=head1 EXAMPLES/s/^ //p' "$page")"
[ "$(wc -l <<<"$examples")" -ge 10 ] || fail "examples: $examples"
{
  echo "set -eu -o pipefail"
  echo "nbdzramctl () { '$CTL' \"\$@\"; }"
  echo "sleep () { :; }"
  # That server runs already: its line is checked below.
  grep -v '^nbdkit ' <<<"$examples" | sed "s,/run/,$tmp/,"
} >"$tmp/examples"
bash "$tmp/examples" >"$tmp/said" 2>&1 ||
  fail "$(cat "$tmp/examples" "$tmp/said")"
for words in 'NAME .* COMP-RATIO' '^on average' '^2147483648$' '\[zstd\]' \
             '^level: 6$' '^1: zstd, level 9$' \
             '^writeback: done after .* 0 failed$' '^262144$' \
             '^recompress: done after .* 0 failed$' '^train: done after ' \
             '^compact: done after ' '^256 slots marked idle$' \
             '^256$' '^ *1048576 '; do
  grep -q -- "$words" "$tmp/said" || fail "no '$words' in: $(cat "$tmp/said")"
done
stop_nbdkit

# The line that starts the server, too: in the background, as it says.
line="$(grep '^nbdkit ' <<<"$examples" | sed "s,/run/,$tmp/,g")"
[ "$(wc -l <<<"$line")" = 1 ] || fail "no line that starts nbdkit: $line"
eval "'$NBDKIT' -P '$tmp/pid' ${line#nbdkit }" >"$tmp/said" 2>&1 </dev/null ||
  fail "$line: $(cat "$tmp/said")"
wait_pid_in "$tmp/pid"
job=$pid                        # so that it is ended with the test
[ "$("$CTL" -s "$tmp/zram.control" workers)" -ge 1 ] || fail "workers"
kill "$pid"
for ((i = 0; i < 600; i++)); do
  [ -e "$tmp/zram.control" ] || break
  sleep 0.1
done
[ ! -e "$tmp/zram.control" ] || fail "the server of the example does not end"
pid= job=
