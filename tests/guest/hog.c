/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hog MIB ROUNDS: uses more memory than there is, and checks it.
 *
 * Every page is filled with its number, the round and noise that depends on
 * both: a third of it noise, so that it compresses like ordinary memory.  After
 * each round all of it is read again, in another order.  Exit status 0 if every
 * byte was right.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096u
#define WORDS (PAGE / sizeof (uint64_t))

static void
make_page (uint64_t *page, uint64_t number, uint64_t round)
{
  uint64_t x = (number + 1) * UINT64_C (0x9e3779b97f4a7c15) + round;

  for (size_t i = 0; i < WORDS; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    page[i] = i % 128 < 40 ? x : number << 8 | round;
  }
}

static int
check_page (const uint64_t *page, uint64_t number, uint64_t round)
{
  uint64_t right[WORDS];

  make_page (right, number, round);
  return memcmp (page, right, PAGE) == 0;
}

int
main (int argc, char **argv)
{
  size_t pages = argc == 3 ? strtoul (argv[1], NULL, 10) << 8 : 0;
  unsigned rounds = argc == 3 ? (unsigned) atoi (argv[2]) : 0;
  uint64_t *mem = mmap (NULL, pages * PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

  if (mem == MAP_FAILED || !rounds) {
    perror ("hog MIB ROUNDS");
    return 2;
  }
  for (unsigned round = 1; round <= rounds; round++) {
    for (size_t i = 0; i < pages; i++)
      make_page (mem + i * WORDS, i, round);
    printf ("hog: round %u written\n", round);
    fflush (stdout);
    /* 10007 is a prime: unless the pages are a multiple of it, which no number
     * of MiB below 10007 is, this visits every page once.
     */
    for (size_t i = 0, at = 0; i < pages; i++, at = (at + 10007) % pages)
      if (!check_page (mem + at * WORDS, at, round)) {
        printf ("hog: page %zu is wrong in round %u\n", at, round);
        return 1;
      }
    printf ("hog: round %u is right\n", round);
    fflush (stdout);
  }
  return 0;
}
