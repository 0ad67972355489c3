/* SPDX-License-Identifier: BSD-3-Clause
 *
 * leaf-reclaim: an empty leaf of the slot table is taken out of the
 * directory, its page is given back to the system, and the leaf serves
 * another part of the disk, while stale users still hold its address.
 *
 * README: run by test-models.sh.  By hand: spin -a leaf-reclaim.pml &&
 * cc -O1 -DSAFETY -o pan pan.c && ./pan  (add -D options to spin -a).
 *
 *      dir[base] ---> leaf: entry[0] entry[1]   each: lock word, value
 *                      |
 *                      +--- one bucket of the parking lot for the leaf
 *
 * The page is zeroed word by word and without regard to what is in the
 * words: WAITERS and PENDING are lost, every lock comes out free.  The lock
 * is the one of slot-lock.pml, in full, because its bits are what is lost.
 *
 * Claims
 *   who works on an entry works on the leaf that the directory names
 *   a write that was made is seen: absent means empty   (ghost)
 *   unlock finds its lock taken: no word underflows
 *   nobody sleeps for ever                  (no invalid end state)
 *   no livelock                             (no non-progress cycle)
 *   a leaf is in the directory once, or on the free list, never both
 *
 * Options
 *   WRITERS READERS RECLAIMERS    how many of each
 *   NBASE NLEAF                   parts of the disk, leaves
 *   FETCH_SUB_UNLOCK  the last reader clears after it released
 *   BROKEN_BASE_CHECK entry lock looks at the leaf's base, which is set
 *                     before the directory, not at the directory
 *   BROKEN_BASE_LATE  the same, and the base is set after the directory:
 *                     safe, but who comes between burns the processor
 *   BROKEN_NO_CHECK   entry lock does not look again at all
 *   BROKEN_BLIND      the reclaimer does not look again
 *   BROKEN_BASE_BLIND the reclaimer looks at the base only
 *   BROKEN_NO_WAKE    nobody is woken after the page was zeroed
 *   BROKEN_WAKE_FIRST they are woken before it is zeroed
 *   BROKEN_ZERO_FREE  the entries are unlocked before the page is zeroed
 */

#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef RECLAIMERS
#define RECLAIMERS 1
#endif
#ifndef NBASE
#define NBASE 2
#endif
#ifndef NLEAF
#define NLEAF 2
#endif
#ifndef OPS
#define OPS 1
#endif
#ifndef PASSES
#define PASSES 1
#endif
#define NENT 2
#define NPROC (WRITERS + READERS + RECLAIMERS)
#define NONE 7

#define WRITER  1
#define WAITERS 2
#define PENDING 4
#define READER  8
#define readers(v) ((v) >> 3)
#define is_free(v) (readers (v) == 0 && ((v) & WRITER) == 0)

#define ENT(l, i) ((l) * NENT + (i))

byte word[NLEAF * NENT];        /* in the page */
byte val[NLEAF * NENT];         /* in the page; 0 is EMPTY */
byte base[NLEAF];               /* in the descriptor */
byte dir[NBASE];                /* leaf or NONE */
bool leaf_free[NLEAF];          /* the free list */
bool table_lock;
byte seq[NLEAF];
byte asleep[NPROC];             /* 0, or 1 + leaf whose bucket it is in */

byte truth[NBASE * NENT];       /* ghost: what the disk holds */
byte in_read[NBASE * NENT];     /* ghost: who works on it */
byte in_write[NBASE * NENT];

/* As in C11, a failed compare-and-swap leaves what it found in old. */
inline cas (e, new)
{
  d_step {
    if
    :: word[e] == old -> word[e] = new; ok = true
    :: else -> old = word[e]; ok = false
    fi
  }
}

inline wake_all (l)
{
  seq[l]++;
  d_step {
    k = 0;
    do
    :: k < NPROC ->
       if
       :: asleep[k] == l + 1 -> asleep[k] = 0
       :: else
       fi;
       k++
    :: else -> break
    od;
    k = 0
  }
}

inline wait_with (e, l, bits)
{
  s = seq[l];
  cas (e, old | bits);
  if
  :: ok ->
     d_step {
       if
       :: seq[l] == s -> asleep[me] = l + 1
       :: else
       fi;
       s = 0; old = 0
     }
     atomic { asleep[me] == 0 -> old = word[e] }
  :: else -> s = 0
  fi
}

inline read_lock (e, l)
{
  old = word[e];
  do
  :: old & (WRITER | PENDING) -> wait_with (e, l, WAITERS)
  :: else ->
     cas (e, old + READER);
     if
     :: ok -> break
     :: else
     fi
  od;
  atomic { old = 0; ok = false }
}

inline write_lock (e, l)
{
  old = word[e];
  do
  :: is_free (old) ->
     cas (e, (old & ~PENDING) | WRITER);
     if
     :: ok -> break
     :: else
     fi
  :: else -> wait_with (e, l, WAITERS | PENDING)
  od;
  atomic { old = 0; ok = false }
}

/* Leaves the answer in ok. */
inline try_write (e)
{
  old = word[e];
  do
  :: is_free (old) ->
     cas (e, old | WRITER);
     if
     :: ok -> break
     :: else
     fi
  :: else -> ok = false; break
  od;
  old = 0
}

inline read_unlock (e, l)
{
#ifdef FETCH_SUB_UNLOCK
  d_step {
    old = word[e]; assert (readers (old) > 0); word[e] = word[e] - READER
  }
  if
  :: readers (old) == 1 && (old & WAITERS) ->
     old = word[e];
     do
     :: (old & WAITERS) && is_free (old) ->
        cas (e, old & ~(WAITERS | PENDING));
        if
        :: ok -> wake_all (l); break
        :: else
        fi
     :: else -> break
     od
  :: else
  fi;
#else
  old = word[e];
  do
  :: assert (readers (old) > 0);
     if
     :: readers (old) == 1 ->
        cas (e, (old - READER) & ~(WAITERS | PENDING))
     :: else -> cas (e, old - READER)
     fi;
     if
     :: ok -> break
     :: else
     fi
  od;
  if
  :: readers (old) == 1 && (old & WAITERS) -> wake_all (l)
  :: else
  fi;
#endif
  atomic { old = 0; ok = false }
}

inline write_unlock (e, l)
{
  d_step {
    old = word[e];
    assert (old & WRITER);
    word[e] = word[e] & ~(WRITER | WAITERS | PENDING)
  }
  if
  :: old & WAITERS -> wake_all (l)
  :: else
  fi;
  old = 0
}

/* One step: everything in it is under the table lock except that the base
 * and the directory are stored one after the other and seen so.
 * Leaves NONE in leaf where there is no memory.
 */
inline allocate_leaf (b)
{
  atomic { !table_lock -> table_lock = true }
  atomic {
    leaf = dir[b];
    if
    :: leaf != NONE
    :: else ->
       k = 0;
       do
       :: k < NLEAF && !leaf_free[k] -> k++
       :: else -> break
       od;
       if
       :: k < NLEAF ->
          leaf = k; leaf_free[k] = false; ok = true;
#ifndef BROKEN_BASE_LATE
          base[k] = b
#endif
       :: else
       fi;
       k = 0
    fi
  }
  if
  :: ok ->
     atomic {
       ok = false;
       assert (dir[b] == NONE && val[ENT (leaf, 0)] == 0 &&
               val[ENT (leaf, 1)] == 0);
       dir[b] = leaf
     }
#ifdef BROKEN_BASE_LATE
     base[leaf] = b
#endif
  :: else
  fi;
  table_lock = false
}

#ifdef BROKEN_NO_CHECK
#define ENTRY_IS_MINE(b, l) (true)
#else
#if defined(BROKEN_BASE_CHECK) || defined(BROKEN_BASE_LATE)
#define ENTRY_IS_MINE(b, l) (base[l] == b)
#else
#define ENTRY_IS_MINE(b, l) (dir[b] == l)
#endif
#endif

#ifdef BROKEN_BLIND
#define LEAF_IS_MINE(b, l) (true)
#else
#ifdef BROKEN_BASE_BLIND
#define LEAF_IS_MINE(b, l) (base[l] == b)
#else
#define LEAF_IS_MINE(b, l) (dir[b] == l)
#endif
#endif

/* Writes a value or discards, as many times as it finds the leaf. */
proctype writer (byte me)
{
  byte b, i, leaf, e, v, old, s, k, n;
  bool ok;

  do
  :: n < OPS ->
     atomic {
       if
       :: b = 0
       :: NBASE > 1 -> b = 1
       fi;
       if
       :: i = 0
       :: me == 0 -> i = 1      /* the others stay with entry 0 */
       fi;
       if
       :: v = 0
       :: v = 1 + me
       fi
     }
     do
     :: atomic {
          leaf = dir[b];
          if
          :: leaf == NONE && v == 0 ->
             assert (truth[ENT (b, i)] == 0); break
          :: else
          fi
        }
        if
        :: leaf == NONE -> allocate_leaf (b)
        :: else
        fi;
        if
        :: leaf == NONE -> break            /* no memory: it fails */
        :: else
        fi;
        e = ENT (leaf, i);
        write_lock (e, leaf);
        if
        :: ENTRY_IS_MINE (b, leaf) ->
           d_step {
             in_write[ENT (b, i)]++;
             assert (in_write[ENT (b, i)] == 1 && in_read[ENT (b, i)] == 0);
             assert (val[e] == truth[ENT (b, i)])
           }
           d_step { val[e] = v; truth[ENT (b, i)] = v }
           in_write[ENT (b, i)]--;
           write_unlock (e, leaf);
           break
        :: else -> write_unlock (e, leaf)
        fi
     od;
progress:
     atomic { n++; leaf = 0; e = 0; b = 0; i = 0; v = 0 }
  :: else -> break
  od
}

proctype reader (byte me)
{
  byte b, i, leaf, e, old, s, k, n;
  bool ok;

  do
  :: n < OPS ->
     atomic {
       if
       :: b = 0
       :: NBASE > 1 -> b = 1
       fi
     }
     do
     :: atomic {
          leaf = dir[b];
          if
          :: leaf == NONE -> assert (truth[ENT (b, i)] == 0); break
          :: else
          fi
        }
        e = ENT (leaf, i);
        read_lock (e, leaf);
        if
        :: ENTRY_IS_MINE (b, leaf) ->
           d_step {
             in_read[ENT (b, i)]++;
             assert (in_write[ENT (b, i)] == 0);
             assert (val[e] == truth[ENT (b, i)])
           }
           in_read[ENT (b, i)]--;
           read_unlock (e, leaf);
           break
        :: else -> read_unlock (e, leaf)
        fi
     od;
progress:
     atomic { n++; leaf = 0; e = 0; b = 0; i = 0 }
  :: else -> break
  od
}

inline zero_page (l)
{
  i = 0;
  do
  :: i < NENT ->
     word[ENT (l, i)] = 0;
     val[ENT (l, i)] = 0;
     i++
  :: else -> break
  od;
  i = 0
}

proctype reclaimer (byte me)
{
  byte b, i, leaf, taken, old, k, n;
  bool ok, mine;

  do
  :: n < PASSES ->
     if
     :: b = 0
     :: NBASE > 1 -> b = 1
     fi;
     leaf = dir[b];
     if
     :: leaf != NONE ->
        do
        :: taken < NENT ->
           try_write (ENT (leaf, taken));
           if
           :: ok -> taken++
           :: else -> break
           fi
        :: else -> break
        od;
        if
        :: taken == NENT && LEAF_IS_MINE (b, leaf) &&
           val[ENT (leaf, 0)] == 0 && val[ENT (leaf, 1)] == 0 -> mine = true
        :: else
        fi;
        if
        :: mine ->
           dir[b] = NONE;
           base[leaf] = NONE;
#ifdef BROKEN_WAKE_FIRST
           wake_all (leaf);
#endif
#ifdef BROKEN_ZERO_FREE
           write_unlock (ENT (leaf, 0), leaf);
           write_unlock (ENT (leaf, 1), leaf);
#endif
           zero_page (leaf);
#if !defined(BROKEN_WAKE_FIRST) && !defined(BROKEN_NO_WAKE)
           wake_all (leaf);
#endif
           d_step {
             assert (!leaf_free[leaf]);
             leaf_free[leaf] = true
           }
        :: else ->
           do
           :: taken > 0 ->
              taken--;
              write_unlock (ENT (leaf, taken), leaf)
           :: else -> break
           od
        fi
     :: else
     fi;
progress:
     atomic { n++; leaf = 0; taken = 0; ok = false; mine = false; b = 0 }
  :: else -> break
  od
}

init
{
  byte k, l;

  atomic {
    dir[0] = 0;
    base[0] = 0;
    l = 1;
    do
    :: l < NLEAF -> base[l] = NONE; leaf_free[l] = true; l++
    :: else -> break
    od;
    l = 1;
    do
    :: l < NBASE -> dir[l] = NONE; l++
    :: else -> break
    od;
    do
    :: k < WRITERS -> run writer (k); k++
    :: else -> break
    od;
    do
    :: k < WRITERS + READERS -> run reader (k); k++
    :: else -> break
    od;
    do
    :: k < NPROC -> run reclaimer (k); k++
    :: else -> break
    od
  }
  atomic {
    _nr_pr == 1;
    assert (!table_lock);
    l = 0;
    do
    :: l < NLEAF ->
       assert (word[ENT (l, 0)] == 0 && word[ENT (l, 1)] == 0);
       k = 0;                   /* how often the directory names it */
       if
       :: dir[0] == l -> k++; assert (base[l] == 0)
       :: else
       fi;
#if NBASE > 1
       if
       :: dir[1] == l -> k++; assert (base[l] == 1)
       :: else
       fi;
#endif
       assert ((k == 1 && !leaf_free[l]) || (k == 0 && leaf_free[l]));
       l++
    :: else -> break
    od
  }
}
