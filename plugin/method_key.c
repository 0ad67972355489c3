/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include "comp/dict.h"
#include "plugin/method_key.h"

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
method_key_codec (const char *key, const char *value, const char *name)
{
  const struct codec *codec = codec_find (name);
  char names[128];

  if (!codec) {
    method_key_names (", ", names, sizeof names);
    if (strcmp (name, value) == 0)
      nbdkit_error ("%s=%s: must be one of: %s", key, value, names);
    else
      nbdkit_error ("%s=%s: '%s' must be one of: %s", key, value, name, names);
  }
  return codec;
}

int
method_key_set_dict (const char *key, const char *path,
                     struct method_key *method)
{
  if (!*path) {
    nbdkit_error ("%s=%s: must name a file with a dictionary", key, path);
    return -1;
  }
  free (method->dict);
  /* nbdkit changes its directory when it goes into the background. */
  method->dict = nbdkit_absolute_path (path);
  return method->dict ? 0 : -1;
}

/* One NAME=VALUE after the codec's name. */
static int
set_option (const char *key, const char *value, const char *option,
            struct method_key *m)
{
  long level;

  if (strncmp (option, "dict=", 5) == 0 && option[5])
    return method_key_set_dict (key, option + 5, m);
  if (strncmp (option, "level=", 6) == 0 &&
      parse_number (option + 6, m->codec->level_min, m->codec->level_max,
                    &level)) {
    m->level = (int) level;
    return 0;
  }
  nbdkit_error ("%s=%s: '%s' must be level=N, N from %d to %d for %s, or "
                "dict=FILE",
                key, value, option, m->codec->level_min, m->codec->level_max,
                m->codec->name);
  return -1;
}

int
method_key_parse (const char *key, const char *value, const char *text,
                  struct method_key *m)
{
  char *copy = strdup (text), *rest = copy, *word;
  int r = -1;

  *m = (struct method_key){ 0 };
  if (!copy) {
    nbdkit_error ("%s=%s: %m", key, value);
    return -1;
  }
  m->codec = method_key_codec (key, value, strsep (&rest, ":"));
  if (!m->codec)
    goto out;
  m->level = m->codec->level_default;
  while ((word = strsep (&rest, ":")) != NULL)
    if (set_option (key, value, word, m) == -1)
      goto out;
  r = 0;
out:
  free (copy);
  if (r == -1) {
    free (m->dict);
    m->dict = NULL;
  }
  return r;
}

/* -- dictionaries ------------------------------------------------------- */

/* The file's bytes, to be freed; NULL with one line said. */
static void *
read_file (const char *key, const char *path, size_t *size)
{
  FILE *f = fopen (path, "re");
  char *bytes = malloc (DICT_MAX + 1);

  *size = f && bytes ? fread (bytes, 1, DICT_MAX + 1, f) : 0;
  if (!f || !bytes || ferror (f)) {
    nbdkit_error ("%s: dict=%s: %m", key, path);
    free (bytes);
    bytes = NULL;
  }
  else if (*size > DICT_MAX) {
    nbdkit_error ("%s: dict=%s: must be at most %d bytes", key, path, DICT_MAX);
    free (bytes);
    bytes = NULL;
  }
  if (f)
    fclose (f);
  return bytes;
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
method_key_format (struct zcomp *zcomp, const char *key,
                   const struct method_key *m, struct zcomp_method *result)
{
  struct zcomp_dict_info info;
  const char *why = NULL;
  unsigned format, other;
  size_t size;
  void *bytes;
  int r;

  *result = (struct zcomp_method){ codec_id (m->codec), m->level };
  if (!m->dict)
    return 0;
  bytes = read_file (key, m->dict, &size);
  if (!bytes)
    return -1;
  r = zcomp_dict_add (zcomp, m->codec, bytes, size, &format, &why);
  free (bytes);
  if (r == -1) {
    nbdkit_error ("%s: dict=%s: %s", key, m->dict,
                  why ? why : strerror (errno));
    return -1;
  }
  result->format = format;
  if (zcomp_dict_info (zcomp, format, &info) == 0 &&
      (other = find_format (zcomp, info.codec, info.id, info.size)) != format &&
      zcomp_dict_remove (zcomp, format) == 0)
    result->format = other;
  return 0;
}
