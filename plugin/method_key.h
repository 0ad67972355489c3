/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Methods as people write them, in keys and over the control socket:
 *
 *   NAME[:level=N][:dict=FILE][,...]      zstd:level=9:dict=/etc/pages.dict
 *
 * FILE contains neither ':' nor ','.
 */

#ifndef ZRAM_VERB_KEY_H
#define ZRAM_VERB_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/reason.h"
#include "comp/zcomp.h"
#include "store/recompress.h"

struct method_key {
  const struct codec *codec;
  int level;
  char *dict;  /* as given, owned; NULL: none */
  void *bytes; /* the file's content, owned, from _read to _forget; else NULL */
  size_t size;
};

/* Up to three methods, separated by commas.  0, or -1 with a reason. */
int method_keys_parse (const char *value,
                       struct method_key m[RECOMPRESS_METHODS], unsigned *count,
                       struct reason *why) MUST_USE;
void method_keys_free (struct method_key *m, unsigned *count);
void method_key_free (struct method_key *m);

/* dict= alone; returns as above. */
int method_key_set_dict (const char *path, struct method_key *method,
                         struct reason *why) MUST_USE;

/* The codec of that name, or NULL with a reason. */
const struct codec *method_key_codec (const char *name, struct reason *why);

/* The names of all codecs. */
void method_key_names (const char *separator, char *buf, size_t size);

/* A whole decimal number in [min, max]; false, without a message, if not. */
bool parse_number (const char *value, long min, long max, long *result);

/* Read the methods' dictionary files; stops at the first that fails.  Waits at
 * most READ_FILE_SECONDS for each: hold no lock that other threads want.  0, or
 * -1 with a reason that names the file.
 */
int method_keys_read (struct method_key *m, unsigned count, struct reason *why)
  MUST_USE;

/* Free the bytes that were read. */
void method_key_forget (struct method_key *m);

/* Give the method a format in zcomp: load its dictionary, if it has one; its
 * file must have been read.  All methods with the same bytes for the same codec
 * share one.  0, or -1 with a reason.  Serialized like zcomp_dict_add.
 */
int method_key_format (struct zcomp *zcomp, const struct method_key *method,
                       struct zcomp_method *result, struct reason *why)
  MUST_USE;

#endif /* ZRAM_VERB_KEY_H */
