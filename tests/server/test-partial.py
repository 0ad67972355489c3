#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Several clients on the same few slots.

shared_slot  each client owns some bytes of every slot and writes parts of
             them; it always reads its own bytes back, whatever the others do
hammer       whole slots are written, trimmed and zeroed by one owner while
             others read: a slot always has the state of some moment between
             the beginning and the end of the read
strangers    several writers of one slot: it always contains one of their
             writes, never a mixture
"""

import os
import random
import struct
import threading
import zlib

from zramtest import K, SANITIZER, Data, Server, check, same, seed

CLIENTS = 4
ROUNDS = int(os.environ.get("ZRAM_PARTIAL_ROUNDS")
             or (1200 if SANITIZER else 3000))


def together(functions):
    """Runs each in a thread; the first that fails fails the test."""
    errors = []

    def guard(f):
        try:
            f()
        except BaseException as e:          # raised again below
            errors.append(e)

    threads = [threading.Thread(target=guard, args=(f,)) for f in functions]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


# ---- clients that share slots but no byte

def shared_slot(server, slot, number):
    slots = 3
    grain = 100                 # bytes; owners take turns, across slot edges
    size = slots * slot
    disk = [None] * CLIENTS

    def client(c):
        rng = random.Random(number * 10 + c)
        data = Data(rng)
        h = server.connect()
        runs = [(at, min(grain, size - at)) for at in
                range(c * grain, size, CLIENTS * grain)]
        mine = {at: bytes(n) for at, n in runs}
        for i in range(ROUNDS):
            at, n = rng.choice(runs)
            what = rng.random()
            lo = rng.randrange(n)
            m = rng.randrange(1, n - lo + 1)
            if what < 0.6:
                new = data.any(m)
                h.pwrite(new, at + lo)
                mine[at] = mine[at][:lo] + new + mine[at][lo + m:]
            elif what < 0.7:
                getattr(h, rng.choice(("trim", "zero")))(m, at + lo)
                mine[at] = mine[at][:lo] + bytes(m) + mine[at][lo + m:]
            else:
                same(h.pread(n, at), mine[at], at,
                     "client %d, round %d" % (c, i))
        disk[c] = mine

    together([lambda c=c: client(c) for c in range(CLIENTS)])
    h = server.connect()
    for mine in disk:
        for at, want in mine.items():
            same(h.pread(len(want), at), want, at, "in the end")
    h.trim(size, 0)


# ---- blocks with their own number

HEADER = struct.Struct("<8sQQQ")
MAGIC = b"zramblok"


def block(slot, number, generation, rng):
    """slot number, generation, seed of the contents, checksum at the end"""
    s = rng.getrandbits(60)
    body = getattr(Data(random.Random(s)), ("text", "noise", "mixed",
                                            "fill")[s % 4])
    head = HEADER.pack(MAGIC, number, generation, s)
    data = head + body(slot - HEADER.size - 4)
    return data + struct.pack("<I", zlib.crc32(data))


def identify(data, number):
    """The generation of a block; None for one that is all zeros."""
    if not any(data):
        return None
    magic, n, generation, _ = HEADER.unpack_from(data)
    check(magic == MAGIC, "slot", number, "has no header:", data[:32].hex())
    check(n == number, "slot", number, "has the data of slot", n)
    check(zlib.crc32(data[:-4]) == struct.unpack("<I", data[-4:])[0],
          "slot", number, "generation", generation, "is torn")
    return generation


def empty(generation):
    """Every fifth generation is a trim or a zero."""
    return generation % 5 == 0


def hammer(server, slot, number):
    slots = 8
    begun = [0] * slots         # generation that its owner has sent
    done = [0] * slots          # generation that was acknowledged
    over = threading.Event()

    def owner(c):
        rng = random.Random(number * 100 + c)
        h = server.connect()
        mine = range(c, slots, 2)
        for _ in range(ROUNDS):
            s = rng.choice(mine)
            generation = begun[s] + 1
            if empty(generation):
                begun[s] = generation
                getattr(h, rng.choice(("trim", "zero")))(slot, s * slot)
            else:
                data = block(slot, s, generation, rng)
                begun[s] = generation
                h.pwrite(data, s * slot)
            done[s] = generation

    def reader(c):
        rng = random.Random(number * 100 + 50 + c)
        h = server.connect()
        while not over.is_set():
            n = rng.choice((1, 1, 1, 4))
            first = rng.randrange(slots - n + 1)
            low = done[first:first + n]
            data = h.pread(n * slot, first * slot)
            high = begun[first:first + n]
            for i in range(n):
                g = identify(data[i * slot:(i + 1) * slot], first + i)
                span = range(low[i], high[i] + 1)
                if g is None:
                    check(any(empty(x) for x in span), "slot", first + i,
                          "reads as zeros between", low[i], high[i])
                else:
                    check(g in span, "slot", first + i, "has generation", g,
                          "between", low[i], high[i])

    def owners():
        try:
            together([lambda c=c: owner(c) for c in range(2)])
        finally:
            over.set()

    together([owners] + [lambda c=c: reader(c) for c in range(2)])
    server.connect().trim(slots * slot, 0)


def strangers(server, slot, number):
    slots = 2

    def client(c):
        rng = random.Random(number * 1000 + c)
        h = server.connect()
        for i in range(ROUNDS // 2):
            s = rng.randrange(slots)
            what = rng.random()
            if what < 0.5:
                h.pwrite(block(slot, s, i, rng), s * slot)
            elif what < 0.6:
                getattr(h, rng.choice(("trim", "zero")))(slot, s * slot)
            else:
                identify(h.pread(slot, s * slot), s)

    together([lambda c=c: client(c) for c in range(CLIENTS)])
    server.connect().trim(slots * slot, 0)


number = seed()
for keys in (["algorithm=lz4", "slot_size=4k"],
             ["algorithm=zstd", "slot_size=16k", "workers=2"]):
    slot = int(keys[1].split("=")[1][:-1]) * K
    with Server("1M", *keys) as server:
        shared_slot(server, slot, number)
        hammer(server, slot, number)
        strangers(server, slot, number)
