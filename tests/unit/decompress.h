/* SPDX-License-Identifier: BSD-3-Clause */
/* An object's data.  The engine takes the same three steps, and pins the object
 * between the first and the second (store/object.c).
 */

#ifndef TEST_DECOMPRESS_H
#define TEST_DECOMPRESS_H

#include "comp/zcomp.h"

/* 0, or -1 with errno. */
static inline int
decompress_at_once (struct zcomp *z, unsigned format, const void *src,
                    size_t slen, void *dst, size_t dlen)
{
  struct zcomp_reader reader;
  int r;

  if (zcomp_reader_get (z, format, &reader) == -1)
    return -1;
  r = zcomp_reader_decompress (&reader, src, slen, dst, dlen);
  zcomp_reader_put (&reader);
  return r;
}

#endif /* TEST_DECOMPRESS_H */
