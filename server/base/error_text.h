/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The words for an errno, where requests may have to say them: always the same
 * words, static, and without a look at the locale, for which strerror may ask
 * for memory (and which a sanitizer's runtime does not survive at the end of
 * nbdkit).
 */

#ifndef ZRAM_ERROR_TEXT_H
#define ZRAM_ERROR_TEXT_H

#include <string.h>

static inline const char *
error_text (int err)
{
#if defined __GLIBC__ && defined _GNU_SOURCE
#if __GLIBC_PREREQ(2, 32)
  const char *words = strerrordesc_np (err);

  return words ? words : "unknown error";
#endif
#endif
  return strerror (err);
}

#endif /* ZRAM_ERROR_TEXT_H */
