/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ways to compress as people write them, as keys and over the control socket:
 *
 *   NAME[:level=N][:dict=FILE][,...]      zstd:level=9:dict=/etc/pages.dict
 *
 * FILE has neither ':' nor ',' in it.
 */

#ifndef ZRAM_METHOD_KEY_H
#define ZRAM_METHOD_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "comp/zcomp.h"
#include "store/recompress.h"

struct method_key {
  const struct codec *codec;
  int level;
  char *dict; /* as given, owned; NULL: none */
};

/* Why something is refused, to stand behind "key=value: ". */
struct reason {
  char text[300];
};

/* Up to three methods, separated by commas.  0, or -1 with a reason. */
int method_keys_parse (const char *value,
                       struct method_key m[RECOMPRESS_METHODS], unsigned *count,
                       struct reason *why) MUST_USE;
void method_keys_free (struct method_key *m, unsigned *count);

/* dict= alone; as above. */
int method_key_set_dict (const char *path, struct method_key *method,
                         struct reason *why) MUST_USE;

/* The codec of that name, or NULL with a reason. */
const struct codec *method_key_codec (const char *name, struct reason *why);

/* All names there are. */
void method_key_names (const char *separator, char *buf, size_t size);

/* A whole decimal number in [min, max]; nothing is said. */
bool parse_number (const char *value, long min, long max, long *result);

/* Give the method a format in zcomp: load its dictionary if it has one, once
 * for all methods that name the same file for the same codec.  0, or -1 with a
 * reason.  Serialized as zcomp_dict_add.
 */
int method_key_format (struct zcomp *zcomp, const struct method_key *method,
                       struct zcomp_method *result, struct reason *why)
  MUST_USE;

#endif /* ZRAM_METHOD_KEY_H */
