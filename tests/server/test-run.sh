#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# scripts/run: serves on its socket and on TCP, refuses a second server, passes
# on nbdkit's message about a bad key, clears away what a killed one left, and
# stops cleanly.  It runs on a copy of the build tree's ./nbdkit, so that no
# other test's build/run is in the way.

set -u

run=$SRCDIR/scripts/run
tmp=$(mktemp -d "${TMPDIR:-/tmp}/zram-run.XXXXXX")
export ZRAM_BUILD=$tmp
ln -s "$NBDKIT" "$tmp/nbdkit"
job=

# shellcheck disable=SC2317
end () {
  [ -z "$job" ] || kill -KILL "$job"
  rm -rf "$tmp"
} 2>/dev/null
trap end EXIT

fail () {
  echo "FAILED: $*"
  for f in "$tmp"/*.log; do echo "--- $f"; cat "$f"; done
  exit 1
}

"$PYTHON" -c 'import nbd' || { echo "skipped: no nbd module"; exit 77; }
for c in nbdinfo nbdcopy flock perl; do
  command -v $c >/dev/null || { echo "skipped: no $c"; exit 77; }
done

# start NAME ARGUMENT...: waits until it says that it serves.
start () {
  local log=$tmp/$1.log

  shift
  # A shell starts background commands with SIGINT ignored.
  env --default-signal=INT "$run" "$@" >"$log" 2>&1 &
  job=$!
  for ((i = 0; i < 600; i++)); do
    ! grep -qs '^Ctrl-C' "$log" || return 0
    kill -0 $job 2>/dev/null || fail "scripts/run $* ended"
    sleep 0.1
  done
  fail "scripts/run $* does not serve"
}

# stop SIGNAL: must end with status 0 and leave nothing except its lock.
stop () {
  kill -"$1" $job
  wait $job
  status=$?
  job=
  [ $status = 0 ] || fail "status $status after SIG$1"
  [ "$(ls "$tmp/run")" = lock ] || fail "left: $(ls "$tmp/run")"
}

uri="nbd+unix:///?socket=$tmp/run/zram.sock"

# Serves the size and the keys that it was given, and prints lines to paste.
start one 64M algorithm=zstd
[ "$(nbdinfo --size "$uri")" = 67108864 ] || fail "size"
for word in "$uri" nbd-client qemu-system nbdcopy nbdzramctl; do
  grep -qF "$word" "$tmp/one.log" || fail "does not print $word"
done
[ "$(stat -c %a "$tmp/run")" = 700 ] || fail "others may enter $tmp/run"

# nbdzramctl can reach it.
ctl=${NBDZRAMCTL:-nbdzramctl}
"$ctl" -s "$tmp/run/control.sock" -n -b >"$tmp/ctl.log" 2>&1 ||
  fail "nbdzramctl"
grep -qw 67108864 "$tmp/ctl.log" || fail "nbdzramctl sees another disk"

# A second one is refused and does not disturb the first.
if "$run" 1M >"$tmp/two.log" 2>&1; then fail "a second one started"; fi
grep -qF "served already: $uri" "$tmp/two.log" || fail "second one's message"
[ "$(nbdinfo --size "$uri")" = 67108864 ] || fail "first one is gone"
stop TERM

# Default size.  Ctrl-C with a client that is connected and idle.
start default
[ "$(nbdinfo --size "$uri")" = 1073741824 ] || fail "default size"
mkfifo "$tmp/talk"
"$PYTHON" -c 'import nbd, sys
h = nbd.NBD ()
h.connect_uri (sys.argv[1])
print ("connected", flush = True)
h.poll (-1)' "$uri" >"$tmp/talk" 2>"$tmp/client.log" &
client=$!
read -r <"$tmp/talk" || fail "client"
stop INT
kill $client 2>/dev/null

# A bad key: only nbdkit's message, and its status.
if "$run" 1M frobnicate=1 >"$tmp/bad.log" 2>&1; then fail "bad key accepted"; fi
[ "$(wc -l <"$tmp/bad.log")" = 1 ] && grep -q frobnicate "$tmp/bad.log" ||
  fail "message for a bad key"

# The script is killed outright: its server ends by itself.  The socket that it
# leaves does not matter.
start killed 1M
kill -KILL $job
wait $job 2>/dev/null
job=
flock -w 60 "$tmp/run/lock" true || fail "the server outlives its script"
[ -S "$tmp/run/zram.sock" ] || fail "no stale socket to test with"
start again 1M
[ "$(nbdinfo --size "$uri")" = 1048576 ] || fail "size after a stale socket"
stop TERM

# TCP beside the Unix socket: the same disk.
for ((i = 0; i < 20; i++)); do
  port=$((20000 + RANDOM % 20000))
  # Taken?  Then a connection succeeds.
  (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
done
start tcp --port $port 1M
head -c 1048576 /dev/urandom >"$tmp/in"
nbdcopy "$tmp/in" "$uri" || fail "nbdcopy in"
nbdcopy "nbd://127.0.0.1:$port" "$tmp/out" || fail "nbdcopy out over TCP"
cmp "$tmp/in" "$tmp/out" || fail "not the same disk"
if ZRAM_BUILD=$(mktemp -d "$tmp/other.XXXXXX") && ln -s "$NBDKIT" \
   "$ZRAM_BUILD/nbdkit" && "$run" --port $port 1M >"$tmp/taken.log" 2>&1; then
  fail "a port that is taken"
fi
grep -q "port $port" "$tmp/taken.log" || fail "message for a taken port"
stop INT

for bad in 0 65536 http -1; do
  if "$run" --port "$bad" >"$tmp/port.log" 2>&1; then fail "--port $bad"; fi
  grep -qe "--port $bad" "$tmp/port.log" || fail "message for --port $bad"
done
echo "scripts/run: all right"
