/* SPDX-License-Identifier: BSD-3-Clause
 *
 * hand-over: an object gets another cell (pool_hand_over), beside what moves
 * the object, what reclaims it, and readers of both cells.
 *
 * README: run by test-models.sh.
 *
 *      slot A: lock, kind, cell --+             +--> object: back, place
 *      slot B: lock, kind, cell --+---handle----+        (two places)
 *
 *      slot lock    the kind of its cell, and its object's life
 *      class lock   back, and the cell of a live object  (z3fold: the page lock)
 *      place lock   the bytes of what lies there, against the mover (the
 *                   zspage lock; readers share it, the mover only tries)
 *
 * There is one object.  A handle is the number of the place, 1 or 2, and so may
 * be a fill pattern: 1 is what is left behind in the old cell.
 *
 * Claims
 *   a reader of an object finds it where its cell says, whole
 *   a pattern reads back as it was stored: no mover writes to the old cell
 *   reclaim takes the object from the slot that has it, or from none
 *   no invalid end state
 *
 * Options
 *   Z3                    a mover that leaves the cells alone (inside a page),
 *                         and a reclaimer
 *   BROKEN_NO_LOCK        hand_over without the class lock
 *   BROKEN_BACK_LATE      the back pointer is set after the class was unlocked
 *   BROKEN_NO_TO_LOCK     hand_over without the new cell's slot lock
 *   BROKEN_TRUST          reclaim does not look whether the slot has the object
 */

#define PATTERN 1
#define LOCKED 15

byte cell[2] = { 1, 0 };
bool is_obj[2] = { true, false };
byte truth[2] = { 0, 0 };       /* ghost: what a pattern must read as */
byte slot_lock[2];

byte back = 0;                  /* the slot whose cell names the object */
byte place = 1;                 /* ghost: where its bytes are */
bool dead;
byte place_lock[3];
bool class_lock;

inline lock_class () { atomic { !class_lock -> class_lock = true } }

inline write_lock (s) { atomic { slot_lock[s] == 0 -> slot_lock[s] = LOCKED } }

inline write_unlock (s)
{
  d_step { assert (slot_lock[s] == LOCKED); slot_lock[s] = 0 }
}

/* From A to B.  Both slots locked, the lower first. */
proctype hander ()
{
  byte h;

  write_lock (0);
#ifndef BROKEN_NO_TO_LOCK
  write_lock (1);
#endif
  if
  :: is_obj[0] ->
#ifndef BROKEN_NO_LOCK
     lock_class ();
#endif
     h = cell[0];
     cell[1] = h;
#ifndef BROKEN_BACK_LATE
     assert (back == 0);
     back = 1;
#endif
     cell[0] = PATTERN;
     truth[0] = PATTERN;
#ifndef BROKEN_NO_LOCK
     class_lock = false;
#endif
#ifdef BROKEN_BACK_LATE
     back = 1;
#endif
     is_obj[0] = false;
     is_obj[1] = true
  :: else
  fi;
#ifndef BROKEN_NO_TO_LOCK
  write_unlock (1);
#endif
  write_unlock (0)
}

/* Moves the object to the other place if no reader is inside; its cell is found
 * by the back pointer, and must name it.
 */
proctype mover ()
{
  byte from, n, b;

  do
  :: n < 2 ->
     lock_class ();
     if
     :: !dead ->
        from = place;
        if
        :: atomic { place_lock[from] == 0 -> place_lock[from] = LOCKED };
           place = 3 - from;
#ifndef Z3
           b = back;
           assert (cell[b] == from);
           cell[b] = 3 - from;
#endif
           place_lock[from] = 0
        :: else
        fi
     :: else
     fi;
     class_lock = false;
     n++
  :: else -> break
  od
}

/* Pins what the slot's cell names: handle, place lock, handle again. */
proctype reader (byte s)
{
  byte h;

  atomic { slot_lock[s] != LOCKED -> slot_lock[s]++ };
  if
  :: is_obj[s] ->
#ifdef Z3
     /* The page lock finds the object wherever it lies in the page. */
     lock_class ();
     assert (!dead && back == s);
     class_lock = false
#else
     do
     :: h = cell[s];
        atomic { place_lock[h] != LOCKED -> place_lock[h]++ };
        if
        :: cell[s] == h -> break
        :: else -> place_lock[h]--
        fi
     od;
     assert (!dead && place == h);
     place_lock[h]--
#endif
  :: else -> assert (cell[s] == truth[s])
  fi;
  slot_lock[s]--
}

#ifdef Z3
/* Copies the back pointer with the page locked, and evicts with nothing held:
 * the slot may not have the object any more.
 */
proctype reclaimer ()
{
  byte s;

  lock_class ();
  s = back;
  class_lock = false;
  write_lock (s);
#ifndef BROKEN_TRUST
  if
  :: is_obj[s] ->
#endif
     lock_class ();
     assert (!dead && back == s && is_obj[s]);
     dead = true;
     cell[s] = 0;
     truth[s] = 0;
     is_obj[s] = false;
     class_lock = false
#ifndef BROKEN_TRUST
  :: else
  fi
#endif
  ;
  write_unlock (s)
}
#endif

init
{
  atomic {
    run hander ();
    run mover ();
    run reader (0);
    run reader (1);
#ifdef Z3
    run reclaimer ()
#endif
  };
  _nr_pr == 1;
  assert (is_obj[0] + is_obj[1] == !dead);
  assert (dead || (is_obj[back] && !is_obj[1 - back]));
  assert (is_obj[0] || cell[0] == truth[0]);
#ifndef Z3
  assert (cell[back] == place)
#endif
}
