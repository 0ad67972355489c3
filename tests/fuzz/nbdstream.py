# SPDX-License-Identifier: BSD-3-Clause
"""What a client says on an NBD connection, and how it goes wrong.

  conversation: [flags] [option]* [request]*     each a message
  message:      [field]*                         each bytes of its own

A message is built right, then with some probability mutated: a field gets
another value that its kind may well have, bytes are turned, cut, put in or
said twice, messages change places.  The numbers are those of NBD's proto.md.
Everything follows from the random.Random that is given, so a seed repeats it.
"""

import struct

IHAVEOPT = 0x49484156454F5054
REQUEST = 0x25609513
EXTENDED = 0x21E41C71

EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO = 1, 2, 3, 5, 6, 7
STRUCTURED_REPLY, LIST_META, SET_META, EXTENDED_HEADERS = 8, 9, 10, 11
OPTIONS = (EXPORT_NAME, ABORT, LIST, 4, STARTTLS, INFO, GO, STRUCTURED_REPLY,
           LIST_META, SET_META, EXTENDED_HEADERS, 0, 12, 2**32 - 1)

READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
COMMANDS = (READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS)
FLAGS = (0, 0, 0, 1, 2, 4, 8, 16, 3, 0xffff)

NUMBERS = (0, 1, 2, 3, 7, 8, 511, 512, 4095, 4096, 4097, 65535, 65536,
           2**20, 2**25, 2**26, 2**26 + 1, 2**31 - 1, 2**31, 2**32 - 4096,
           2**32 - 1)
OFFSETS = NUMBERS + (2**32, 2**63 - 4096, 2**63 - 1, 2**63, 2**64 - 4096,
                     2**64 - 1)


class Talk:
    """One conversation about a disk of that size."""

    def __init__(self, rng, size):
        self.rng = rng
        self.size = size
        self.cookie = 0

    def text(self):
        r = self.rng
        return r.choice((b"", b"", b"", b"x", b"\0", b"\xff\xfe", b"a" * 4096,
                         b"a" * 4097, bytes(r.randrange(256)
                                            for _ in range(r.randrange(40)))))

    # -- the handshake ---------------------------------------------------

    def flags(self):
        return struct.pack(">I", self.rng.choice((3, 3, 3, 3, 3, 1, 0, 2,
                                                  0x80000003)))

    def body_of(self, option):
        """What follows an option's header, as it should be."""
        r = self.rng
        name = self.text() if r.random() < 0.2 else b""
        if option == EXPORT_NAME:
            return name
        if option in (INFO, GO):
            wanted = [r.choice((0, 1, 2, 3, 4, 65535))
                      for _ in range(r.randrange(5))]
            return (struct.pack(">I", len(name)) + name
                    + struct.pack(">H", len(wanted))
                    + b"".join(struct.pack(">H", w) for w in wanted))
        if option in (LIST_META, SET_META):
            queries = [r.choice((b"base:allocation", b"base:", b"",
                                 b"qemu:dirty-bitmap:x", self.text()))
                       for _ in range(r.randrange(4))]
            return (struct.pack(">I", len(name)) + name
                    + struct.pack(">I", len(queries))
                    + b"".join(struct.pack(">I", len(q)) + q
                               for q in queries))
        return b""

    def option(self, option):
        body = self.body_of(option)
        length = len(body)
        if self.rng.random() < 0.05:
            length = self.rng.choice(NUMBERS)
        return struct.pack(">QII", IHAVEOPT, option, length) + body

    def handshake(self):
        r = self.rng
        out = [self.flags()]
        for _ in range(r.randrange(6)):
            out.append(self.option(r.choice(OPTIONS)
                                   if r.random() < 0.3 else
                                   r.choice((LIST, INFO, STRUCTURED_REPLY,
                                             LIST_META, SET_META))))
        out.append(self.option(r.choice((GO, GO, GO, EXPORT_NAME))))
        return out

    # -- requests --------------------------------------------------------

    def range(self):
        """An offset and a length, mostly of what there is."""
        r = self.rng
        if r.random() < 0.1:
            return r.choice(OFFSETS), r.choice(NUMBERS)
        length = r.choice((1, 100, 512, 4096, 4096, 8192, 65536, 300000))
        offset = r.randrange(min(self.size, 2**24))
        if r.random() < 0.5:
            offset &= ~4095
        if r.random() < 0.1:
            offset = self.size - length     # its end
        return max(offset, 0), min(length, self.size)

    def request(self):
        r = self.rng
        command = r.choice(COMMANDS) if r.random() < 0.95 else \
            r.choice((DISC, 8, 255, 65535))
        offset, length = self.range()
        self.cookie += 1
        data = b""
        if command == WRITE:
            # Of what would be much, only the beginning comes.
            data = (r.randbytes(16) if r.random() < 0.5 else b"word") \
                * (min(length, 2**19) // 16 + 1)
            data = data[:min(length, 2**19)]
        return struct.pack(">IHHQQI", REQUEST, r.choice(FLAGS), command,
                           r.choice((self.cookie, 0, 2**64 - 1)),
                           offset, length) + data

    # -- what goes wrong ---------------------------------------------------

    def mutate(self, message):
        r = self.rng
        m = bytearray(message)
        at = r.randrange(min(len(m), 64)) if m else 0
        kind = r.randrange(8)
        if kind == 0 and m:
            m[at] ^= 1 << r.randrange(8)
        elif kind == 1 and m:
            m[at] = r.choice((0, 1, 0x7f, 0x80, 0xff))
        elif kind == 2:
            del m[at:]
        elif kind == 3:
            del m[at:at + r.randrange(1, 9)]
        elif kind == 4:
            m[at:at] = r.randbytes(r.randrange(1, 40))
        elif kind == 5:
            m *= 2
        elif kind == 6 and len(m) >= 8:
            at = r.randrange(0, min(len(m) - 4, 40), 2)
            m[at:at + 4] = struct.pack(">I", r.choice(NUMBERS))
        elif len(m) >= 8:
            at = r.randrange(0, min(len(m) - 7, 40), 2)
            m[at:at + 8] = struct.pack(">Q", r.choice(OFFSETS))
        return bytes(m)

    def stream(self):
        """The messages of one connection, each to be sent by itself."""
        r = self.rng
        out = self.handshake()
        out += [self.request() for _ in range(r.choice((0, 1, 5, 20, 60)))]
        if r.random() < 0.5:
            out.append(struct.pack(">IHHQQI", REQUEST, 0, DISC, 0, 0, 0))
        if r.random() < 0.1:
            r.shuffle(out)
        # Not many: what comes behind them is mostly not understood.
        rate = r.choice((0, 0.02, 0.1, 0.5))
        return [self.mutate(m) if r.random() < rate else m for m in out]
