#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# nbdzramctl top and map on a terminal: driven in tmux and compared with the
# screens that known content must give; resized, quit and interrupted; the
# progress bar of long work.

. "$(dirname "$0")/lib.sh"
requires_nbd_python
requires tmux -V
requires cc --version
CTL="${NBDZRAMCTL:-nbdzramctl}"
unset NBDZRAM_SOCKET LINES COLUMNS TMUX

nterminal=0
mux () { tmux -S "$tmp/tmux$nterminal" -f /dev/null -u "$@"; }

end_mux ()
{
  local status=$?

  set +e
  trap - ERR
  mux kill-server 2>/dev/null
  (exit $status)                # end_test looks at it
  end_test
}
trap end_mux EXIT

# terminal LOCALE: a shell in 80x24, which shows only its prompt.
terminal ()
{
  mux kill-server 2>/dev/null || :
  nterminal=$((nterminal + 1))
  LC_ALL="$1" mux new-session -d -x 80 -y 24 "exec sh"
  until_screen '^[#$]'
}

type_line () { mux send-keys -l "$1"; mux send-keys Enter; }

# until_screen REGEXP: waits up to a minute; that is no measurement.
until_screen ()
{
  local i
  for ((i = 0; i < 600; i++)); do
    if grep -qE -- "$1" <<<"$(mux capture-pane -p)"; then return 0; fi
    sleep 0.1
  done
  mux capture-pane -p
  fail "no '$1' on the screen"
}

# Parts that differ each time: times, the name of the socket, the length that
# the line of ratios has reached.
masked ()
{
  mux capture-pane -p |
    sed -E -e 's/^[^ ]*control +/CONTROL /' -e 's/, up [0-9:]+,/, up T,/' \
        -e 's/^last [0-9.]+s */last T /' -e 's/((█)+|#+)$/BAR/' \
        -e '${/^$/d}'
}

# same_screen FUNCTION: waits until the screen equals the function's output.
same_screen ()
{
  local i
  for ((i = 0; i < 600; i++)); do
    "$1" >"$tmp/want"
    masked >"$tmp/got"
    ! cmp -s "$tmp/want" "$tmp/got" || return 0
    sleep 0.1
  done
  diff -u "$tmp/want" "$tmp/got" || :
  fail "not the screen of $1"
}

# The terminal is restored: the shell's screen, its cursor and settings.
restored ()
{
  until_screen "^status $1\$"
  [ "$(mux display-message -p '#{alternate_on} #{cursor_flag}')" = "0 1" ] ||
    fail "the screen was not given back"
  type_line 'stty -g | cksum; echo stty-done'
  until_screen '^stty-done'
  [[ $(mux capture-pane -p) == *"$before"* ]] ||
    fail "the terminal's settings were not given back"
}

# run_in LOCALE COMMAND...: in a new terminal.
run_in ()
{
  terminal "$1"
  type_line 'stty -g | cksum; echo ready'
  until_screen '^ready'
  before="$(mux capture-pane -p | grep -E '^[0-9]+ [0-9]+$')"
  type_line "clear; $2; echo status \$?"
}

# ------------------------------------------------------------------------
# The disk has as many slots as an 80x24 map has cells: 18 rows of 71.

cc -shared -fPIC -o "$tmp/hold.so" "$here/hold-decommit.c" -ldl
export HOLD_DECOMMIT="$tmp/hold"
control="$tmp/control"
LD_PRELOAD="$tmp/hold.so" start_nbdkit "$PLUGIN" $((71 * 18 * 4096)) \
  workers=2 mem_limit=16M compact_threshold=0 control="$control"

py <<'END'
rng = random.Random(1)
def row(n, parts):
    for i in range(71):
        k = 512 * parts
        h.pwrite(rng.randbytes(k) + bytes(4096 - k), (n * 71 + i) * 4096)
h.pwrite(b"abcdefgh" * (71 * 512), 71 * 4096)
row(2, 1)
row(3, 3)
row(4, 6)
row(5, 8)
row(6, 8)
# A single slot at either end.
h.pwrite(rng.randbytes(4096), 0)
h.pwrite(b"x" * 4096, (71 * 18 - 1) * 4096)
h.shutdown()
END
"$CTL" -s "$control" idle range 426-496 >/dev/null

# times N CHARACTER
times () { printf "%$1s" "" | sed "s/ /$2/g"; }

# map_screen EMPTY GOOD FAIR POOR HUGE
map_screen ()
{
  local e="$1" good="$2" fair="$3" poor="$4" huge="$5" row
  local at=(0B 284K 568K 852K 1.1M 1.4M 1.7M 1.9M 2.2M 2.5M 2.8M 3.1M 3.3M
            3.6M 3.9M 4.2M 4.4M 4.7M)
  local cells=("$huge$(times 70 "$e")" "$(times 71 =)" "$(times 71 "$good")"
               "$(times 71 "$fair")" "$(times 71 "$poor")"
               "$(times 71 "$huge")" "$(times 71 i)")
  echo "CONTROL 5M, slots of 4K, a cell is 4K"
  echo
  for row in {0..17}; do
    printf '%8s %s\n' "${at[row]}" \
           "$(case $row in
                [0-6]) echo "${cells[row]}" ;;
                17) echo "$(times 70 "$e")=" ;;
                *) times 71 "$e" ;;
              esac | sed -E 's/((█)+|#+)$/BAR/')"
  done
  echo
  echo "$e empty  = same  $good >= 4:1  $fair >= 2:1  $poor < 2:1  $huge huge" \
       " i idle  b backed"
  echo
  echo "q quit   space look again"
}
map_utf8 () { map_screen · ░ ▒ ▓ █; }
map_ascii () { map_screen . - + '*' '#'; }

# sed works on bytes in the C locale, and bytes are compared.
echo "map, UTF-8"
run_in C.UTF-8 "'$CTL' -s '$control' map 0.2"
same_screen map_utf8

echo "map follows the disk"
py <<'END'
h.trim(71 * 4096, 71 * 4096)
h.shutdown()
END
until_screen '^    284K (·){71}$'
py <<'END'
h.pwrite(b"abcdefgh" * (71 * 512), 71 * 4096)
h.shutdown()
END
same_screen map_utf8

echo "map follows the window"
mux resize-window -x 111 -y 20
until_screen '^    408K ={40}(░){62}$'
mux resize-window -x 22 -y 6
until_screen '^      0B'
mux resize-window -x 1 -y 1
mux resize-window -x 2 -y 2
until_screen '^(·|=|░|▒|▓|█|i)+$'
mux resize-window -x 80 -y 24
same_screen map_utf8
mux send-keys q
restored 0

echo "map, C"
run_in C "'$CTL' -s '$control' map 0.2"
same_screen map_ascii
mux send-keys C-c
restored 0

# ------------------------------------------------------------------------

# Sizes in the table's notation; test-ctl.py compares that with bytes.
top_screen ()
{
  local t b classes
  read -r -a t < <("$CTL" -s "$control" -n)
  read -r -a b < <("$CTL" -s "$control" -n -b)
  local percent=$(((200 * b[7] + b[8]) / (2 * b[8])))
  local full=$(((48 * b[7] + b[8]) / (2 * b[8])))
  local kind

  echo "CONTROL 5M, lz4 level 1, up T, 0 clients"
  echo
  echo "last T ops/s   bytes/s        p50       p95       p99       max"
  for kind in read write discard; do
    printf '%-10s         0        0B          -         -         -         -\n' \
           "$kind"
  done
  for kind in flush compress decompress "lock wait"; do
    printf '%-10s         0                    -         -         -         -\n' \
           "$kind"
  done
  echo
  echo "Memory    [$(times $full '#')$(times $((24 - full)) -)] ${t[7]} of 16M" \
       "($percent%), at most ${t[9]} so far"
  echo "Data      ${t[2]} compressed to ${t[3]}; pages: 72 same, 143 huge"
  printf 'Ratio     %6s BAR\n' "${t[11]}"
  echo "Streams   [$(times 24 -)] 0 of 2 busy"
  echo "Passes    compaction idle: 0 passes, 0 pages freed, $freeable to be had"
  echo
  echo "class  pages objects used               class  pages objects used"
  # Four kinds of objects; those of 4096 bytes take most.
  head -n 5 "$tmp/classes"
  for ((classes = $(wc -l <"$tmp/classes"); classes < 5; classes++)); do
    echo
  done
  echo "q quit   space look again"
}

# Nothing is written any more, so classes stay unchanged: sorted by pages, then
# by size, two on a line.
"$CTL" -s "$control" classes |
  awk '$1 ~ /^[0-9]+$/ && $16 > 0 { print $16, $2, $14, $15 }' |
  sort -k1,1nr -k2,2n |
  awk '{
         n = int ($4 / $3 * 17 + 0.5)
         if ($4 < $3 && n >= 17)
           n = 16
         bar = substr ("#################", 1, n) \
               substr ("-----------------", 1, 17 - n)
         entry = sprintf ("%5d %6d [%s] %3.0f%%", $2, $1, bar, 100 * $4 / $3)
         if (NR % 2)
           line = sprintf ("%-40s", entry)
         else {
           print line entry
           line = ""
         }
       }
       END { if (line) { sub (/ *$/, "", line); print line } }' >"$tmp/classes"
[ "$(wc -l <"$tmp/classes")" -ge 2 ] || fail "few classes"
freeable="$("$CTL" -s "$control" classes | awk '$1 == "Total" { print $NF }')"

for locale in C.UTF-8 C; do
  echo "top, $locale"
  run_in $locale "'$CTL' -s '$control' top 0.3"
  same_screen top_screen
  if [ $locale = C ]; then mux send-keys C-c; else mux send-keys q; fi
  restored 0
done

echo "top follows the traffic, the window, and the server"
run_in C.UTF-8 "'$CTL' -s '$control' top 0.2"
until_screen '^last'
"$PYTHON" - "$sock" "$tmp/stop" <<'END' &
import os, sys
from zramtest import *
h = connect(sys.argv[1])
while not os.path.exists(sys.argv[2]):
    h.pread(4096, 0)
    h.pwrite(b"abcdefgh" * 512, 71 * 4096)
END
traffic=$!
until_screen 'up [0-9:]+, 1 client$'
until_screen '^read +[0-9.]+[kM]? +[0-9.]+[KMG] +[0-9.]+(ns|us|ms) '
until_screen '^write +[0-9.]+[kM]? +[0-9.]+[KMG] +[0-9.]+(ns|us|ms) '
mux resize-window -x 130 -y 40
until_screen '^(class  pages objects used *){3}$'
mux resize-window -x 20 -y 5
until_screen '^Memory [0-9.]+[KM] of 16M$'
mux resize-window -x 6 -y 2
until_screen '^[0-9.]+%$|^[0-9.]+[KM] [0-9]+%$'
# (Not every terminal can show its last cell, and this one is all of it.)
mux resize-window -x 1 -y 1
mux resize-window -x 1 -y 2
until_screen '^[0-9]$'
mux resize-window -x 80 -y 24
until_screen '^class  pages objects used +class'
touch "$tmp/stop"
wait $traffic
same_screen top_screen
# top_lives: it is among the processes.
top_lives ()
{
  local all
  all="$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ')" || :
  [[ $all == *"-s $control top"* ]]
}
top_lives || fail "where is top?"
mux kill-session
for ((i = 0; i < 300; i++)); do
  top_lives || break
  sleep 0.1
done
! top_lives || fail "top lives on without its terminal"

# ------------------------------------------------------------------------

echo "the progress bar"
py <<'END'
rng = random.Random(2)
for i in range(71 * 18):
    k = rng.choice((100, 500, 1000, 1700))
    h.pwrite(rng.randbytes(k) + bytes(4096 - k), i * 4096)
for i in range(71 * 18):
    if i % 4:
        h.trim(4096, i * 4096)
h.shutdown()
END
touch "$HOLD_DECOMMIT"
run_in C.UTF-8 "'$CTL' -s '$control' compact"
bar='^compact \[#*-+\] +[0-9]+% [0-9]+/[0-9]+ pages, [0-9.]+k?/s, (\?|[0-9:]+) left$'
until_screen "$bar"
until_screen "$bar"
[ "$(mux capture-pane -p | grep -c '^compact')" = 1 ] || fail "more than a bar"
mux resize-window -x 45 -y 24
until_screen '^ *[0-9]+% [0-9]+/[0-9]+ pages'
mux resize-window -x 80 -y 24
until_screen "$bar"
mux send-keys C-c
until_screen '/[0-9]+ pages, cancelling$'
rm "$HOLD_DECOMMIT"
until_screen '^compact: cancelled after .* pages freed'
until_screen '^nbdzramctl: compact cancelled$'
restored 1
if grep -qE "$bar" <<<"$(mux capture-pane -p)"; then fail "the bar is still there"; fi

# An audit that waits for a discard still shows progress, and is cancelled.
touch "$HOLD_DECOMMIT"
py <<'END' &
h.trim(71 * 9 * 4096, 0)
h.shutdown()
END
discard=$!
for ((i = 0; i < 600; i++)); do
  [ ! -e "$HOLD_DECOMMIT.held" ] || break
  sleep 0.1
done
run_in C.UTF-8 "'$CTL' -s '$control' audit"
until_screen '^audit \[-+\] +0% 0/[0-9]+ slots'
mux send-keys C-c
until_screen '/[0-9]+ slots, cancelling$'
rm "$HOLD_DECOMMIT"
wait $discard || fail "the discard"
until_screen '^audit: cancelled after .* nothing wrong in 0 slots$'
until_screen '^nbdzramctl: audit cancelled$'
restored 1

# ------------------------------------------------------------------------

echo "the server goes away"
run_in C.UTF-8 "'$CTL' -s '$control' top 0.2"
until_screen '^last'
stop_nbdkit
until_screen '^nbdzramctl: lost the server at '
restored 3
