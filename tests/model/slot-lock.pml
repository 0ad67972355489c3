/* SPDX-License-Identifier: BSD-3-Clause
 *
 * slot-lock: the reader-writer lock in one 32-bit word (rwword) and the
 * parking lot that its waiters sleep in.
 *
 * README: run by test-models.sh.  By hand: spin -a slot-lock.pml &&
 * cc -O1 -DSAFETY -o pan pan.c && ./pan  (add -D options to spin -a).
 *
 *      word    | readers ... | PENDING | WAITERS | WRITER |
 *      bucket  | seq |  sleepers: threads that found seq unchanged
 *
 * Every load, compare-and-swap and fetch-and-op is one step, the memory is
 * sequentially consistent.  A futex wait compares seq and falls asleep in
 * one step; the increment of seq and the wake-up are two.
 *
 * Claims
 *   mutual exclusion            (assert in enter_*)
 *   WAITERS or PENDING is set only while someone is bound to clear it:
 *   nobody sleeps for ever      (no invalid end state)
 *   no livelock                 (no non-progress cycle, no fairness asked)
 *   at rest the word is zero    (assert in init)
 *
 * Options
 *   NREAD NWRITE NTRY RROUNDS WROUNDS TROUNDS   who takes part, how often
 *   ONE_STEP_UNLOCK     the last reader releases and clears in one CAS
 *                       (without it: fetch_sub, then a loop that clears)
 *   BROKEN_SEQ_LATE     seq is read after WAITERS was set
 *   BROKEN_SKIP_CAS     no CAS where WAITERS is seen set already
 *   BROKEN_TRY_DROPS    the try variant forgets WAITERS
 *   BROKEN_NO_RECHECK   the last reader clears without looking again
 *   BROKEN_NO_SLEEP     a waiter tries again without sleeping
 */

#ifndef NREAD
#define NREAD 2
#endif
#ifndef NWRITE
#define NWRITE 2
#endif
#ifndef NTRY
#define NTRY 1
#endif
#ifndef RROUNDS
#define RROUNDS 1
#endif
#ifndef WROUNDS
#define WROUNDS 1
#endif
#ifndef TROUNDS
#define TROUNDS 1
#endif
#define NPROC (NREAD + NWRITE + NTRY)

#define WRITER  1
#define WAITERS 2
#define PENDING 4
#define READER  8
#define readers(v) ((v) >> 3)
#define is_free(v) (readers (v) == 0 && ((v) & WRITER) == 0)

byte word;
byte seq;
bool asleep[NPROC];

byte in_read;                   /* ghost: readers inside */
byte in_write;

/* As in C11, a failed compare-and-swap leaves what it found in old. */
inline cas (new)
{
  d_step {
    if
    :: word == old -> word = new; ok = true
    :: else -> old = word; ok = false
    fi
  }
}

inline futex_wait ()
{
  d_step {
    if
    :: seq == s -> asleep[me] = true
    :: else
    fi;
    s = 0; old = 0
  }
#ifdef BROKEN_NO_SLEEP
  atomic { asleep[me] = false; old = word }
#else
  atomic { !asleep[me] -> old = word }
#endif
}

inline wake_all ()
{
  seq++;
  d_step {
    i = 0;
    do
    :: i < NPROC -> asleep[i] = false; i++
    :: else -> break
    od;
    i = 0
  }
}

inline wait_with (bits)
{
#ifdef BROKEN_SEQ_LATE
  cas (old | bits);
  if
  :: ok -> s = seq; futex_wait ()
  :: else
  fi
#else
  s = seq;
#ifdef BROKEN_SKIP_CAS
  if
  :: (old & bits) == bits -> ok = true
  :: else -> cas (old | bits)
  fi;
#else
  cas (old | bits);
#endif
  if
  :: ok -> futex_wait ()
  :: else -> s = 0
  fi
#endif
}

inline read_lock ()
{
  old = word;
  do
  :: old & (WRITER | PENDING) -> wait_with (WAITERS)
  :: else ->
     cas (old + READER);
     if
     :: ok -> break
     :: else
     fi
  od;
  atomic { old = 0; ok = false; in_read++; assert (in_write == 0) }
}

inline write_lock ()
{
  old = word;
  do
  :: is_free (old) ->
     cas ((old & ~PENDING) | WRITER);
     if
     :: ok -> break
     :: else
     fi
  :: else -> wait_with (WAITERS | PENDING)
  od;
  atomic {
    old = 0; ok = false; in_write++; assert (in_write == 1 && in_read == 0)
  }
}

#ifdef BROKEN_TRY_DROPS
#define TRY_NEW WRITER
#else
#define TRY_NEW (old | WRITER)
#endif

/* Leaves the answer in got. */
inline try_write ()
{
  old = word;
  do
  :: is_free (old) ->
     cas (TRY_NEW);
     if
     :: ok -> got = true; break
     :: else
     fi
  :: else -> got = false; break
  od;
  atomic {
    old = 0; ok = false;
    if
    :: got -> in_write++; assert (in_write == 1 && in_read == 0)
    :: else
    fi
  }
}

inline read_unlock ()
{
  in_read--;
#ifdef ONE_STEP_UNLOCK
  old = word;
  do
  :: assert (readers (old) > 0);
     if
     :: readers (old) == 1 -> cas ((old - READER) & ~(WAITERS | PENDING))
     :: else -> cas (old - READER)
     fi;
     if
     :: ok -> break
     :: else
     fi
  od;
  if
  :: readers (old) == 1 && (old & WAITERS) -> wake_all ()
  :: else
  fi;
#else
  d_step { old = word; assert (readers (old) > 0); word = word - READER }
  if
  :: readers (old) == 1 && (old & WAITERS) ->
#ifdef BROKEN_NO_RECHECK
     word = word & ~(WAITERS | PENDING | WRITER);
     wake_all ();
#else
     old = word;
     do
     :: (old & WAITERS) && is_free (old) ->
        cas (old & ~(WAITERS | PENDING));
        if
        :: ok -> wake_all (); break
        :: else
        fi
     :: else -> break
     od
#endif
  :: else
  fi;
#endif
  atomic { old = 0; ok = false }
}

inline write_unlock ()
{
  in_write--;
  d_step {
    old = word;
    assert (old & WRITER);
    word = word & ~(WRITER | WAITERS | PENDING)
  }
  if
  :: old & WAITERS -> wake_all ()
  :: else
  fi;
  old = 0
}

proctype reader (byte me)
{
  byte old, s, i, n;
  bool ok;

  do
  :: n < RROUNDS ->
     read_lock ();
progress:
     read_unlock ();
     n++
  :: else -> break
  od
}

proctype writer (byte me)
{
  byte old, s, i, n;
  bool ok;

  do
  :: n < WROUNDS ->
     write_lock ();
progress:
     write_unlock ();
     n++
  :: else -> break
  od
}

proctype trier (byte me)
{
  byte old, i, n;
  bool ok, got;

  do
  :: n < TROUNDS ->
     try_write ();
     if
     :: got -> got = false; write_unlock ()
     :: else
     fi;
progress:
     n++
  :: else -> break
  od
}

init
{
  byte k;

  atomic {
    do
    :: k < NREAD -> run reader (k); k++
    :: else -> break
    od;
    do
    :: k < NREAD + NWRITE -> run writer (k); k++
    :: else -> break
    od;
    do
    :: k < NPROC -> run trier (k); k++
    :: else -> break
    od;
    k = 0
  }
  atomic {
    _nr_pr == 1;
    assert (word == 0 && in_read == 0 && in_write == 0)
  }
}
