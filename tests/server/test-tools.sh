#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The tools of other projects against the plugin, and nbdkit's own ways of
# listening and filtering in front of it.

. "$(dirname "$0")/lib.sh"
requires nbdcopy --version
requires nbdinfo --version
requires qemu-img --version
requires_nbd_python
# Refused clients make nbdkit print an error's text.  After that, under the
# address sanitizer, it waits for ever in p11-kit's exit handler, with any
# plugin.
if sanitized; then skip "nbdkit under a sanitizer does not end after an error"; fi
read -r -a nbdsh <<<"${NBDSH:-$PYTHON -m nbd}"
export PATH="$PATH:/usr/sbin:/sbin"

extra=
clean_up ()
{
  local p
  for p in $extra; do kill -9 "$p" 2>/dev/null; done
  mountpoint -q "$tmp/fuse" 2>/dev/null && umount -l "$tmp/fuse"
  return 0
}

# not_here WHAT REASON: a part that cannot run on this machine
not_here () { echo "left out: $1: needs $2"; }

has () { command -v "$1" >/dev/null; }

# serve OPTION...: without -U; the caller's options say where it listens
serve ()
{
  local i
  nserver=$((nserver + 1))
  log="$tmp/log$nserver"
  "$NBDKIT" -f -P "$tmp/pid$nserver" -D zram.audit=1 "$@" \
            </dev/null >"$log" 2>&1 &
  job=$! pid=$!
  for ((i = 0; i < 600; i++)); do
    if [ -s "$tmp/pid$nserver" ]; then return 0; fi
    running "$job" || break
    sleep 0.05
  done
  fail "nbdkit $* did not start"
}

make_image "$tmp/image" $((8 << 20))
there_and_back ()
{
  rm -f "$tmp/copy"
  nbdcopy "$tmp/image" "$1"
  nbdcopy "$1" "$tmp/copy"
  cmp "$tmp/image" "$tmp/copy" || fail "$1"
}

echo "nbdsh, nbdinfo"
start_nbdkit "$PLUGIN" 8M
"${nbdsh[@]}" -u "$uri" -c 'h.pwrite(b"abc" * 5000, 77)' \
  -c 'assert h.pread(15000, 77) == b"abc" * 5000' \
  -c 'h.zero(15000, 77); assert h.pread(15000, 77) == bytes(15000)'
[ "$(nbdinfo --size "$uri")" = $((8 << 20)) ] || fail "nbdinfo --size"
nbdinfo --list "$uri" | grep 'export-size: 8388608' >/dev/null || fail "nbdinfo --list"
there_and_back "$uri"

if has nbd-client; then
  echo "nbd-client -l"
  nbd-client -l -unix "$sock" >"$tmp/list" 2>&1 || :
  port="$(free_port)"
  stop_nbdkit
  serve -i 127.0.0.1 -p "$port" "$PLUGIN" 8M
  nbd-client -l 127.0.0.1 "$port" >"$tmp/list" 2>&1 ||
    fail "nbd-client -l: $(cat "$tmp/list")"
  echo "TCP"
  there_and_back "nbd://127.0.0.1:$port"
else
  not_here "nbd-client -l" nbd-client
fi
stop_nbdkit

if has psktool; then
  echo "TLS with a pre-shared key"
  psktool -u alice -p "$tmp/keys.psk" >"$tmp/said" 2>&1
  start_nbdkit --tls=require --tls-psk="$tmp/keys.psk" "$PLUGIN" 8M
  there_and_back "nbds+unix://alice@/?socket=$sock&tls-psk-file=$tmp/keys.psk"
  ! nbdinfo "$uri" >"$tmp/said" 2>&1 || fail "connected without TLS"
  stop_nbdkit
else
  not_here "TLS with a pre-shared key" psktool
fi

if has certtool; then
  echo "TLS with certificates"
  mkdir "$tmp/pki"
  (
    cd "$tmp/pki"
    printf 'cn = "test authority"\nca\ncert_signing_key\n' >ca.info
    printf 'cn = "localhost"\ndns_name = "localhost"\nip_address = "127.0.0.1"
tls_www_server\nencryption_key\nsigning_key\n' >server.info
    for who in ca server; do
      certtool --generate-privkey --key-type=ecdsa --outfile $who-key.pem
    done
    certtool --generate-self-signed --load-privkey ca-key.pem \
             --template ca.info --outfile ca-cert.pem
    certtool --generate-certificate --load-privkey server-key.pem \
             --load-ca-certificate ca-cert.pem --load-ca-privkey ca-key.pem \
             --template server.info --outfile server-cert.pem
  ) >"$tmp/said" 2>&1 || fail "certtool: $(tail -n 5 "$tmp/said")"
  port="$(free_port)"
  serve -i 127.0.0.1 -p "$port" --tls=require --tls-certificates="$tmp/pki" \
        "$PLUGIN" 8M
  mkdir "$tmp/trusted"
  cp "$tmp/pki/ca-cert.pem" "$tmp/trusted/"
  there_and_back "nbds://localhost:$port/?tls-certificates=$tmp/trusted"
  stop_nbdkit
else
  not_here "TLS with certificates" certtool
fi

echo "vsock"
port="$(free_port)"
"$NBDKIT" -f --vsock -p "$port" -P "$tmp/vsock.pid" "$PLUGIN" 8M \
          </dev/null >"$tmp/vsock.log" 2>&1 &
extra=$!
for ((i = 0; i < 600; i++)); do
  [ ! -s "$tmp/vsock.pid" ] && running "$extra" || break
  sleep 0.05
done
if [ ! -s "$tmp/vsock.pid" ]; then
  # The option was understood, but the kernel lacks it.
  grep -q 'bind_vsock' "$tmp/vsock.log" ||
    fail "--vsock: $(cat "$tmp/vsock.log")"
  not_here vsock "it in the kernel: $(tail -n 1 "$tmp/vsock.log")"
else
  # The address 1 is this machine, if the kernel supports that.
  if nbdinfo --size "nbd+vsock://1:$port" >"$tmp/said" 2>&1; then
    there_and_back "nbd+vsock://1:$port"
  else
    not_here "I/O over vsock" "a loopback of it: $(tail -n 1 "$tmp/said")"
  fi
  kill "$extra"
  wait "$extra" || fail "vsock: $(cat "$tmp/vsock.log")"
fi
extra=

echo "socket activation"
"$PYTHON" - "$NBDKIT" "$PLUGIN" <<'END'
import sys, nbd
h = nbd.NBD()
h.connect_systemd_socket_activation([sys.argv[1], "-f", sys.argv[2], "8M"])
h.pwrite(b"x" * 9999, 4095)
assert h.pread(9999, 4095) == b"x" * 9999
h.shutdown()
END

echo "filter cow: what is written stays in the filter"
start_nbdkit --filter=cow "$PLUGIN" 8M control="$tmp/control"
there_and_back "$uri"
stored="$("${NBDZRAMCTL:-nbdzramctl}" -s "$tmp/control" mm_stat |
          awk '{ print $1 }')"
[ "$stored" = 0 ] || fail "cow let $stored bytes through"
stop_nbdkit

echo "filter limit"
start_nbdkit --filter=limit "$PLUGIN" 8M limit=1
py <<'END'
try:
    connect(sys.argv[1]).pread(512, 0)
    sys.exit("a second client was let in")
except nbd.Error:
    pass
h.pwrite(b"y" * 512, 0)
h.shutdown()
END
stop_nbdkit

echo "filter ip"
port="$(free_port)"
serve -i 127.0.0.1 -p "$port" --filter=ip "$PLUGIN" 8M allow=anyipv4 deny=all
there_and_back "nbd://127.0.0.1:$port"
stop_nbdkit
serve -i 127.0.0.1 -p "$port" --filter=ip "$PLUGIN" 8M deny=anyipv4
! nbdinfo "nbd://127.0.0.1:$port" >"$tmp/said" 2>&1 || fail "ip let us in"
stop_nbdkit

echo "filter partition"
start_nbdkit --filter=partition "$PLUGIN" 8M partition=1
# An empty disk has no partition.
! nbdinfo "$uri" >"$tmp/said" 2>&1 || fail "found a partition"
stop_nbdkit

# The filter reads the table when a client connects.  So the disk with the table
# belongs to another server, reached by nbdkit's nbd plugin.
echo "filter partition with real I/O"
serve -U "$tmp/whole" "$PLUGIN" 32M
whole=$pid whole_job=$job whole_log=$log
"$PYTHON" - "$tmp/whole" <<'END'
import struct, sys, nbd
h = nbd.NBD()
h.connect_unix(sys.argv[1])
part = lambda first, n: struct.pack("<B3sB3sII", 0, b"\0" * 3, 0x83, b"\0" * 3,
                                    first, n)
h.pwrite(b"\0" * 446 + part(2048, 16384) + part(18432, 16384) + b"\0" * 32
         + b"\x55\xaa", 0)
h.pwrite(b"before" * 100, (2048 << 9) - 600)
h.pwrite(b"behind" * 100, 18432 << 9)
END
job=
PLUGIN=nbd start_nbdkit --filter=partition nbd socket="$tmp/whole" partition=1
[ "$(nbdinfo --size "$uri")" = $((16384 << 9)) ] || fail "partition's size"
there_and_back "$uri"
PLUGIN=nbd stop_nbdkit
pid=$whole job=$whole_job log=$whole_log
nbdcopy "nbd+unix:///?socket=$tmp/whole" "$tmp/all"
cmp -n $((16384 << 9)) -i $((2048 << 9)):0 "$tmp/all" "$tmp/image" ||
  fail "the partition is not where the table says"
"$PYTHON" - "$tmp/all" <<'END'
import sys
d = open(sys.argv[1], "rb").read()
assert d[(2048 << 9) - 600:2048 << 9] == b"before" * 100
assert d[18432 << 9:(18432 << 9) + 600] == b"behind" * 100
END
stop_nbdkit

echo "filter exitlast"
start_nbdkit --filter=exitlast "$PLUGIN" 8M
size="$(nbdinfo --size "$uri")"
[ "$size" = $((8 << 20)) ] || fail "size $size"
wait_nbdkit "nothing, its last client gone" 60

if ! has nbdfuse || ! [ -w /dev/fuse ]; then
  not_here nbdfuse "nbdfuse and /dev/fuse"
else
  echo "nbdfuse"
  mkdir "$tmp/fuse"
  start_nbdkit "$PLUGIN" 64M
  nbdfuse "$tmp/fuse" "$uri" >"$tmp/said" 2>&1 &
  extra=$!
  for ((i = 0; i < 600; i++)); do
    [ ! -e "$tmp/fuse/nbd" ] || break
    running "$extra" || break
    sleep 0.1
  done
  if [ -e "$tmp/fuse/nbd" ]; then
    dd if="$tmp/image" of="$tmp/fuse/nbd" bs=64k conv=notrunc 2>"$tmp/said"
    cmp -n $((8 << 20)) "$tmp/image" "$tmp/fuse/nbd" || fail "nbdfuse"
    if has mke2fs && has e2fsck && has debugfs; then
      mke2fs -q -t ext4 -F "$tmp/fuse/nbd"
      debugfs -w -R "write $tmp/image image" "$tmp/fuse/nbd" >"$tmp/said" 2>&1
      e2fsck -fn "$tmp/fuse/nbd" >"$tmp/said" 2>&1 ||
        fail "e2fsck: $(cat "$tmp/said")"
      debugfs -R "dump image $tmp/dumped" "$tmp/fuse/nbd" >"$tmp/said" 2>&1
      cmp "$tmp/image" "$tmp/dumped" || fail "file in ext4 in nbdfuse"
    fi
    umount "$tmp/fuse" || fail "umount"
    wait "$extra" || fail "nbdfuse: $(cat "$tmp/said")"
  else
    not_here nbdfuse "a mount of FUSE: $(tail -n 1 "$tmp/said")"
  fi
  extra=
  stop_nbdkit
fi
