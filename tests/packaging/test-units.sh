#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The systemd units without an init that would run them: systemd finds nothing
# wrong with them and enough that is locked; and their command line, with the
# example configuration, is started by its socket.

. "$(dirname "$0")/../server/lib.sh"
requires systemd-analyze --version
requires systemd-socket-activate --version
requires nbdinfo --version

units="${BUILDDIR:-$(dirname "$NBDKIT")}/packaging"
service="nbdkit-zram@.service" socket="nbdkit-zram@.socket"
[ -s "$units/$service" ] || skip "configured without units"
mkdir "$tmp/units"
cp "$units/$service" "$units/$socket" "$tmp/units"
cd "$tmp/units"
! grep -H '[@][A-Za-z_]*[@]' ./* || fail "not substituted"

activator=
clean_up ()
{
  [ -z "$activator" ] || kill -9 "$activator" 2>/dev/null
}

echo "systemd-analyze verify"
systemd-analyze verify --man=no "./$service" "./$socket" >"$tmp/said" 2>&1 ||
  fail "verify: $(cat "$tmp/said")"
# It may fail for other units of the machine, and exits with 0 for ours.
! grep nbdkit-zram "$tmp/said" || fail "verify"

if systemd-analyze --help | grep -e --offline >/dev/null; then
  echo "systemd-analyze security"
  systemd-analyze --no-pager security --offline=true --threshold=20 \
                  "./$service" >"$tmp/said" 2>&1 ||
    fail "exposed: $(grep -v '^+' "$tmp/said")"
else
  echo "left out: systemd-analyze security: needs systemd 250"
fi

# value KEY FILE
value ()
{
  sed -n "s/^$1=//p" "$2"
}

# Of the example, what it sets and what it only shows.
configure_example ()
{
  local example="$SRCDIR/packaging/example.conf"
  case $1 in
    set) grep -v '^#' "$example" >"$tmp/conf" ;;
    shown) sed -n 's/^#\([A-Z_]*=\)/\1/p' "$example" >"$tmp/conf"
           value_of_set="$(grep '^SIZE=' "$example")"
           echo "$value_of_set" >>"$tmp/conf" ;;
  esac
  sed -i "s|/var/cache/nbdkit-zram/NAME|$tmp/cache|" "$tmp/conf"
}

# variable NAME: what the configuration says, or else the unit
variable ()
{
  local in_unit
  in_unit="$(value "Environment=$1" "$service")"
  if grep -q "^$1=" "$tmp/conf"; then
    value "$1" "$tmp/conf"
  else
    echo "$in_unit" | sed "s|%S|$tmp/state|; s|%i|disk|"
  fi
}

# The words of ExecStart= as systemd makes them.
command_line ()
{
  local word
  for word in $(value ExecStart "$service"); do
    word="${word//%t/$tmp/run}"
    word="${word//%i/disk}"
    case $word in
      # The first word is the system's nbdkit, ours knows the plugin.
      "$program") echo "$NBDKIT" ;;
      '$'[A-Z]*) variable "${word#?}" | tr ' ' '\n' | grep . || : ;;
      *'${SIZE}'*) echo "${word//'${SIZE}'/$(value SIZE "$tmp/conf")}" ;;
      *'$'*) fail "what is $word?" ;;
      *'%'*) fail "what is $word?" ;;
      *) echo "$word" ;;
    esac
  done
}

program="$(value ExecStart "$service" | cut -d ' ' -f 1)"
[ -x "$program" ] || fail "$program is not there"
mkdir -p "$tmp/run/nbdkit-zram/disk" "$tmp/state/nbdkit-zram/disk" "$tmp/cache"
marker="$tmp/state/nbdkit-zram/disk/marker"
# The socket unit looks for the same file.
grep -qxF "AssertPathExists=!$(value Environment=MARKER "$service" |
                               sed 's/^marker=//')" "$socket" ||
  fail "the units have different markers"
listen="$(value ListenStream "$socket")"
listen="${listen//%t/$tmp/run}"
sock="${listen//%i/disk}"
uri="nbd+unix:///?socket=$sock"
control="$tmp/run/nbdkit-zram/disk/control.sock"

for what in set shown; do
  echo "ExecStart= with what the example has $what"
  configure_example $what
  mapfile -t words < <(command_line)
  echo "${words[*]}"
  log="$tmp/log"
  systemd-socket-activate -l "$sock" "${words[@]}" </dev/null >"$log" 2>&1 &
  activator=$!
  for ((i = 0; i < 600; i++)); do
    if listens "$sock"; then break; fi
    running "$activator" || fail "systemd-socket-activate"
    sleep 0.05
  done
  # It becomes nbdkit when the first client comes.
  [ "$(nbdinfo --size "$uri")" = $((8 << 30)) ] || fail "size"
  grep -q nbdkit "/proc/$activator/cmdline"
  [ "$("${NBDZRAMCTL:-nbdzramctl}" -s "$control" mem_limit)" != 0 ]
  if [ $what = shown ]; then
    [ -s "$tmp/cache/store" ] || fail "no store"
    [ ! -e "$marker" ] || fail "a marker in spite of MARKER="
  else
    [ -s "$marker" ] || fail "no marker"
  fi
  kill "$activator"
  for ((i = 0; i < 1200; i++)); do
    running "$activator" || break
    sleep 0.05
  done
  wait "$activator" || fail "nbdkit: status $?"
  activator=
  check_log
  rm -f "$sock"
done
