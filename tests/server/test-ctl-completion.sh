#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# nbdzramctl's completion in bash: verbs, options, values, sockets, and the
# algorithms of the server that was named; nothing that it does not know.

. "$(dirname "$0")/lib.sh"
CTL="${NBDZRAMCTL:-nbdzramctl}"
unset NBDZRAM_SOCKET

. "$SRCDIR/ctl/completion/nbdzramctl"
complete -p nbdzramctl >/dev/null || fail "nothing is registered"
function="$(complete -p nbdzramctl | sed 's/.*-F \([^ ]*\).*/\1/')"

# If compgen finds nothing, the test has not failed.
set +E
# Outside a completion compopt fails, which does not matter here.
compopt () { :; }

# completes EXPECTED WORD...: the last word is the part typed so far.
completes ()
{
  local want="$1"
  shift
  COMP_WORDS=("$CTL" "$@")
  COMP_CWORD=$#
  COMPREPLY=()
  "$function"
  local got
  got="$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs)"
  want="$(printf '%s\n' $want | sort | xargs)"
  [ "$got" = "$want" ] || fail "after '$*': got '$got' and not '$want'"
}

# Everything that --help lists is completed.
verbs="$("$CTL" --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z_]*\) .*/\1/p')"
[ "$(wc -w <<<"$verbs")" -gt 15 ] || fail "verbs: $verbs"
options="$("$CTL" --help | sed -n '/^Options:/,/^$/p' |
           sed -nE 's/^  (-[a-zA-Z]), (--[a-z]+).*/\1 \2/p')"
[ "$(wc -w <<<"$options")" -ge 12 ] || fail "options: $options"
completes "$verbs" ''
completes "$options" -
completes "$(tr ' ' '\n' <<<"$options" | grep '^--')" --
completes "mem_limit mem_used_max" mem
completes "$verbs" --json ''
completes "compact" --json -s /tmp/x comp
completes "" frob

completes "all range" idle ''
completes "all" idle a
completes "" idle all ''
completes "reset" mem_used_max ''
completes "" mem_limit ''
completes "--force --json" reset -
completes "--deep --json" audit --
completes "" audit ''
completes "--once --json" top -
completes "--once" map --o
completes "--json" mm_stat --

# Sockets are files.
touch "$tmp/one.sock" "$tmp/two.sock"
completes "$tmp/one.sock $tmp/two.sock" -s "$tmp/"
completes "$tmp/two.sock" --socket "$tmp/t"

# Algorithms: the server's; without one, all.
completes "lz4 lz4hc zstd deflate" -s "$tmp/nobody" algorithm ''
completes "lz4 lz4hc" algorithm l
requires_nbd_python
start_nbdkit "$PLUGIN" 1M algorithm=lz4hc control="$tmp/control"
names="$("$NBDKIT" zram --dump-plugin | sed -n 's/^zram_algorithms=//p')"
completes "$names" -s "$tmp/control" algorithm ''
completes "zstd" -s "$tmp/control" algorithm z
completes "" -s "$tmp/control" algorithm zstd ''
stop_nbdkit

# A server that answers with a command: it is not run.
cat >"$tmp/hostile.py" <<'END'
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
while True:
    f = s.accept()[0].makefile("rwb")
    for line in f:
        q = json.loads(line)
        name = "$(touch${IFS}%s)" % sys.argv[2]
        f.write(json.dumps({"id": q["id"], "result": {
            "protocol": 1, "algorithm": name, "level": 1,
            "available": [name, "`touch${IFS}%s`" % sys.argv[2], "lz4"]}}
            ).encode() + b"\n")
        f.flush()
END
"$PYTHON" "$tmp/hostile.py" "$tmp/hostile" "$tmp/ran" &
hostile=$!
for ((i = 0; i < 600; i++)); do
  ! listens "$tmp/hostile" || break
  sleep 0.1
done
completes "lz4" -s "$tmp/hostile" algorithm l
kill $hostile
[ ! -e "$tmp/ran" ] || fail "completion ran what a server said"

# Also with bash's own machinery: a shell that is typed into.
if ! command -v tmux >/dev/null; then
  skip "typed into a shell: needs tmux (the rest has passed)"
fi
mux () { tmux -S "$tmp/tmux" -f /dev/null "$@"; }
mux new-session -d -x 80 -y 24 "exec bash --norc --noprofile"
mux send-keys -l "PS1='ready> '; . '$SRCDIR/ctl/completion/nbdzramctl'; clear"
mux send-keys Enter
# until_screen REGEXP
until_screen ()
{
  local i
  for ((i = 0; i < 600; i++)); do
    if grep -qE -- "$1" <<<"$(mux capture-pane -p)"; then return 0; fi
    sleep 0.1
  done
  mux capture-pane -p
  mux kill-server
  fail "no '$1' on the screen"
}
until_screen '^ready> *$'
mux send-keys -l 'nbdzramctl mem_l'
mux send-keys Tab
mux send-keys -l '1'
until_screen '^ready> nbdzramctl mem_limit 1'
mux send-keys C-u
mux send-keys -l "nbdzramctl -s $tmp/on"
mux send-keys Tab
mux send-keys -l 'blo'
mux send-keys Tab
until_screen "^ready> nbdzramctl -s $tmp/one.sock block_state"
mux kill-server
