#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Every key with good and bad values.  A bad one is answered by one line with
# the key, the value and the allowed values, and nothing starts.

. "$(dirname "$0")/lib.sh"
requires nbdinfo --version

ran="$tmp/ran"

# attempt ARGUMENT...: starts and at once stops a server; $status, $err
attempt ()
{
  status=0
  rm -f "$ran"
  timeout 60 "$NBDKIT" -U - "$PLUGIN" "$@" --run "touch $ran" \
          </dev/null >"$tmp/out" 2>"$tmp/err" || status=$?
  err="$(cat "$tmp/err")"
}

accept ()
{
  attempt "$@"
  [ $status -eq 0 ] && [ -e "$ran" ] ||
    fail "refused: $* (status $status): $err"
  [ -z "$err" ] || fail "accepted, but not in silence: $*: $err"
}

# accept_odd BYTES ARGUMENT...: a size that QEMU rounds up, with so many bytes
# behind the last whole sector, and one line that says so
accept_odd ()
{
  local behind="$1"
  shift
  attempt "$@"
  [ $status -eq 0 ] && [ -e "$ran" ] ||
    fail "refused: $* (status $status): $err"
  [ "$(wc -l <"$tmp/err")" -eq 1 ] &&
    [[ $err == *"warning: size="[0-9]*" 512"*"QEMU"*" last $behind bytes" ]] ||
    fail "accepted, but without a warning: $*: $err"
}

# refuse KEY VALUE ALLOWED ARGUMENT...: ALLOWED is a pattern that the message
# must match; KEY and VALUE must be in it unchanged.
refuse ()
{
  local key="$1" value="$2" allowed="$3"
  shift 3
  attempt "$@"
  [ ! -e "$ran" ] || fail "started: $*"
  [ $status -ne 0 ] && [ $status -lt 124 ] ||
    fail "$*: status $status: $err"
  [ "$(wc -l <"$tmp/err")" -eq 1 ] || fail "$*: not one line: $err"
  [[ $err == *"error: "* ]] || fail "$*: not an error: $err"
  [[ $err == *"$key"* ]] || fail "$*: key '$key' not named: $err"
  # The message without the key, so that the key cannot match for it.
  [[ ${err/"$key"/} == *"$value"* ]] || fail "$*: '$value' not named: $err"
  grep -qiE -- "$allowed" "$tmp/err" ||
    fail "$*: '$allowed' (what is allowed) not named: $err"
}

# bad KEY ALLOWED VALUE...: with a good size before it
bad ()
{
  local key="$1" allowed="$2" value
  shift 2
  for value; do
    refuse "$key" "$value" "$allowed" 1M "$key=$value"
  done
}

# either ARGUMENT...: works, or ends with one line of error
either ()
{
  attempt "$@"
  [ $status -eq 0 ] && return
  [ $status -lt 124 ] || fail "$*: status $status: $err"
  [ ! -e "$ran" ] || fail "ran in spite of the error: $*"
  [ "$(wc -l <"$tmp/err")" -eq 1 ] || fail "$*: not one line: $err"
}

range='[0-9].*( to |\.\.|-|–| and ).*[0-9]|at least|at most|must|expect'

# ---- size
accept 1M
accept size=1M
accept 512
accept 1025k
accept 1P
accept_odd 1 1
accept_odd 511 511
accept_odd 488 5k size=1000
accept_odd 1 513
accept_odd 511 9223372036854775807
refuse size '' size
[[ $err == *=* || $err == *size* ]] || fail "size missing: $err"
size_allowed='[0-9]|must|expect'
for v in 0 -1 9223372036854775808 8E 99999999999999999999 1x 1.5G ten; do
  refuse size "$v" "$size_allowed" "size=$v"
done
refuse size '' "$size_allowed" size=
# Given twice: the last one counts, or it is refused.
either 1M size=2M
if [ $status -eq 0 ]; then
  n="$("$NBDKIT" -U - "$PLUGIN" 1M size=2M --run 'nbdinfo --size "$uri"')"
  [ "$n" -eq 2097152 ] || fail "size given twice: neither refused nor last"
else
  [[ $err == *size* ]] || fail "size given twice: $err"
fi

# ---- slot_size
for v in 4k 8k 16k 32k 64k 4096 65536 4K 64K; do
  accept 1M slot_size=$v
done
bad slot_size '(4k|4096).*(64k|65536)' 2k 128k 5000 0 1 -4k 12k 4097 1G x ''

# ---- algorithm
for v in lz4 lz4hc zstd deflate; do
  accept 1M algorithm=$v
done
bad algorithm 'lz4.*lz4hc.*zstd.*deflate' \
    z lz lz4h lz4hcx zst ZSTD d none 1 '' 'lz4 ' 'lz4,zstd'

# ---- level: the range depends on the algorithm, in either order
accept 1M algorithm=lz4hc level=9
accept 1M level=9 algorithm=lz4hc
accept 1M algorithm=zstd level=1
accept 1M level=19 algorithm=zstd
accept 1M algorithm=deflate level=1
accept 1M algorithm=deflate level=12
accept 1M algorithm=lz4 level=1
for a in lz4 lz4hc zstd deflate; do
  for v in 1000000 99999999999999999999 x 1x ''; do
    refuse level "$v" "$range" 1M "algorithm=$a" "level=$v"
  done
done
refuse level 13 "$range" 1M algorithm=lz4hc level=13
refuse level 23 "$range" 1M algorithm=zstd level=23
refuse level 13 "$range" 1M algorithm=deflate level=13
refuse level 19 "$range" 1M level=19 algorithm=lz4hc
refuse level -1 "$range" 1M level=-1 algorithm=deflate

# ---- mem_limit
accept 1G mem_limit=64M
accept 1G mem_limit=1G
accept 9223372036854775296 mem_limit=64M
bad mem_limit "$range" 1 4095 -1 x 1x 9223372036854775808 ''
accept 1G write_buffer=0
accept 1G write_buffer=64M
accept 1M write_buffer=1T
accept 9223372036854775296 write_buffer=1G mem_limit=64M
bad write_buffer 'a size from 1M to 1T' 1 4095 -1 x 2T 9223372036854775808 ''

# ---- swap; the rest is in test-swap.sh
accept 1G swap=false
bad swap 'true or false' maybe 2 ''
refuse swap_reserve 1048576 'without swap=true' 1G swap_reserve=1M
refuse swap_reserve 1048576 'without swap=true' 1G swap=no swap_reserve=1M
refuse swap_reserve 2097153 'an eighth of mem_limit=16777216' \
       1G swap=true mem_limit=16M swap_reserve=2097153
refuse write_buffer 4194304 'must be 0 with swap=true' \
       1G swap=true write_buffer=4M
for v in -1 x 1x ''; do
  refuse swap_reserve "$v" 'must be a size' 1G swap=true "swap_reserve=$v"
done

# ---- backing: the message says what is wrong with it
f="$tmp/store"
accept 1G "backing=$f" backing_size=1M
accept 1G "backing=$f" backing_size=8M backing_timeout=1 mem_limit=64M
[ "$(stat -c %s "$f")" -eq $((8 << 20)) ] || fail "backing_size: size of file"
[ "$(stat -c %b "$f")" -lt 64 ] || fail "backing: the file is not sparse"
accept 1G "backing=$f"
accept 1G "backing=$f" backing_size=2M
(cd "$tmp" && accept 1G backing=./nbd:x backing_size=1M && [ -f nbd:x ]) ||
  fail "backing: path with a colon"
truncate -s 2000000 "$tmp/odd"
accept 1G "backing=$tmp/odd"

bad backing 'path or the URI of an NBD' ''
bad backing 'does not exist, and without backing_size' "$tmp/none"
bad backing 'nbd://.*nbd[+]unix://.*write ./' nbd:localhost:10809 nbd:unix:/x \
    http://x/y
# After printing the system's words for an error, any nbdkit hangs at its exit
# under the address sanitizer (in p11-kit's freelocale).
sanitized || refuse backing "$tmp/no/such" 'No such file' \
                    1G "backing=$tmp/no/such" backing_size=1M
bad backing 'is a directory: expected a file, a block device or an NBD' "$tmp"
bad backing 'character device: expected a file' /dev/null
mkfifo "$tmp/pipe"
bad backing 'is a pipe: expected a file' "$tmp/pipe"
truncate -s 100k "$tmp/small"
bad backing 'has 102400 bytes, fewer than.* 1048576' "$tmp/small"
[ ! -e "$tmp/none" ] || fail "backing: made a file without a size"

# One store, one server
start_nbdkit "$PLUGIN" 1M "backing=$f"
bad backing 'is locked: ' "$f"
stop_nbdkit

nbd="nbd+unix:///?socket=$tmp/nbd"
sanitized || bad backing 'No such file' "$nbd"
sanitized || bad backing 'refused' nbd://127.0.0.1:1
sanitized || bad backing 'socket' "nbd+unix:///?sock=$tmp/nbd" "nbd+unix:///"
bad backing 'absolute path' 'nbd+unix:///?socket=x'

# serve ARGUMENT...: an NBD server in the background
serve ()
{
  nbdkit -U "$tmp/nbd" -P "$tmp/nbd.pid" "$@"
}
unserve ()
{
  [ ! -s "$tmp/nbd.pid" ] || kill "$(cat "$tmp/nbd.pid")"
  rm -f "$tmp/nbd" "$tmp/nbd.pid"
}
clean_up ()
{
  unserve
}
serve memory 64k
bad backing 'has 65536 bytes, fewer than' "$nbd"
refuse backing "$nbd" '65536 bytes.*fewer than the 8388608 of backing_size' \
       1M "backing=$nbd" backing_size=8M
unserve
serve -r memory 8M
bad backing 'read-only' "$nbd"
unserve
serve memory 8M
accept 1M "backing=$nbd"
accept 1M "backing=$nbd" backing_size=4M
unserve

# ---- keys that belong to it
accept 1M writeback_limit=0 "backing=$f"
accept 1M evict_high=80
accept 1M evict_high=1
accept 1M evict_high=60 evict_low=60
for v in true false yes no 1 0 on off; do
  accept 1M promote=$v
done
bad backing_size 'at least 1M' 0 100k -1 x 1x ''
refuse backing_size 5000001 'multiple of 4096' \
       1M "backing=$f" backing_size=5000001
refuse backing_size 1073741824 'without backing=' 1M backing_size=1G
bad backing_timeout "$range" 0 3601 -1 x ''
bad writeback_limit '4 KiB' -1 x 1x ''
refuse writeback_limit 4 'without backing=' 1M writeback_limit=4
bad evict_high '1 to 100' 0 101 x ''
bad evict_low '1 to 100' 0 101 x ''
refuse evict_low 95 'evict_high=90' 1M evict_low=95
refuse evict_low 70 'evict_high=60' 1M evict_low=70 evict_high=60
bad promote 'true or false' maybe 2 ''

# ---- workers
accept 1M workers=1
accept 1M workers=2
accept 1M workers=256
bad workers "$range" 257 -1 x 1x 4294967297 ''
either 1M workers=0

# ---- compact_threshold, compact_pause
accept 1M compact_threshold=0
accept 1M compact_threshold=50
bad compact_threshold "$range" 101 -1 x 1x ''
accept 1M compact_pause=1
bad compact_pause "$range" -1 x ''

# ---- marker; the rest is in test-marker.py
accept 1M "marker=$tmp/marker"
(cd "$tmp" && accept 1M marker=marker)
[ ! -e "$tmp/marker" ] || fail "the marker of a disk that nobody wrote to"
bad marker 'must be the path of a file' ''
bad marker 'is there already, and is not a file' "$tmp" /dev/null "$tmp/pipe"
sanitized || bad marker 'cannot be made: No such file' "$tmp/no/such"
sanitized || bad marker 'cannot be made: File name too long' \
                 "$tmp/$(printf '%0300d' 0)"
# Root may write even in a folder without write permission; but not there.
sanitized || bad marker 'cannot be made: ' /proc/marker

# ---- an unknown key, or one that is nearly right
for k in foo siz slot mem SIZE allocatorr; do
  refuse "$k" bar 'algorithm|size' 1M "$k=bar"
done

# ---- --dump-plugin has facts for scripts
"$NBDKIT" "$PLUGIN" --dump-plugin >"$tmp/dump" </dev/null
fact ()
{
  sed -n "s/^$1=//p" "$tmp/dump"
}
[ "$(fact name)" = "$PLUGIN" ] || fail "dump-plugin: name"
[ "$(fact magic_config_key)" = size ] || fail "dump-plugin: magic key"
[ "$(fact thread_model)" = parallel ] || fail "dump-plugin: thread model"
[ "$(fact errno_is_preserved)" = 1 ] || fail "dump-plugin: errno"
for a in lz4 lz4hc zstd deflate; do
  fact zram_algorithms | tr ', ' '\n\n' | grep -x "$a" >/dev/null ||
    fail "dump-plugin: $a not in zram_algorithms"
done
case "$(fact zram_slot_size_max)" in
  65536|64k|64K) ;;
  *) fail "dump-plugin: zram_slot_size_max" ;;
esac
# Ours come after nbdkit's has_ lines and all begin with the name.
tac "$tmp/dump" | sed '/^has_/,$d' >"$tmp/own"
[ -s "$tmp/own" ] || fail "dump-plugin: no facts"
if grep -vE '^zram_[a-z0-9_]+=.+' "$tmp/own"; then
  fail "dump-plugin: lines above are not zram_KEY=VALUE"
fi
