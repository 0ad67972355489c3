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
/* For the reader only: in C, clang looks a lock up among a struct's members
 * no earlier than with -fexperimental-late-parse-attributes (clang 20).
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
#define EXCLUDES(...) TSA (locks_excluded (__VA_ARGS__))
/* Where the analysis is told to look away, and why:
 *   - in what makes a lock of a word or of another lock (rwword, mutex, the
 *     slot's, zspage's and page's): the capability is the whole, and its body
 *     changes a part;
 *   - where a function locks something that its caller gets as a result, or
 * many locks in a loop: clang names a lock by the variable that it is in.  What
 *     is returned is named by a question of the caller (slot_is_there).
 */
#define NO_THREAD_SAFETY_ANALYSIS TSA (no_thread_safety_analysis)

#endif /* ZRAM_COMPILER_H */
