/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A way to compress as people write it:
 *
 *   NAME[:level=N][:dict=FILE]        zstd:level=9:dict=/etc/pages.dict
 *
 * FILE has neither ':' nor ',' in it.
 */

#ifndef ZRAM_METHOD_KEY_H
#define ZRAM_METHOD_KEY_H

#include <stdbool.h>
#include <stddef.h>

#include "comp/zcomp.h"

struct method_key {
  const struct codec *codec;
  int level;
  char *dict; /* absolute path, owned; NULL: none */
};

/* Read 'text', a part of what was given as key=value.  0, or -1 with one line
 * said that names the key, the value and what is allowed.
 */
int method_key_parse (const char *key, const char *value, const char *text,
                      struct method_key *method) MUST_USE;

/* dict= alone; as above. */
int method_key_set_dict (const char *key, const char *path,
                         struct method_key *method) MUST_USE;

/* The codec of that name, or NULL with one line said. */
const struct codec *method_key_codec (const char *key, const char *value,
                                      const char *name);

/* All names there are. */
void method_key_names (const char *separator, char *buf, size_t size);

/* A whole decimal number in [min, max]; nothing is said. */
bool parse_number (const char *value, long min, long max, long *result);

/* Give the method a format in zcomp: load its dictionary if it has one, once
 * for all methods that name the same file for the same codec.  0, or -1 with
 * one line said.
 */
int method_key_format (struct zcomp *zcomp, const char *key,
                       const struct method_key *method,
                       struct zcomp_method *result) MUST_USE;

#endif /* ZRAM_METHOD_KEY_H */
