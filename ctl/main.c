/* SPDX-License-Identifier: BSD-3-Clause */

#include <config.h>

#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "ctl.h"
#include "out.h"
#include "socket_path.h"
#include "verbs.h"

/* The status, unless the output could not be written. */
static int
finish (int status)
{
  if (out_end () == 0)
    return status;
  err_line ("nbdzramctl: standard output: cannot write");
  return status == STATUS_OK ? STATUS_REFUSED : status;
}

static void
help (void)
{
  char left[48];

  out_text (
    "Usage: nbdzramctl [-s SOCKET] [--json] [VERB ...]\n"
    "\n"
    "Watch and control a compressed RAM disk.  Without a verb: a table.\n"
    "\n"
    "Options:\n"
    "  -s, --socket SOCKET   control socket of the server (else from\n"
    "                        NBDZRAM_SOCKET, else that of scripts/run)\n"
    "  -j, --json            print the answer as JSON\n"
    "  -b, --bytes           table: sizes in bytes\n"
    "  -n, --noheadings      table: no headings\n"
    "  -h, --help            this text\n"
    "  -V, --version         the version\n"
    "\n"
    "Verbs:\n");
  for (const struct verb *v = verbs; v->name; v++) {
    snprintf (left, sizeof left, "%s %s", v->name, v->args);
    out_line ("  %-28s %s", left, v->help);
  }
  out_text ("\n"
            "RANGE is a slot or slots: 5, 5-9, 5-.  SIZE: 4096, 512M, 2G.\n"
            "recompress: type=idle|huge|huge_idle threshold=BYTES max_slots=N\n"
            "            algorithm=NAME|priority=N range=RANGE\n"
            "train: samples=N size=SIZE\n"
            "writeback: type=idle|huge|huge_idle|incompressible, or "
            "page_index=N ...\n"
            "           page_indexes=A-B ... (slots, the last included)\n"
            "METHOD is NAME[:level=N][:dict=FILE].\n"
            "Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no "
            "server.\n");
}

/* An unknown option, or one that lacks its value: say which. */
static void __attribute__ ((noreturn)) die_of_option (int c, const char *word)
{
  /* optopt is 0 for an unknown long option. */
  if (c == ':' && strncmp (word, "--", 2) == 0)
    die (STATUS_USAGE, "%s: needs a value", word);
  if (c == ':')
    die (STATUS_USAGE, "-%c: needs a value", optopt);
  if (optopt && strncmp (word, "--", 2) != 0)
    die (STATUS_USAGE, "-%c: unknown option (see --help)", optopt);
  die (STATUS_USAGE, "%s: unknown option (see --help)", word);
}

/* Up to the verb.  Returns the index of the verb. */
static int
read_options (struct ctl *ctl, int argc, char **argv)
{
  static const struct option longs[] = {
    { "socket", required_argument, NULL, 's' },
    { "json", no_argument, NULL, 'j' },
    { "bytes", no_argument, NULL, 'b' },
    { "noheadings", no_argument, NULL, 'n' },
    { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'V' },
    { NULL, 0, NULL, 0 },
  };
  int c;

  opterr = 0;
  while ((c = getopt_long (argc, argv, "+:s:jbnhV", longs, NULL)) != -1) {
    switch (c) {
    case 's':
      if (!*optarg)
        die (STATUS_USAGE, "-s: the name of the socket is empty");
      ctl->socket = optarg;
      break;
    case 'j':
      ctl->json = true;
      break;
    case 'b':
      ctl->bytes = true;
      break;
    case 'n':
      ctl->no_headings = true;
      break;
    case 'h':
      help ();
      exit (finish (STATUS_OK));
    case 'V':
      out_line ("nbdzramctl %s", PACKAGE_VERSION);
      exit (finish (STATUS_OK));
    default:
      die_of_option (c, argv[optind - 1]);
    }
  }
  return optind;
}

static void __attribute__ ((noreturn)) help_with (const struct verb *verb)
{
  out_line ("Usage: nbdzramctl [-s SOCKET] [--json] %s%s%s", verb->name,
            *verb->args ? " " : "", verb->args);
  out_line ("%s", verb->help);
  exit (finish (STATUS_OK));
}

/* Takes --json, --help and the verb's flag out of the words after the verb. */
static void
read_arguments (struct ctl *ctl, const struct verb *verb, char **words,
                struct arguments *args)
{
  args->verb = verb->name;
  args->v = words;
  for (char **w = words; *w; w++) {
    if (strcmp (*w, "--json") == 0 || strcmp (*w, "-j") == 0)
      ctl->json = true;
    else if (strcmp (*w, "--help") == 0 || strcmp (*w, "-h") == 0)
      help_with (verb);
    else if (verb->flag && strcmp (*w, verb->flag) == 0)
      args->flag = true;
    else if (strncmp (*w, "--", 2) == 0)
      die (STATUS_USAGE, "%s: %s: unknown option (usage: %s %s)", verb->name,
           *w, verb->name, verb->args);
    else
      words[args->n++] = *w;
  }
  if (args->n > verb->max_args)
    die (STATUS_USAGE, "%s: %s: unexpected argument (usage: %s%s%s)",
         verb->name, words[verb->max_args], verb->name, *verb->args ? " " : "",
         verb->args);
}

static int
run (int argc, char **argv)
{
  struct ctl ctl = { .socket = NULL };
  struct arguments args = { .verb = NULL };
  const struct verb *verb = NULL;
  int at = read_options (&ctl, argc, argv), status;

  if (at < argc) {
    verb = verb_find (argv[at]);
    if (!verb)
      die (STATUS_USAGE, "%s: unknown verb (see --help)", argv[at]);
    read_arguments (&ctl, verb, argv + at + 1, &args);
  }
  if (!ctl.socket)
    ctl.socket = socket_path ();
  status = (verb ? verb->run : run_table) (&ctl, &args);
  client_close (&ctl);
  return status;
}

int
main (int argc, char *argv[])
{
  out_begin ();
  /* Letters and frames for the terminal's locale, numbers for scripts. */
  setlocale (LC_ALL, "");
  setlocale (LC_NUMERIC, "C");
  return finish (run (argc, argv));
}
