#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Strings from outside go into JSON, metrics, the log and onto the terminal
# each through one place, which makes them harmless (include/zram-shown.h).
# Whatever would go past it is found here; and that it is found is tried too.

# shellcheck disable=SC2046  # lists of files are words

set -u

failed=0

# never TREE WHAT REGEXP FILE...: no such line in these files but for comments.
never () {
  local tree=$1 what=$2 regexp=$3 found

  shift 3
  found=$(cd "$tree" && grep -nHE -- "$regexp" "$@" 2>/dev/null |
            grep -vE '^[^:]*:[0-9]+: *(/\*|\*)')
  [ -z "$found" ] || { echo "$what:"; echo "$found"; failed=1; }
}

# but NAME... < list: without these.
but () { grep -vxF "$(printf '%s\n' "$@")"; }

look () {
  local tree=$1 plugin server ctl

  mapfile -t plugin < <(cd "$tree" && find plugin -name '*.[ch]' | sort)
  mapfile -t server < <(cd "$tree" && find server -name '*.[ch]' | sort)
  mapfile -t ctl < <(cd "$tree" && find ctl -name '*.[ch]' | sort)

  never "$tree" "into JSON by reply.c only: json_value, json_message" \
    'json_(v?sprintf|string(n|_nocheck|n_nocheck)?) \(' \
    $(printf '%s\n' "${plugin[@]}" | but plugin/control/reply.c)
  never "$tree" "no string by json_pack: s:o and json_value" \
    's:s|"\[s[],?*+#% ]' $(printf '%s\n' "${plugin[@]}" "${ctl[@]}" | but ctl/client.c)
  never "$tree" "no string printed between quotes: text_value, label_value" \
    '\\"%[-.*0-9]*s|=\\"%' $(printf '%s\n' "${plugin[@]}" |
                               but plugin/control/metrics.c)
  never "$tree" "no string printed between quotes: label_value" \
    '\\"%[-.*0-9]*s' plugin/control/metrics.c
  never "$tree" "nbdkit's header by plugin/nbdkit.h only" \
    'include *<nbdkit' $(printf '%s\n' "${plugin[@]}" | but plugin/nbdkit.h)
  never "$tree" "into the log by nbdkit_error only" \
    '(^|[^a-z_])(v?fprintf|perror|v?syslog|fputs|warnx?|errx?) \(' \
    "${plugin[@]}"
  never "$tree" "nbdkit_error is log_error, but in log.c" \
    'undef *nbdkit|nbdkit_v?(error|debug) *[,;)]|nbdkit_v(error|debug)' \
    $(printf '%s\n' "${plugin[@]}" | but plugin/log.c)
  never "$tree" "onto the terminal by out.c only" \
    '(^|[^a-z_])(v?f?printf|f?puts|putchar|f?putc|fwrite|perror|dprintf) \(|json_dump|[^a-z_]write \(' \
    $(printf '%s\n' "${ctl[@]}" | but ctl/out.c ctl/client.c)
  never "$tree" "onto the terminal by out.c only" \
    '(^|[^a-z_])(v?f?printf|f?puts|putchar|f?putc|fwrite|perror|dprintf) \(|json_dumpf' \
    ctl/client.c
  never "$tree" "ncurses is for screen.c, which shows a canvas" \
    'include *<n?curses' $(printf '%s\n' "${ctl[@]}" | but ctl/screen.c)
  never "$tree" "ncurses shows cells only" \
    '(addn?w?str|printw|addw?ch|insn?str) \(' \
    $(printf '%s\n' "${ctl[@]}")
  never "$tree" "an argument goes into JSON by arg_string" \
    'json_string \(' $(printf '%s\n' "${ctl[@]}" | but ctl/args.c)
  never "$tree" "an errno in words by error_text only (base/error_text.h)" \
    '(^|[^a-z_])strerror(_r|_l|name_np)? *\(|%m([^a-z]|$)' \
    $(printf '%s\n' "${plugin[@]}" "${server[@]}" | but server/base/error_text.h)
}

look "$SRCDIR"
[ $failed = 0 ] || exit 1

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# caught FILE LINE: that line in that file is found.
caught () {
  rm -rf "$tmp/tree"
  mkdir -p "$tmp/tree/plugin/control" "$tmp/tree/server/base" "$tmp/tree/ctl"
  echo "$2" >"$tmp/tree/$1"
  failed=0
  look "$tmp/tree" >"$tmp/out"
  [ $failed = 1 ] || { echo "not noticed in $1: $2"; exit 1; }
}

caught plugin/control/x.c '  json_array_append_new (list, json_string (name));'
caught plugin/control/x.c '  return json_pack ("{s:I, s:s}", "a", n, "b", s);'
caught plugin/control/x.c '  return json_pack ("[s, i]", s, 1);'
caught plugin/control/x.c '  text_printf (out, ",\"codec\":\"%s\"}", name);'
caught plugin/control/metrics.c '  text_printf (out, "x{a=\"%s\"}", name);'
caught plugin/x.c '#include <nbdkit-plugin.h>'
caught plugin/x.c '  fprintf (stderr, "%s", path);'
caught plugin/x.c '#undef nbdkit_error'
caught plugin/x.c '  nbdkit_verror (format, args);'
caught ctl/x.c '  printf ("%s\n", answer_string (a, "b"));'
caught ctl/x.c '  json_dumpf (answer, stdout, 0);'
caught ctl/x.c '  fputs (message, stderr);'
caught ctl/client.c '  fprintf (stderr, "%s", message);'
caught ctl/x.c '#include <curses.h>'
caught ctl/screen.c '  mvaddstr (0, 0, message);'
caught ctl/x.c '  json_object_set_new (params, "type", json_string (v));'
caught server/base/x.c '  snprintf (buf, size, "%s", strerror (errno));'
caught server/base/x.c '  reason_set (why, "%s: %m", path);'
caught plugin/x.c '  nbdkit_error ("cannot start: %m");'
