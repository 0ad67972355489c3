/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compiler attributes: branch hints, results that must be used, and the
 * names of clang's thread-safety analysis (nothing with other compilers).
 */

#ifndef ZRAM_COMPILER_H
#define ZRAM_COMPILER_H

#define likely(x) __builtin_expect (!!(x), 1)
#define unlikely(x) __builtin_expect (!!(x), 0)

#define MUST_USE __attribute__ ((warn_unused_result))
#define NOINLINE __attribute__ ((noinline))

#define CACHE_LINE 64

#if defined(__clang__)
#define TSA(x) __attribute__ ((x))
#else
#define TSA(x)
#endif

#define CAPABILITY(name) TSA (capability (name))
/* For the reader only: in C, clang finds a lock among a struct's members only
 * with -fexperimental-late-parse-attributes (clang 20).
 */
#define GUARDED_BY(lock)
#define ACQUIRE(...) TSA (acquire_capability (__VA_ARGS__))
#define ACQUIRE_SHARED(...) TSA (acquire_shared_capability (__VA_ARGS__))
#define RELEASE(...) TSA (release_capability (__VA_ARGS__))
#define RELEASE_SHARED(...) TSA (release_shared_capability (__VA_ARGS__))
#define TRY_ACQUIRE(...) TSA (try_acquire_capability (__VA_ARGS__))
#define TRY_ACQUIRE_SHARED(...) \
  TSA (try_acquire_shared_capability (__VA_ARGS__))
#define REQUIRES(...) TSA (requires_capability (__VA_ARGS__))
#define REQUIRES_SHARED(...) TSA (requires_shared_capability (__VA_ARGS__))
#define ASSERT_CAPABILITY(...) TSA (assert_capability (__VA_ARGS__))

/* Functions that clang does not look into, and why there are any:
 *   - what makes the locks themselves (mutex.h, rwword.h, the slot's, zspage's
 *     and page's): the capability is the whole, and the body changes a part;
 *   - what stays locked behind a value that is kept or returned, since clang
 *     knows a lock by its expression only: the pin of a zspage (zspage.h), a
 *     borrowed stream (zcomp.c).  The slot that a lookup has locked is named by
 *     a question of the caller (slot_is_there);
 *   - as many locks as a loop took (a page of descriptors, a leaf's slots).
 * Only the two ends are opted out: who pins or borrows is followed for all its
 * other locks.  Of a TRY_ACQUIRE function clang checks the callers, and not the
 * body; one that finds what it locks gives it by a pointer to a variable, and
 * names that: TRY_ACQUIRE (true, (*z)->lock).
 */
#define NO_THREAD_SAFETY_ANALYSIS TSA (no_thread_safety_analysis)

#endif /* ZRAM_COMPILER_H */
