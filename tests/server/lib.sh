# SPDX-License-Identifier: BSD-3-Clause
#
# Shared by the shell tests of this folder.  A test begins with
#
#   . "$(dirname "$0")/lib.sh"
#
# and then has a temporary folder as $tmp, at most one server at a time ($pid,
# $uri, $sock, $log), and is ended by the first command that fails.
#
# The environment (the automake harness sets it; every variable has a default so
# that a test can be run by hand):
#
#   NBDKIT          the nbdkit that knows our plugin by the name "zram"
#   PLUGIN          the plugin under test (zram)
#   SRCDIR          top of the source tree
#   PYTHON          a python3 that has the nbd module
#   ZRAM_SANITIZER  not empty when the plugin was built with one

set -eEu -o pipefail
export LC_ALL=C

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export NBDKIT="${NBDKIT:-nbdkit}"
export PLUGIN="${PLUGIN:-zram}"
export SRCDIR="${SRCDIR:-$(cd "$here/../.." && pwd)}"
export PYTHON="${PYTHON:-/usr/bin/python3}"
export ZRAM_SANITIZER="${ZRAM_SANITIZER:-}"
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONDONTWRITEBYTECODE=1

# Unix socket paths are short, so they are never below $PWD.
tmp="$(mktemp -d "${TMPDIR:-/tmp}/zram-test.XXXXXX")"
pid= job= uri= sock= log=
nserver=0

# A sanitizer, an assertion or the C library prints this when it kills.
bad_log='Sanitizer|runtime error:|Assertion|double free|corrupted'
bad_log+='|audit:|still running'

# Other things that a test has made besides its server; the test may define it.
clean_up ()
{
  :
}

end_test ()
{
  local status=$?

  trap - EXIT INT TERM HUP ERR
  set +e
  if [ -n "$job" ] && kill -0 "$job" 2>/dev/null; then
    kill -9 "$pid" "$job" 2>/dev/null
    wait "$job" 2>/dev/null
  fi
  if [ $status -ne 0 ] && [ $status -ne 77 ] && [ -s "$log" ]; then
    echo "--- server log"
    tail -n 60 "$log"
  fi
  clean_up
  rm -rf "$tmp"
  exit $status
}
trap end_test EXIT
trap 'echo "line $LINENO: status $?: $BASH_COMMAND"' ERR
trap 'exit 130' INT TERM HUP

fail ()
{
  echo "FAIL: $*"
  exit 1
}

skip ()
{
  echo "SKIP: $*"
  exit 77
}

# requires COMMAND...: skips the test when the command fails.
requires ()
{
  "$@" </dev/null >/dev/null 2>&1 || skip "needs '$*'"
}

requires_nbd_python ()
{
  requires "$PYTHON" -c 'import nbd'
}

# With a sanitizer, the memory of the process is not only the plugin's.
sanitized ()
{
  [ -n "$ZRAM_SANITIZER" ]
}

# Does it exist, and is it not a zombie?
running ()
{
  local state
  state="$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c 1)" || :
  [ -n "$state" ] && [ "$state" != Z ]
}

# listens SOCKET: clients can connect.  The socket exists some time before that.
# It does not connect, because some servers would count that as a client.
listens ()
{
  awk -v sock="$1" '$4 == "00010000" && $8 == sock { found = 1 }
                    END { exit !found }' /proc/net/unix
}

# pid_in FILE: $pid from the file, if that is written already
pid_in ()
{
  local said
  said="$(cat "$1" 2>/dev/null)" && [ -n "$said" ] || return 1
  pid="$said"
}

# wait_pid_in FILE: an nbdkit in the background writes it after the command that
# started it has returned.
wait_pid_in ()
{
  local i
  for ((i = 0; i < 1200; i++)); do
    if pid_in "$1"; then return 0; fi
    sleep 0.05
  done
  fail "no pid in $1"
}

# free_port [ADDRESS]: a port where no server listens, and that the kernel gives
# to no outgoing connection meanwhile.
free_port ()
{
  "$PYTHON" -c 'import sys
from freeport import free_port
print(free_port(sys.argv[1]))' "${1:-127.0.0.1}"
}

# start_nbdkit [NBDKIT-OPTION...] PLUGIN KEY=VALUE...
start_nbdkit ()
{
  [ -z "$job" ] || stop_nbdkit
  nserver=$((nserver + 1))
  sock="$tmp/sock$nserver"
  log="$tmp/log$nserver"
  uri="nbd+unix:///?socket=$sock"
  local audit=()
  # The plugin's auditor, at the end, aborts if anything is not sound.
  [ "$PLUGIN" != zram ] || audit=(-D zram.audit=1)
  # The server must not keep a pipe of the test open.
  "$NBDKIT" -f -P "$tmp/pid$nserver" -U "$sock" "${audit[@]}" "$@" \
            </dev/null >"$log" 2>&1 &
  job=$!
  pid=$job

  local i
  for ((i = 0; i < 2400; i++)); do
    if [ -S "$sock" ] && pid_in "$tmp/pid$nserver"; then return 0; fi
    running "$job" || break
    sleep 0.05
  done
  fail "nbdkit $* did not start"
}

# check_log: no sanitizer report and no assertion in the server's log.
check_log ()
{
  if grep -qE "$bad_log" "$log"; then
    fail "the server's log has a report"
  fi
}

# wait_nbdkit SIGNAL SECONDS: after the signal was sent, the server must exit
# with status 0 and leave a clean log.
wait_nbdkit ()
{
  local i status=0

  for ((i = 0; i < $2 * 20; i++)); do
    running "$job" || break
    sleep 0.05
  done
  if running "$job"; then
    fail "the server did not exit within $2 s of SIG$1"
  fi
  wait "$job" || status=$?
  [ $status -eq 0 ] || fail "the server exited with status $status"
  check_log
  job= pid=
}

# stop_nbdkit [SIGNAL [SECONDS]]
stop_nbdkit ()
{
  local status=0

  running "$job" || { wait "$job" || status=$?;
                      fail "the server had died, status $status"; }
  kill "-${1:-TERM}" "$pid"
  wait_nbdkit "${1:-TERM}" "${2:-60}"
}

# Of the running server, in KiB.
rss ()
{
  awk '/^VmRSS:/ { print $2 }' "/proc/$pid/status"
}

# py [ARGUMENT...] <SCRIPT: python with all of zramtest and `h` connected.
py ()
{
  { printf '%s\n' 'from zramtest import *' 'h = connect(sys.argv[1])'
    cat; } >"$tmp/script.py"
  "$PYTHON" "$tmp/script.py" "$sock" "$@"
}

# make_image FILE BYTES [SEED]: text, noise, fills and holes mixed.
make_image ()
{
  "$PYTHON" "$here/zramtest.py" image "$@"
}
