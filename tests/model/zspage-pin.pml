/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zspage-pin: readers pin a zspage by handle, read-lock, handle again; the
 * mover, which only ever tries, empties it meanwhile; objects are written,
 * replaced and freed; freed pages are taken by another size class at once.
 *
 * README: run by test-models.sh.  By hand: spin -a zspage-pin.pml &&
 * cc -O1 -DSAFETY -o pan pan.c && ./pan  (add -D options to spin -a).
 *
 *      slot: lock, cell ----handle---> object: back, bytes (two halves)
 *              ^                         |     in a zspage: lock, class
 *              +-------------------------+
 *
 *      slot lock    the kind of the cell (object or fill), its object's life
 *      class lock   live, the cells of its live objects, its zspages
 *      zspage lock  the bytes of its objects, and the cells that name them,
 *                   against the mover
 *      back         written by the slot's owner, and by who moves or
 *                   allocates under the class lock
 *
 * A handle is a number, and so is a fill pattern: a cell may hold a pattern
 * that equals any handle, and the mover cannot tell.  The slot lock and the
 * zspage lock are taken in one step here: slot-lock.pml proves them.
 *
 * Claims
 *   a pinned reader sees the bytes of its own object, whole
 *   a fill pattern reads back as it was stored
 *   an object is freed once; a zspage is freed only with no live object
 *   live objects = slots in object state, each with its back pointer (init)
 *   no lock word underflows; nobody waits for ever   (no invalid end state)
 *   no livelock                                  (no non-progress cycle)
 *
 * Options
 *   READS WRITES MOVES   rounds of each process;  TWO_MOVERS TWO_READERS
 *   SAME_SLOT             both writers write the same slot
 *   BROKEN_NO_REVALIDATE  the reader does not read the handle again
 *   BROKEN_READ_ONCE      it does, and tries again with the first one
 *   BROKEN_MOVE_LOCKED    the mover does not look for readers
 *   BROKEN_STALE_FREE     free uses the handle read before the class lock
 *   BROKEN_STORE_EARLY    the cell is stored before the class lock
 *   BROKEN_KEEP_BACK      allocation leaves the old back pointer
 *   BROKEN_BACK_FIRST     the back pointer is stored before the cell
 *   BROKEN_LATE_BACK      it is stored after the slot was unlocked
 *   BROKEN_LOCK_RESET     a reused zspage gets its lock word set to zero
 */

#ifndef READS
#define READS 1
#endif
#ifndef WRITES
#define WRITES 2
#endif
#ifndef MOVES
#define MOVES 1
#endif

#define NSLOT 2
#define NZ 3
#define NHANDLE (NZ * 2 + 1)    /* handle 0 is none */
#define ZSPAGE(h) (((h) - 1) / 2)
#define FIRST(z) ((z) * 2 + 1)
#define FREE 3                  /* class of a zspage in the arena */
#define LOCKED 15
#define EMPTY(z) (!live[FIRST (z)] && !live[FIRST (z) + 1])

/* slots */
byte cell[NSLOT];
bool is_obj[NSLOT];
byte slot_class[NSLOT];         /* part of the handle */
byte slot_lock[NSLOT];
byte truth[NSLOT];              /* ghost: what the slot must read as */

/* objects */
bool live[NHANDLE];
byte back[NHANDLE];             /* slot + 1, 0: not published */
byte low[NHANDLE];
byte high[NHANDLE];

/* zspages */
byte zclass[NZ];
byte zlock[NZ];

bool class_lock[2];

inline lock_class (c)
{
  atomic { !class_lock[c] -> class_lock[c] = true }
}

inline lock_slot_write (s)
{
  atomic { slot_lock[s] == 0 -> slot_lock[s] = LOCKED }
}

inline unlock_slot_write (s)
{
  d_step { assert (slot_lock[s] == LOCKED); slot_lock[s] = 0 }
}

#ifdef BROKEN_LOCK_RESET
#define TAKE_ZSPAGE(z, c) zclass[z] = c; zlock[z] = 0
#else
#define TAKE_ZSPAGE(z, c) zclass[z] = c
#endif

/* Finds a place in class c outside zspage not, a partly used zspage before a
 * free one.  In one step, since all it looks at is under the class lock of
 * the caller or in the arena.  h is 0 when no place is found.
 */
inline find_place (c, not)
{
  h = 1;
  do
  :: h < NHANDLE && (live[h] || zclass[ZSPAGE (h)] != c ||
                     ZSPAGE (h) == not) -> h++
  :: else -> break
  od;
  if
  :: h == NHANDLE ->
     h = 1;
     do
     :: h < NHANDLE && zclass[ZSPAGE (h)] != FREE -> h = h + 2
     :: else -> break
     od;
     if
     :: h >= NHANDLE -> h = 0
     :: else -> TAKE_ZSPAGE (ZSPAGE (h), c)
     fi
  :: else
  fi;
  if
  :: h != 0 -> live[h] = true
  :: else
  fi
}

/* Class lock held.  Pages that went back to the system read as zeros. */
inline free_if_empty (z)
{
  d_step {
    if
    :: EMPTY (z) ->
       low[FIRST (z)] = 0; high[FIRST (z)] = 0;
       low[FIRST (z) + 1] = 0; high[FIRST (z) + 1] = 0;
#ifndef BROKEN_KEEP_BACK
       back[FIRST (z)] = 0; back[FIRST (z) + 1] = 0;
#endif
       zclass[z] = FREE
    :: else
    fi
  }
}

inline read_slot (s)
{
  atomic { slot_lock[s] != LOCKED -> slot_lock[s]++ }
  if
  :: is_obj[s] ->
#ifdef BROKEN_READ_ONCE
#define READ_AGAIN skip
     h = cell[s];
#else
#define READ_AGAIN h = cell[s]
#endif
     do
     :: READ_AGAIN;
        atomic { zlock[ZSPAGE (h)] != LOCKED -> zlock[ZSPAGE (h)]++ }
#ifdef BROKEN_NO_REVALIDATE
        break
#else
        if
        :: cell[s] == h -> break
        :: else ->
           d_step {
             assert (zlock[ZSPAGE (h)] > 0 && zlock[ZSPAGE (h)] != LOCKED);
             zlock[ZSPAGE (h)]--
           }
        fi
#endif
     od;
     assert (low[h] == truth[s]);
     assert (high[h] == truth[s]);
     d_step {
       assert (zlock[ZSPAGE (h)] > 0 && zlock[ZSPAGE (h)] != LOCKED);
       zlock[ZSPAGE (h)]--
     }
  :: else -> assert (cell[s] == truth[s])
  fi;
  d_step {
    assert (slot_lock[s] > 0 && slot_lock[s] != LOCKED);
    slot_lock[s]--;
    h = 0
  }
}

proctype reader (byte s)
{
  byte h, n;

  do
  :: n < READS ->
     read_slot (s);
progress:
     n++
  :: else -> break
  od
}

/* Slot lock held.  The old object dies in the critical section in which the
 * cell stops to name it.
 */
inline replace (s, new)
{
  if
  :: is_obj[s] ->
     c = slot_class[s];
#ifdef BROKEN_STALE_FREE
     old = cell[s];
#endif
#ifdef BROKEN_STORE_EARLY
     old = cell[s];
     cell[s] = new;
#endif
     lock_class (c);
#if !defined(BROKEN_STALE_FREE) && !defined(BROKEN_STORE_EARLY)
     old = cell[s];
#endif
#ifndef BROKEN_STORE_EARLY
     cell[s] = new;
#endif
     d_step {
       assert (live[old] && zclass[ZSPAGE (old)] == c);
       live[old] = false
     }
     free_if_empty (ZSPAGE (old));
     atomic { class_lock[c] = false; old = 0; c = 0 }
  :: else -> cell[s] = new
  fi
}

#define STAMP (20 + _pid * 10 + n)

/* Stores an object of a class, or a fill pattern: the number that the cell
 * has now, or handle 1.
 */
proctype writer (byte s)
{
  byte h, c, old, class, n;

  do
  :: n < WRITES ->
     if
     :: /* an object: allocated, then written, then published */
        if
        :: class = 0
        :: s > 0 -> class = 1
        fi;
        atomic {
          !class_lock[class];
          find_place (class, NZ);
#ifndef BROKEN_KEEP_BACK
          if
          :: h != 0 -> back[h] = 0
          :: else
          fi
#endif
        }
        if
        :: h != 0 ->
           low[h] = STAMP;
           high[h] = STAMP;
           lock_slot_write (s);
#ifdef BROKEN_BACK_FIRST
           back[h] = s + 1;
#endif
           replace (s, h);
           d_step {
             is_obj[s] = true;
             slot_class[s] = class;
             truth[s] = STAMP
           }
#ifdef BROKEN_LATE_BACK
           unlock_slot_write (s);
#endif
#ifndef BROKEN_BACK_FIRST
           back[h] = s + 1;
#endif
#ifndef BROKEN_LATE_BACK
           unlock_slot_write (s)
#endif
        :: else                 /* no memory: the old data stay */
        fi
     :: /* a fill pattern */
        if
        :: h = cell[s]
        :: h = 1
        fi;
        lock_slot_write (s);
        replace (s, h);
        d_step { is_obj[s] = false; slot_class[s] = 0; truth[s] = h }
        unlock_slot_write (s)
     fi;
progress:
     atomic { n++; h = 0; class = 0 }
  :: else -> break
  od
}

/* Class lock and write lock of the source held: one object. */
inline move_object (from, c)
{
  if
  :: live[from] && back[from] != 0 ->
     sl = back[from] - 1;
     if
     :: cell[sl] == from ->
        atomic { find_place (c, ZSPAGE (from)) }
        if
        :: h != 0 ->
           low[h] = low[from];
           high[h] = high[from];
           back[h] = sl + 1;
           d_step {
             if
             :: cell[sl] == from -> cell[sl] = h; live[from] = false
             :: else -> live[h] = false; back[h] = 0
             fi
           }
           if
           :: live[from] -> free_if_empty (ZSPAGE (h))
           :: else
           fi
        :: else
        fi
     :: else
     fi
  :: else
  fi
}

#ifdef BROKEN_MOVE_LOCKED
#define CAN_LOCK(z) true
#define TAKE(z) skip
#define RELEASE(z) skip
#else
#define CAN_LOCK(z) (zlock[z] == 0)
#define TAKE(z) zlock[z] = LOCKED
#define RELEASE(z) d_step { assert (zlock[z] == LOCKED); zlock[z] = 0 }
#endif

proctype mover (byte c)
{
  byte h, z, sl, n;
  bool got;

  do
  :: n < MOVES ->
     lock_class (c);
     if                         /* compaction's choice is any */
     :: zclass[0] == c -> z = 0
     :: zclass[1] == c -> z = 1
     :: zclass[2] == c -> z = 2
     :: else -> z = NZ
     fi;
     if
     :: z < NZ ->
        atomic {
          if
          :: CAN_LOCK (z) -> TAKE (z); got = true
          :: else               /* a reader is inside: on to the next */
          fi
        }
     :: else
     fi;
     if
     :: got ->
        move_object (FIRST (z), c);
        move_object (FIRST (z) + 1, c);
        free_if_empty (z);
        if
        :: RELEASE (z); class_lock[c] = false
        :: class_lock[c] = false; RELEASE (z)
        fi
     :: else -> class_lock[c] = false
     fi;
progress:
     atomic { n++; h = 0; z = 0; sl = 0; got = false }
  :: else -> break
  od
}

inline check_at_rest ()
{
  k = 0;
  do
  :: k < NSLOT ->
     assert (slot_lock[k] == 0);
     if
     :: is_obj[k] ->
        objects++;
        assert (live[cell[k]] && back[cell[k]] == k + 1 &&
                zclass[ZSPAGE (cell[k])] == slot_class[k] &&
                low[cell[k]] == truth[k] && high[cell[k]] == truth[k])
     :: else -> assert (cell[k] == truth[k])
     fi;
     k++
  :: else -> break
  od;
  k = 1;
  do
  :: k < NHANDLE ->
     if
     :: live[k] -> objects--; assert (zclass[ZSPAGE (k)] != FREE)
     :: else
     fi;
     k++
  :: else -> break
  od;
  assert (objects == 0);
  k = 0;
  do
  :: k < NZ ->
     assert (zlock[k] == 0 && (EMPTY (k) == (zclass[k] == FREE)));
     k++
  :: else -> break
  od;
  assert (!class_lock[0] && !class_lock[1])
}

init
{
  byte k;
  short objects;

  /* Two zspages of class 0, an object in each, the third page free. */
  atomic {
    live[1] = true; back[1] = 1; low[1] = 11; high[1] = 11;
    live[3] = true; back[3] = 2; low[3] = 12; high[3] = 12;
    cell[0] = 1; is_obj[0] = true; truth[0] = 11;
    cell[1] = 3; is_obj[1] = true; truth[1] = 12;
    zclass[2] = FREE;
    run reader (0);
    run writer (0);
#ifdef SAME_SLOT
    run writer (0);
#else
    run writer (1);
#endif
    run mover (0);
#ifdef TWO_READERS
    run reader (1);
#endif
#ifdef TWO_MOVERS
    run mover (1);
#endif
  }
  atomic { _nr_pr == 1; check_at_rest () }
}
