#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The kernel's client, attached again as soon as it lost its server: by
# `nbd-client -persist`, and by a loop around that, for with Linux 6.1 nbd-client
# 3.24 ends all the same.  The server is killed; with marker= the next does not
# start, so what the guest reads and writes fails, for as long as it tries.  When
# it has stopped that, and the file was removed, there is a new, empty disk.

. "$(dirname "$0")/guest.sh"
requires_guest nbd-client
guest_programs="nbd-client"
guest_modules+=" nbd"

marker="$tmp/marker"
start_tcp 64M marker="$marker"
start_guest <<END
port=$port
$(cat <<'SCRIPT'
nbd=/usr/sbin/nbd-client
while :; do
  $nbd 10.0.2.2 $port /dev/nbd0 -nonetlink -nofork -persist >/dev/null 2>&1 || :
  sleep 0.3
done &
loop=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
  [ "$(cat /sys/block/nbd0/size)" = 0 ] || break
  sleep 1
done
dd if=/dev/urandom of=/tmp/known bs=64k count=16 2>/dev/null
dd if=/tmp/known of=/dev/nbd0 bs=64k oflag=direct 2>/dev/null
dd if=/dev/nbd0 bs=64k count=16 iflag=direct 2>/dev/null | cmp - /tmp/known
ask kill
# Errors, or no answer yet; never anything else.
fine=0 errors=0
for i in 1 2 3 4 5 6 7 8; do
  for how in "if=/dev/nbd0 of=/tmp/got iflag=direct" \
             "if=/tmp/known of=/dev/nbd0 oflag=direct"; do
    if timeout 10 dd bs=4k count=1 $how 2>/dev/null &&
       [ "$(cat /sys/block/nbd0/size)" != 0 ]; then
      fine=$((fine + 1))
    else
      errors=$((errors + 1))
    fi
  done
  sleep 1
done
ask "errors $errors fine $fine"
[ $fine = 0 ] || fail "$fine requests met another disk"
kill $loop
ask restart
$nbd 10.0.2.2 $port /dev/nbd1 >/dev/null
dd if=/dev/nbd1 bs=64k 2>/dev/null | tr -d '\000' | wc -c >/tmp/n
[ "$(cat /tmp/n)" = 0 ] || fail "$(cat /tmp/n) bytes of an empty disk"
$nbd -d /dev/nbd1 >/dev/null
SCRIPT
)
END

await kill 300
kill_nbdkit
go
# A supervisor that starts it again and again, as none should.
refused=0
until grep -q '^errors' "$tmp/asked"; do
  running "$qemu" || guest_failed "the guest has ended"
  status=0
  timeout 60 "$NBDKIT" -f -i 127.0.0.1 -p "$port" "$PLUGIN" 64M \
          marker="$marker" </dev/null >"$tmp/said" 2>&1 || status=$?
  grep -q 'the disk that was served before is gone' "$tmp/said" ||
    fail "status $status: $(cat "$tmp/said")"
  refused=$((refused + 1))
  sleep 0.2
done
echo "refused $refused times; $(grep '^errors' "$tmp/asked")"
[ $refused -gt 2 ] || fail "the next server was not tried often enough"
go
await restart 300
rm "$marker"
start_tcp 64M marker="$marker"
go
end_guest 300
stop_nbdkit
