/* SPDX-License-Identifier: BSD-3-Clause */
/* Verbs that set how and when slots are recompressed.
 * Contract: plugin/control/verbs.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "plugin/control/verbs.h"
#include "plugin/method_key.h"
#include "store/claim.h"
#include "zram-shown.h"

/* -- automatic recompression -------------------------------------------- */

void
run_auto_recompress (struct service *s, const json_t *params, struct reply *r)
{
  struct recompress_policy *policy = &s->upkeep->policy;
  uint64_t seconds;

  if (params_has (params, "set")) {
    if (!params_number (r, params, "set", 0, SLOT_OLD - 1, &seconds))
      return;
    recompress_policy_set_age (policy, (unsigned) seconds);
  }
  text_printf (r->result, "{\"auto_recompress\":%u}",
               atomic_load (&policy->age));
}

/* -- the methods -------------------------------------------------------- */

/* null, or the dictionary of a format. */
static json_t *
dictionary (struct zcomp *zcomp, unsigned format)
{
  struct zcomp_dict_info info;
  char id[24];

  if (zcomp_dict_info (zcomp, format, &info) == -1)
    return json_null ();
  snprintf (id, sizeof id, "%016" PRIx64, info.id);
  return json_pack ("{s:o, s:I}", "id", json_value (id), "size",
                    (json_int_t) info.size);
}

json_t *
recomp_methods (struct service *s)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];
  unsigned n = recompressor_peek (s->upkeep->recompressor, methods);
  struct zcomp *zcomp = s->store->zcomp;
  json_t *list = json_array ();

  for (unsigned i = 0; i < n && list; i++)
    json_array_append_new (
      list,
      json_pack ("{s:i, s:o, s:i, s:o}", "priority", (int) i + 1, "algorithm",
                 json_value (zcomp_format_name (zcomp, methods[i].format)),
                 "level", methods[i].level, "dictionary",
                 dictionary (zcomp, methods[i].format)));
  return list;
}

/* A message shows at most this much of the value. */
#define SET_SHOWN 120

static void
refuse_set (struct reply *r, int code, const char *value, const char *why)
{
  char shown[SET_SHOWN];

  reply_error (r, code, "set=%s: %s",
               shown_cut (shown, sizeof shown, value, SHOWN_MESSAGE), why);
}

/* If one fails, the dictionaries that were already loaded are dropped later,
 * with others that no format names.  The caller holds 'settings'.
 */
static bool
set_methods_locked (struct service *s, const struct method_key *keys,
                    unsigned count, struct reason *why)
{
  struct zcomp_method methods[RECOMPRESS_METHODS];

  for (unsigned i = 0; i < count; i++)
    if (method_key_format (s->store->zcomp, &keys[i], &methods[i], why) == -1)
      return false;
  recompressor_set_methods (s->upkeep->recompressor, methods, count);
  claim_clear_marks (s->store);
  return true;
}

/* A client does not know the folder in which a relative path would begin. */
static bool
paths_are_absolute (const struct method_key *keys, unsigned count)
{
  for (unsigned i = 0; i < count; i++)
    if (keys[i].dict && keys[i].dict[0] != '/')
      return false;
  return true;
}

static bool
set_methods (struct service *s, const json_t *params, struct reply *r)
{
  static const char allowed[] = "NAME[:level=N][:dict=FILE],..., or empty";
  struct method_key keys[RECOMPRESS_METHODS];
  struct reason why;
  unsigned count = 0;
  const char *value;
  bool ok = false;

  if (!params_string (r, params, "set", allowed, &value))
    return false;
  if (*value && method_keys_parse (value, keys, &count, &why) == -1) {
    refuse_set (r, ZRAM_ERROR_PARAMS, value, why.text);
    return false;
  }
  if (!paths_are_absolute (keys, count))
    refuse_set (r, ZRAM_ERROR_PARAMS, value,
                "the path of a dictionary must begin with /");
  else if (method_keys_read (keys, count, &why) == -1)
    refuse_set (r, ZRAM_ERROR_REFUSED, value, why.text);
  else if (settings_trylock (s, r)) {
    ok = set_methods_locked (s, keys, count, &why);
    mutex_unlock (&s->store->settings);
    if (!ok)
      refuse_set (r, ZRAM_ERROR_REFUSED, value, why.text);
  }
  method_keys_free (keys, &count);
  return ok;
}

void
run_recomp_algorithm (struct service *s, const json_t *params, struct reply *r)
{
  if (params_has (params, "set") && !set_methods (s, params, r))
    return;
  reply_json (r, json_pack ("{s:o}", "methods", recomp_methods (s)));
}
