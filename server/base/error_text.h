/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The text of an errno, for use in requests: always the same static words,
 * without the locale. strerror looks at the locale, for which it may allocate
 * memory, and which breaks a sanitizer's runtime at the end of nbdkit.
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
