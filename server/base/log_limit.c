/* SPDX-License-Identifier: BSD-3-Clause */
/* Log limiter: which lines are written, and how many are left out.
 * Contract: base/log_limit.h.
 */

#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "base/log_limit.h"

/* -- below this line the caller holds the lock -------------------------- */

static struct log_limit_kind *
find_locked (struct log_limit *l, uint64_t id, const char *name,
             uint64_t now_ns)
{
  struct log_limit_kind *k;

  for (unsigned i = 0; i < l->kinds; i++)
    if (l->kind[i].id == id)
      return &l->kind[i];
  if (l->kinds == LOG_LIMIT_KINDS)
    return &l->kind[LOG_LIMIT_KINDS - 1];
  k = &l->kind[l->kinds++];
  *k = (struct log_limit_kind){ .id = id,
                                .since_ns = now_ns,
                                .lines = LOG_LIMIT_BURST };
  snprintf (k->name, sizeof k->name, "%s",
            l->kinds == LOG_LIMIT_KINDS ? "others" : name);
  return k;
}

static void
give_back_locked (struct log_limit_kind *k, uint64_t now_ns)
{
  /* Another thread may have read a later clock and come first. */
  uint64_t periods = now_ns > k->since_ns
                       ? (now_ns - k->since_ns) / LOG_LIMIT_PERIOD_NS
                       : 0;

  k->since_ns += periods * LOG_LIMIT_PERIOD_NS;
  k->lines = periods < LOG_LIMIT_BURST - k->lines
               ? k->lines + (unsigned) periods
               : LOG_LIMIT_BURST;
}

static uint64_t
left_out_locked (const struct log_limit *l)
{
  uint64_t sum = 0;

  for (unsigned i = 0; i < l->kinds; i++)
    sum += l->kind[i].left_out;
  return sum;
}

/* -- below this line the caller does not -------------------------------- */

bool
log_limit_take (struct log_limit *l, uint64_t id, const char *name,
                uint64_t now_ns, bool *first)
{
  struct log_limit_kind *k;
  bool take;

  *first = false;
  mutex_lock (&l->lock);
  k = find_locked (l, id, name, now_ns);
  give_back_locked (k, now_ns);
  take = k->lines > 0;
  if (take)
    k->lines--;
  else {
    *first = left_out_locked (l) == 0;
    k->left_out++;
  }
  mutex_unlock (&l->lock);
  return take;
}

bool
log_limit_summary (struct log_limit *l, char *buf, size_t size)
{
  const char *sep = ": ";
  uint64_t sum;
  size_t len;

  mutex_lock (&l->lock);
  sum = left_out_locked (l);
  len = (size_t) snprintf (buf, size, "%" PRIu64 " lines like these left out",
                           sum);
  for (unsigned i = 0; i < l->kinds; i++) {
    struct log_limit_kind *k = &l->kind[i];

    if (k->left_out && len < size) {
      len += (size_t) snprintf (buf + len, size - len, "%s%" PRIu64 " %s", sep,
                                k->left_out, k->name);
      sep = ", ";
    }
    k->left_out = 0;
  }
  mutex_unlock (&l->lock);
  return sum > 0;
}
