#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# metrics=: the text served over HTTP passes promtool, also under load; other
# requests are refused; bad addresses are answered with one line of error.

. "$(dirname "$0")/lib.sh"
requires promtool --version
requires_nbd_python

# http METHOD URL [FILE]: prints the status, the body goes to FILE
http ()
{
  "$PYTHON" - "$@" <<'END'
import sys, urllib.error, urllib.request
method, url = sys.argv[1:3]
# A proxy in the environment is not for us.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    r = opener.open(urllib.request.Request(url, method=method), timeout=60)
except urllib.error.HTTPError as e:
    r = e
print(r.status, r.headers["Content-Type"])
with open(sys.argv[3] if len(sys.argv) > 3 else "/dev/null", "wb") as f:
    f.write(r.read())
END
}

# scrape URL FILE: fetch, and check with promtool, which is silent if all is
# well
scrape ()
{
  [[ "$(http GET "$1" "$2")" == "200 text/plain; version=0.0.4"* ]] ||
    fail "GET $1: not the text format"
  promtool check metrics <"$2" >"$tmp/said" 2>&1 ||
    fail "promtool: $(cat "$tmp/said")"
  [ ! -s "$tmp/said" ] || fail "promtool: $(cat "$tmp/said")"
}

# value FILE NAME
value ()
{
  awk -v name="$2" '$1 == name { print $2; n++ } END { exit n != 1 }' "$1" ||
    fail "not once in the metrics: $2"
}

# ---- the metrics
port="$(free_port)"
start_nbdkit "$PLUGIN" 64M mem_limit=32M metrics="$port" control="$tmp/control"
url="http://127.0.0.1:$port/metrics"
scrape "$url" "$tmp/m0"
[ "$(value "$tmp/m0" nbdzram_disk_size_bytes)" = 67108864 ] || fail "size"
[ "$(value "$tmp/m0" nbdzram_mem_limit_bytes)" = 33554432 ] || fail "limit"
[ "$(value "$tmp/m0" nbdzram_stored_slots)" = 0 ] || fail "slots"

py <<'END'
h.pwrite(random.Random(1).randbytes(4096), 8192)
# Zeros count if the table has a place for them.
h.pwrite(b"\0" * 8192, 0)
h.pread(4096, 0)
END
scrape "$url" "$tmp/m1"
[ "$(value "$tmp/m1" nbdzram_stored_slots)" = 3 ] || fail "slots"
[ "$(value "$tmp/m1" nbdzram_same_slots)" = 2 ] || fail "same"
[ "$(value "$tmp/m1" nbdzram_huge_slots)" = 1 ] || fail "huge"
[ "$(value "$tmp/m1" 'nbdzram_requests_total{op="write"}')" = 2 ] ||
  fail "writes"
[ "$(value "$tmp/m1" 'nbdzram_request_bytes_total{op="read"}')" = 4096 ] ||
  fail "bytes read"
write='nbdzram_request_duration_seconds'
[ "$(value "$tmp/m1" "${write}_count{op=\"write\"}")" = 2 ] || fail "times"
[ "$(value "$tmp/m1" "${write}_bucket{op=\"write\",le=\"+Inf\"}")" = 2 ] ||
  fail "times"

# ---- the socket gives the same families
"$PYTHON" - "$tmp/control" "$tmp/m2" <<'END'
import sys
from controltest import Control
with open(sys.argv[2], "w") as f:
    f.write(Control(sys.argv[1]).call("metrics")["text"])
END
diff <(grep '^#' "$tmp/m1") <(grep '^#' "$tmp/m2") ||
  fail "the families over HTTP (<) and over the socket (>) differ"

# ---- all metrics of the dashboard and the rules exist
families="$(sed -n 's/^# TYPE \([^ ]*\) .*/\1/p' "$tmp/m1")"
used="$(grep -rhoE '\<nbdzram_[a-z_]+' "$SRCDIR/scripts/monitoring" |
        sed -E 's/_(bucket|sum|count)$//' | sort -u)"
[ "$(wc -l <<<"$used")" -gt 15 ] || fail "scripts/monitoring uses only: $used"
for name in $used; do
  grep -qx "$name" <<<"$families" || fail "scripts/monitoring: no such $name"
done

# ---- nothing else is served
head="http://127.0.0.1:$port"
[[ "$(http HEAD "$url")" == 200* ]] || fail "HEAD"
for path in / /metrics/ /metrics/../etc/passwd /Metrics /favicon.ico; do
  [[ "$(http GET "$head$path")" == 404* ]] || fail "GET $path"
done
for method in POST PUT DELETE; do
  [[ "$(http $method "$url")" == 405* ]] || fail "$method"
done
"$PYTHON" - "$port" <<'END'
# Data that are not HTTP, half a request, and many at once do no harm.
import random, socket, sys
many = []
for i in range(60):
    s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 60)
    s.sendall((b"\0\1\2\r\n\r\n", b"GET /metr", b"GET " + b"x" * 100000,
               b"", b"GET /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
              [i % 5])
    if i % 2:
        s.close()
    else:
        many.append(s)
END
scrape "$url" "$tmp/m3"

# ---- during load
"$PYTHON" - "$sock" "$tmp/stop" >"$tmp/load.log" 2>&1 <<'END' &
import os, random, sys
from zramtest import K, M, Data, check, connect
h, rng = connect(sys.argv[1]), random.Random(5)
data = Data(rng)
while not os.path.exists(sys.argv[2]):
    at = rng.randrange(100) * 64 * K
    buf = data.any(rng.randrange(1, 64 * K))
    h.pwrite(buf, at)
    check(h.pread(len(buf), at) == buf, "data at", at)
    if rng.random() < 0.2:
        h.trim(64 * K, rng.randrange(100) * 64 * K)
END
load=$!
before=0
for ((i = 0; i < 25; i++)); do
  scrape "$url" "$tmp/m4"
  n="$(value "$tmp/m4" 'nbdzram_requests_total{op="write"}')"
  [ "$n" -ge "$before" ] || fail "a counter went from $before to $n"
  before=$n
done
touch "$tmp/stop"
wait $load || fail "load: $(cat "$tmp/load.log")"
[ "$before" -gt 2 ] || fail "there was no load"
stop_nbdkit

# ---- addresses
for where in "127.0.0.1:PORT" ":PORT" "localhost:PORT" "0.0.0.0:PORT" \
             "[::1]:PORT"; do
  loopback=127.0.0.1
  if [[ $where == *::1* ]]; then
    "$PYTHON" -c 'import socket; socket.create_server(("::1", 0),
      family=socket.AF_INET6)' 2>/dev/null || continue  # no IPv6 here
    loopback='[::1]'
  fi
  port="$(free_port "$(tr -d '[]' <<<$loopback)")"
  start_nbdkit "$PLUGIN" 1M metrics="${where/PORT/$port}"
  if [ $where = localhost:PORT ]; then loopback=localhost; fi
  scrape "http://$loopback:$port/metrics" "$tmp/m5"
  stop_nbdkit
done

# refuse VALUE PATTERN: one line that has key, value and what is wrong
refuse ()
{
  local status=0
  timeout 60 "$NBDKIT" -U - "$PLUGIN" 1M "metrics=$1" --run true </dev/null \
          >"$tmp/out" 2>&1 || status=$?
  [ $status -ne 0 ] && [ $status -lt 124 ] || fail "metrics=$1: status $status"
  [ "$(wc -l <"$tmp/out")" -eq 1 ] || fail "metrics=$1: $(cat "$tmp/out")"
  grep -qF "metrics=$1: " "$tmp/out" || fail "metrics=$1: $(cat "$tmp/out")"
  grep -qE "$2" "$tmp/out" || fail "metrics=$1: no '$2': $(cat "$tmp/out")"
}

for bad in '' x : 0 :0 65536 99999999999 -1 1x '127.0.0.1' 127.0.0.1: \
           ::1:9000 '[::1:9000' '::1]:9000' '[]' '127.0.0.1:http'; do
  refuse "$bad" 'must be ADDRESS:PORT.*1 to 65535'
done
# With a sanitizer's runtime preloaded nbdkit hangs in its exit handlers once
# it has printed the system's words for an error (see test-signals.sh).
if sanitized; then exit 0; fi
refuse 256.1.1.1:9000 'no such address'
refuse 192.0.2.1:9000 'cannot listen'
port="$(free_port)"
start_nbdkit "$PLUGIN" 1M metrics="$port"
refuse "127.0.0.1:$port" 'in use'
scrape "http://127.0.0.1:$port/metrics" "$tmp/m6"
stop_nbdkit
