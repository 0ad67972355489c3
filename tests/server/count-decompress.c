/* SPDX-License-Identifier: BSD-3-Clause */

/* Preloaded into nbdkit by test-memory-failures.sh: adds one byte to the
 * file $COUNT_DECOMPRESS for each call of zstd that decompresses.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static void
count (void)
{
  const char *path = getenv ("COUNT_DECOMPRESS");
  int fd = path ? open (path, O_WRONLY | O_APPEND | O_CLOEXEC) : -1;

  if (fd == -1 || write (fd, "x", 1) != 1)
    abort ();
  close (fd);
}

static void *
next (const char *name)
{
  void *f = dlsym (RTLD_NEXT, name);

  if (!f) /* the library was loaded with the plugin */
    f = dlsym (dlopen ("libzstd.so.1", RTLD_LAZY), name);
  if (!f)
    abort ();
  return f;
}

size_t
ZSTD_decompress (void *dst, size_t n, const void *src, size_t len)
{
  size_t (*f) (void *, size_t, const void *, size_t) = next ("ZSTD_decompress");

  count ();
  return f (dst, n, src, len);
}

size_t
ZSTD_decompressDCtx (void *ctx, void *dst, size_t n, const void *src,
                     size_t len)
{
  size_t (*f) (void *, void *, size_t, const void *,
               size_t) = next ("ZSTD_decompressDCtx");

  count ();
  return f (ctx, dst, n, src, len);
}

size_t
ZSTD_decompress_usingDDict (void *ctx, void *dst, size_t n, const void *src,
                            size_t len, const void *dict)
{
  size_t (*f) (void *, void *, size_t, const void *, size_t,
               const void *) = next ("ZSTD_decompress_usingDDict");

  count ();
  return f (ctx, dst, n, src, len, dict);
}

size_t
ZSTD_decompressStream (void *ctx, void *out, void *in)
{
  size_t (*f) (void *, void *, void *) = next ("ZSTD_decompressStream");

  count ();
  return f (ctx, out, in);
}
