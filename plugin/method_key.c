/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsing methods, and loading their dictionaries.
 * Contract: plugin/method_key.h.
 */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/error_text.h"
#include "comp/dict.h"
#include "plugin/method_key.h"
#include "plugin/read_file.h"
#include "zram-shown.h"

/* A reason shows at most this much of a name or path: the rest of the message
 * must fit too.
 */
#define NAME_SHOWN 120

bool
parse_number (const char *value, long min, long max, long *result)
{
  char *end;

  errno = 0;
  *result = strtol (value, &end, 10);
  return !errno && end != value && !*end && !isspace ((unsigned char) *value) &&
         *result >= min && *result <= max;
}

void
method_key_names (const char *separator, char *buf, size_t size)
{
  size_t len = 0;

  buf[0] = '\0';
  for (unsigned id = 1; id < CODEC_IDS; id++)
    if (codec_by_id (id) && len < size)
      len += (size_t) snprintf (buf + len, size - len, "%s%s",
                                len ? separator : "", codec_by_id (id)->name);
}

const struct codec *
method_key_codec (const char *name, struct reason *why)
{
  const struct codec *codec = codec_find (name);
  char names[128];

  if (!codec) {
    method_key_names (", ", names, sizeof names);
    reason_set (why, "must be one of: %s", names);
  }
  return codec;
}

int
method_key_set_dict (const char *path, struct method_key *method,
                     struct reason *why)
{
  char *copy = strdup (path);

  if (!*path || !copy) {
    reason_set (why, "%s",
                *path ? error_text (ENOMEM)
                      : "must name a file with a dictionary");
    free (copy);
    return -1;
  }
  free (method->dict);
  method->dict = copy;
  return 0;
}

/* One NAME=VALUE after the codec's name. */
static int
set_option (const char *option, struct method_key *m, struct reason *why)
{
  char shown[NAME_SHOWN];
  long level;

  if (strncmp (option, "dict=", 5) == 0 && option[5])
    return method_key_set_dict (option + 5, m, why);
  if (strncmp (option, "level=", 6) == 0 &&
      parse_number (option + 6, m->codec->level_min, m->codec->level_max,
                    &level)) {
    m->level = (int) level;
    return 0;
  }
  reason_set (why, "'%s' must be level=N, N from %d to %d for %s, or dict=FILE",
              shown_cut (shown, sizeof shown, option, SHOWN_MESSAGE),
              m->codec->level_min, m->codec->level_max, m->codec->name);
  return -1;
}

static int
parse_words (char *text, struct method_key *m, struct reason *why)
{
  const char *name = strsep (&text, ":"), *option;
  char names[128], shown[NAME_SHOWN];

  *m = (struct method_key){ .codec = codec_find (name) };
  if (!m->codec) {
    method_key_names (", ", names, sizeof names);
    reason_set (why, "'%s' must be one of: %s",
                shown_cut (shown, sizeof shown, name, SHOWN_MESSAGE), names);
    return -1;
  }
  m->level = m->codec->level_default;
  while ((option = strsep (&text, ":")) != NULL)
    if (set_option (option, m, why) == -1) {
      free (m->dict);
      m->dict = NULL;
      return -1;
    }
  return 0;
}

int
method_keys_parse (const char *value, struct method_key m[RECOMPRESS_METHODS],
                   unsigned *count, struct reason *why)
{
  char *copy = strdup (value), *rest = copy, *text;
  int r = 0;

  *count = 0;
  if (!copy) {
    reason_set (why, "%s", error_text (ENOMEM));
    return -1;
  }
  while (r == 0 && (text = strsep (&rest, ",")) != NULL) {
    if (*count == RECOMPRESS_METHODS) {
      reason_set (why, "must be at most three methods");
      r = -1;
    }
    else
      r = parse_words (text, &m[*count], why);
    *count += r == 0;
  }
  free (copy);
  if (r == -1)
    method_keys_free (m, count);
  return r;
}

void
method_key_free (struct method_key *m)
{
  method_key_forget (m);
  free (m->dict);
  m->dict = NULL;
}

void
method_keys_free (struct method_key *m, unsigned *count)
{
  for (unsigned i = 0; i < *count; i++)
    method_key_free (&m[i]);
  *count = 0;
}

/* -- dictionaries ------------------------------------------------------- */

static void
refuse_file (struct reason *why, const char *path, const char *reason)
{
  char shown[NAME_SHOWN];

  reason_set (why, "dict=%s: %s",
              shown_cut (shown, sizeof shown, path, SHOWN_MESSAGE), reason);
}

int
method_keys_read (struct method_key *m, unsigned count, struct reason *why)
{
  struct reason reason;

  for (unsigned i = 0; i < count; i++) {
    if (!m[i].dict || m[i].bytes)
      continue;
    m[i].bytes = read_file (m[i].dict, DICT_MAX, read_file_deadline (),
                            &m[i].size, &reason);
    if (!m[i].bytes) {
      refuse_file (why, m[i].dict, reason.text);
      return -1;
    }
  }
  return 0;
}

void
method_key_forget (struct method_key *m)
{
  free (m->bytes);
  m->bytes = NULL;
}

/* The format of a dictionary with the same bytes for that codec; 0: none. */
static unsigned
find_format (struct zcomp *zcomp, const struct codec *codec, uint64_t id,
             size_t size)
{
  struct zcomp_dict_info info;

  for (unsigned f = 0; f < FORMATS; f++)
    if (format_is_dict (f) && zcomp_dict_info (zcomp, f, &info) == 0 &&
        info.codec == codec && info.id == id && info.size == size)
      return f;
  return 0;
}

int
method_key_format (struct zcomp *zcomp, const struct method_key *m,
                   struct zcomp_method *result, struct reason *why)
{
  struct zcomp_dict_info info;
  struct reason reason;
  unsigned format, other;

  *result = (struct zcomp_method){ codec_id (m->codec), m->level };
  if (!m->dict)
    return 0;
  check_always (m->bytes);
  if (zcomp_dict_add (zcomp, m->codec, m->bytes, m->size, &format, &reason) ==
      -1) {
    refuse_file (why, m->dict, reason.text);
    return -1;
  }
  result->format = format;
  if (zcomp_dict_info (zcomp, format, &info) == 0 &&
      (other = find_format (zcomp, info.codec, info.id, info.size)) != format &&
      zcomp_dict_remove (zcomp, format) == 0)
    result->format = other;
  return 0;
}
