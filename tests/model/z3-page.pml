/* SPDX-License-Identifier: BSD-3-Clause
 *
 * z3-page: the life of a page of z3fold: allocations and reclaim find it on its
 * lists, objects come and go, and it is freed once, when nobody looks at it.
 *
 * README: run by test-models.sh.  By hand: spin -a z3-page.pml &&
 * cc -O1 -DSAFETY -o pan pan.c && ./pan  (add -D options to spin -a).
 *
 *      FREE --new page--> LIVE --last object freed--> DEAD
 *        ^                                             |
 *        +---------- the last reference dropped -------+
 *
 *      page lock    used, owner (the back pointers), LIVE -> DEAD
 *      lists lock   listed (both lists at once), the free pages
 *      slot lock    which object a slot has, and that one's life
 *      refs         one for each of the two lists, one for who looks
 *
 * One page of two objects; who finds no room has another page, which is left
 * out here.
 *
 * Claims
 *   a page is freed only when it is DEAD, on no list, not locked, and nobody
 *     looks at it; and then it is taken by one only
 *   an object is freed once, and only in a page that is LIVE
 *   at rest a page is LIVE, on its lists, with two references and objects, or
 *     FREE with none
 *   nobody waits for ever                        (no invalid end state)
 *   no livelock                                  (no non-progress cycle)
 *
 * Options
 *   ROUNDS  RECLAIMS      of each process
 *   BROKEN_NO_REF         an allocation takes no reference when it finds a page
 *   BROKEN_LATE_REF       it takes it after it dropped the lists lock
 *   BROKEN_NO_LOOK        it does not look at the state once it has the page
 *   BROKEN_RECLAIM_NO_REF reclaim takes no reference
 *   BROKEN_FREE_AT_ONCE   the page is free when its last object is
 *   BROKEN_STAYS_LOCKED   reclaim leaves a page locked that could not go
 */

#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef RECLAIMS
#define RECLAIMS 2
#endif

#define SLOTS 2
#define FREE 0
#define LIVE 1
#define DEAD 2
#define EMPTY (!used[0] && !used[1])

byte state;                     /* FREE */
byte refs;
bool page_lock, lists_lock;
bool listed;
bool kept = true;               /* among the free pages */
bool used[2];
byte owner[2];                  /* slot + 1, 0: in transit */

bool slot_lock[SLOTS];
byte object[SLOTS];             /* entry + 1, 0: none */

byte looking;                   /* ghost: who may touch the page */

inline lock (l)
{
  atomic { !l -> l = true }
}

inline unlock (l)
{
  d_step { assert (l); l = false }
}

#define GET refs++; looking++

/* Drop n references, of which one is the caller's own. */
inline put (n)
{
  d_step {
    assert (refs >= n && looking > 0);
    looking--;
    refs = refs - n;
    last = (refs == 0)
  }
  if
  :: last ->
     d_step {
       assert (state == DEAD && !listed && !page_lock && looking == 0 && EMPTY);
       state = FREE
     }
     lock (lists_lock);
     d_step { assert (!kept); kept = true }
     unlock (lists_lock)
  :: else
  fi
}

/* Page locked. */
inline take_entry (e)
{
  d_step {
    if
    :: !used[0] -> e = 0
    :: else -> e = 1
    fi;
    assert (!used[e]);
    used[e] = true;
    owner[e] = 0
  }
}

/* The slot is locked, and has the object. */
inline free_object (e)
{
  d_step { GET }
  lock (page_lock);
  d_step { assert (state == LIVE && used[e]); used[e] = false; owner[e] = 0 }
  n = 1;
  if
  :: EMPTY ->
     state = DEAD;
     lock (lists_lock);
     listed = false;
     unlock (lists_lock);
     unlock (page_lock);
#ifdef BROKEN_FREE_AT_ONCE
     n = refs
#else
     n = 3
#endif
  :: else -> unlock (page_lock)
  fi;
  put (n)
}

/* Sets got, and e. */
inline allocate ()
{
  lock (lists_lock);
  found = listed;
  if
  :: found ->
#if !defined(BROKEN_NO_REF) && !defined(BROKEN_LATE_REF)
     refs++;
#endif
     looking++
  :: !found && kept -> kept = false; fresh = true
  :: else
  fi;
  unlock (lists_lock);
  if
  :: found ->
#ifdef BROKEN_LATE_REF
     refs++;
#endif
     lock (page_lock);
     if
#ifdef BROKEN_NO_LOOK
     :: !used[0] || !used[1] ->
#else
     :: state == LIVE && (!used[0] || !used[1]) ->
#endif
        take_entry (e);
        got = true
     :: else
     fi;
     unlock (page_lock);
#ifdef BROKEN_NO_REF
     refs++;
#endif
     put (1)
  :: fresh ->
     d_step {
       assert (state == FREE && refs == 0 && EMPTY);
       state = LIVE;
       GET
     }
     lock (page_lock);
     take_entry (e);
     got = true;
     lock (lists_lock);
     d_step { assert (!listed); listed = true; refs = refs + 2 }
     unlock (lists_lock);
     unlock (page_lock);
     put (1)
  :: else
  fi
}

/* A slot gets an object, and loses it, unless reclaim was there before. */
proctype worker (byte s)
{
  byte e, n, k;
  bool found, fresh, got, last;

  do
  :: k < ROUNDS ->
     allocate ();
     if
     :: got ->
        lock (slot_lock[s]);
        object[s] = e + 1;
        d_step { GET }
        lock (page_lock);
        owner[e] = s + 1;
        unlock (page_lock);
        put (1);
        unlock (slot_lock[s])
     :: else
     fi;
     lock (slot_lock[s]);
     if
     :: object[s] != 0 -> free_object (object[s] - 1); object[s] = 0
     :: else
     fi;
     unlock (slot_lock[s]);
progress:
     atomic { k++; e = 0; n = 0; found = false; fresh = false; got = false }
  :: else -> break
  od
}

/* The cell that was copied; what it has now may be another object. */
inline evict (c)
{
  if
  :: c != 0 ->
     lock (slot_lock[c - 1]);
     if
     :: object[c - 1] != 0 ->
        if
        :: free_object (object[c - 1] - 1); object[c - 1] = 0
        :: all = false          /* it cannot go */
        fi
     :: else
     fi;
     unlock (slot_lock[c - 1])
  :: else
  fi
}

proctype reclaim ()
{
  byte a, b, n, k;
  bool found, last, all;

  do
  :: k < RECLAIMS ->
     all = true;
     lock (lists_lock);
     found = listed;
     if
     :: found ->
#ifndef BROKEN_RECLAIM_NO_REF
        refs++;
#endif
        looking++
     :: else
     fi;
     unlock (lists_lock);
     if
     :: found ->
        lock (page_lock);
        d_step { a = (used[0] -> owner[0] : 0); b = (used[1] -> owner[1] : 0) }
        unlock (page_lock);
        evict (a);
        evict (b);
#ifdef BROKEN_STAYS_LOCKED
        if
        :: !all -> lock (page_lock)
        :: else
        fi;
#endif
#ifdef BROKEN_RECLAIM_NO_REF
        looking--
#else
        put (1)
#endif
     :: else
     fi;
progress:
     atomic { k++; a = 0; b = 0; n = 0; found = false }
  :: else -> break
  od
}

init
{
  atomic {
    run worker (0);
    run worker (1);
    run reclaim ()
  }
  atomic {
    _nr_pr == 1;
    assert (!page_lock && !lists_lock && looking == 0);
    assert (object[0] == 0 && object[1] == 0 && EMPTY);
    assert (state == FREE && refs == 0 && kept && !listed)
  }
}
