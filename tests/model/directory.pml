/* SPDX-License-Identifier: BSD-3-Clause
 *
 * directory: lookups without a lock in a slot table of which leaves and nodes
 * are taken out and used again elsewhere (slot_table.c, leaves.c).
 *
 * README: run by test-models.sh.
 *
 *      root[part] ---> node: child ---> leaf: place, lock, value
 *
 * Two parts of the disk, each with one slot; nodes and leaves, which both parts
 * take from a free list.  A leaf has one slot here, so that its lock is the
 * leaf's; leaf-reclaim.pml has the lock in full, and what zeroing does to it.
 *
 * Claims
 *   a thread that has locked a leaf of the right place works on its data: the
 *   root names its node, and that the leaf                          (ghost)
 *   absent means empty, at a moment since the lookup began          (ghost)
 *   no invalid end state, and no livelock
 *   a leaf or node is in the directory once, or free, never both
 *
 * Options
 *   ROUNDS              of the reclaimer;  NO_READER
 *   BROKEN_NO_CHECK     the place is not looked at after locking
 *   BROKEN_WALK         instead of the place the directory is walked again
 *   BROKEN_PLACE_FIRST  the place is set before the directory names the leaf
 *   BROKEN_SPIN         who meets a leaf without a place does not wait for its
 *                       maker: safe, but burns the processor
 *   BROKEN_KEEP_PLACE   a reclaim does not clear the place
 */

#define NONE 7
#define PARTS 2
#ifndef ROUNDS
#define ROUNDS 2
#endif

byte root[PARTS] = { NONE, NONE };
#define N 3             /* one for each part, and one on its way out */

byte child[N] = { NONE, NONE, NONE };   /* of each node */
bool node_free[N] = { true, true, true };
byte place[N] = { NONE, NONE, NONE };   /* of each leaf */
bool leaf_free[N] = { true, true, true };
byte val[N];                            /* 0 is EMPTY */
bool locked[N];
bool table_lock;

byte truth[PARTS];                      /* ghost: what the part holds */
bool was_empty[6];                      /* ghost, by process and part */
#define WAS_EMPTY was_empty[_pid * 2 - 2 + p]

inline set_truth (p, v)
{
  truth[p] = v;
  if
  :: v == 0 -> was_empty[p] = true; was_empty[2 + p] = true;
               was_empty[4 + p] = true
  :: else
  fi
}

inline walk (p, leaf)
{
  n = root[p];
  if
  :: n == NONE -> leaf = NONE
  :: else -> leaf = child[n]
  fi;
  n = 0
}

inline lock_leaf (l) { atomic { !locked[l] -> locked[l] = true } }

/* Both under the table lock, step by step, since lookups see each of them. */
inline make (p)
{
  atomic { !table_lock -> table_lock = true };
  if
  :: root[p] == NONE ->
     d_step {
       n = 0;
       do
       :: n < N && !node_free[n] -> n++
       :: else -> break
       od;
       assert (n < N && child[n] == NONE);
       node_free[n] = false
     }
     root[p] = n
  :: else -> n = root[p]
  fi;
  if
  :: child[n] == NONE ->
     d_step {
       l = 0;
       do
       :: l < N && !leaf_free[l] -> l++
       :: else -> break
       od;
       assert (l < N);
       leaf_free[l] = false
     }
#ifdef BROKEN_PLACE_FIRST
     place[l] = p;
     child[n] = l;
#else
     child[n] = l;
     place[l] = p;
#endif
  :: else
  fi;
  atomic { table_lock = false; n = 0; l = 0 }
}

#ifdef BROKEN_NO_CHECK
#define IS_MINE true
#else
#ifdef BROKEN_WALK
#define IS_MINE (again == leaf)
#else
#define IS_MINE (place[leaf] == p)
#endif
#endif

/* Leaves the leaf locked, or NONE. */
inline find (p)
{
  walk (p, leaf);
  do
  :: leaf != NONE ->
     lock_leaf (leaf);
#ifdef BROKEN_WALK
     walk (p, again);
#endif
     if
     :: IS_MINE -> break
     :: else -> locked[leaf] = false
     fi;
     walk (p, again);
#ifndef BROKEN_SPIN
     if
     :: again == leaf ->
        atomic { !table_lock -> table_lock = true };
        table_lock = false
     :: else
     fi;
#endif
     leaf = again
  :: else -> break
  od;
  again = 0
}

inline check_mine (p)
{
  d_step {
    assert (root[p] != NONE);
    assert (child[root[p]] == leaf);
    assert (val[leaf] == truth[p])
  }
}

proctype writer (byte p)
{
  byte leaf, again, n, l;

  /* Write, and see it. */
  do
  :: find (p);
     if
     :: leaf != NONE ->
        check_mine (p);
        d_step { val[leaf] = 1; set_truth (p, 1) };
        locked[leaf] = false;
        break
     :: else -> make (p)
     fi
  od;
progress:
  WAS_EMPTY = false;
  find (p);
  assert (leaf != NONE);
  check_mine (p);
  d_step { val[leaf] = 0; set_truth (p, 0) };
  locked[leaf] = false;
progress2:
  skip
}

/* Of either part; it may come upon what the writer is about to fill. */
proctype reader (byte p)
{
  byte leaf, again, n;

  d_step { WAS_EMPTY = (truth[p] == 0) };
  find (p);
  if
  :: leaf != NONE -> check_mine (p); locked[leaf] = false
  :: else -> assert (WAS_EMPTY)
  fi;
progress:
  skip
}

proctype reclaimer (byte p)
{
  byte leaf, n, rounds;
  bool gone;

  do
  :: rounds < ROUNDS ->
     walk (p, leaf);
     if
     :: leaf != NONE && !locked[leaf] ->
        atomic { !locked[leaf] -> locked[leaf] = true };
        atomic { !table_lock -> table_lock = true };
        if
        :: place[leaf] == p && val[leaf] == 0 ->
           n = root[p];
           assert (child[n] == leaf);
           child[n] = NONE;
#ifndef BROKEN_KEEP_PLACE
           place[leaf] = NONE;
#endif
           root[p] = NONE;
           gone = true
        :: else
        fi;
        table_lock = false;
        if
        :: gone ->
           d_step { node_free[n] = true };
           d_step { locked[leaf] = false; leaf_free[leaf] = true }
        :: else -> locked[leaf] = false
        fi;
        atomic { gone = false; n = 0 }
     :: else
     fi;
     rounds++
  :: else -> break
  od;
progress:
  skip
}

init
{
  atomic {
    run writer (0);
#ifndef NO_READER
    run reader (0);
#endif
    run writer (1);
    run reclaimer (0)
  };
  _nr_pr == 1;
  assert (!table_lock && !locked[0] && !locked[1] && !locked[2]);
  assert (truth[0] == 0 && truth[1] == 0)
}
