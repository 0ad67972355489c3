#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The configuration keys: one table in the plugin, and all other texts about
them.

The table shows in --help and in the message for an unknown key.  It is
compared with the manual page (synopsis and PARAMETERS) and the README's table,
in both directions, with the defaults and with the words that a key allows; and
with every key that an example uses.  Then each text is changed, in each place
that is compared and for each key, and the test must notice it.
"""

import os
import re
import subprocess

NBDKIT = os.environ.get("NBDKIT", "nbdkit")
PLUGIN = os.environ.get("PLUGIN", "zram")
SRCDIR = os.environ.get("SRCDIR") or os.path.join(
    os.path.dirname(os.path.realpath(__file__)), "../..")

POD = "plugin/nbdkit-zram-plugin.pod"
COLUMN, WIDTH = 24, 79  # of the texts of --help
KEY = "[a-z][a-z0-9_]*"
NUMBER = r"(?<![\w^-])(?:2\^63-1|\d+[kMGTP]?)(?!\w)"

# Where a key stands before a value: in prose, and in examples.
PROSE = re.compile(r"(?:`|C<)(%s)=" % KEY)
EXAMPLES = {
    "README.md": r"nbdkit\b.*?\szram\s(.*)|scripts/run (.*)",
    POD: r"nbdkit\b.*?\szram\s(.*)",
    "ctl/nbdzramctl.pod": r"nbdkit\b.*?\szram\s(.*)",
    "docs/protocol.md": r"nbdkit\b.*?\szram\s(.*)",
    "packaging/example.conf": r"OPTIONS=(.*)",
    "packaging/nbdkit-zram@.service.in":
        r"NBDKIT_PROG@.*\szram\s(.*)|Environment=MARKER=(.*)",
    "scripts/run": r"Keys are the plugin's:(.*)|\szram (\"control=.*)",
}


def nbdkit(*args):
    return subprocess.run([NBDKIT, *args], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60)


def refused_for(key):
    """The allowed values of a key, from the message about an empty value."""
    job = nbdkit("-U", "-", PLUGIN, "1M", key + "=", "--run", "true")
    assert job.returncode != 0, key + "= is taken"
    assert job.stderr.startswith("nbdkit: error: %s=: " % key) and \
        job.stderr.count("\n") == 1, job.stderr
    return job.stderr.partition(": must be ")[2]


def plain(pod):
    """A pod's text without its formatting, on one line."""
    return " ".join(re.sub(r"[A-Z]<([^<>]*)>", r"\1", pod).split())


def between(text, begin, end):
    return text[text.index(begin) + len(begin):].split(end)[0]


class Help:
    """--help: for each key its words, and its default (None: required)."""

    def __init__(self, text, problem):
        self.words, self.default, lines = {}, {}, {}
        key = None
        own = text[text.index("\nplugin: "):].split("\n")
        while own and not re.match(r"\[?%s=" % KEY, own[0]):
            own.pop(0)
        for line in own:
            m = re.match(r"(?:\[(%s)=\]|(%s)=)<" % (KEY, KEY),
                         line.replace("=[<", "=<"))
            if m:
                key = m[1] or m[2]
                problem(key in lines, "help: twice:", key)
                problem(bool(m[1]) != (key == "size"), "help: brackets:", line)
                lines[key] = []
            elif line:
                problem(not re.match(" {%d}[^ ]" % COLUMN, line),
                        "help: neither key= nor more of it:", line)
            problem(len(line) > WIDTH, "help: too wide:", line)
            if line and key:
                lines[key].append(line[COLUMN:] if line[COLUMN - 1:COLUMN] == " "
                                  else "")
        for key, words in lines.items():
            self.words[key] = " ".join(" ".join(words).split())
            m = re.search(r" \((?:default: (.+)|required)\)\.$", self.words[key])
            problem(not m, "help: no default:", key, self.words[key])
            self.default[key] = m and m[1]


class Facts:
    """--dump-plugin: the values of some keys; and for each key the allowed
    values, from the message about an empty value.
    """

    def __init__(self, text, allowed):
        self.allowed = allowed
        fact = dict(line.split("=", 1) for line in text.splitlines())
        sizes = [int(fact["zram_slot_size_" + m]) for m in ("min", "max")]
        self.takes = {
            "algorithm": fact["zram_algorithms"].split(),
            "allocator": fact["zram_allocators"].split(),
            "slot_size": ["%dk" % (1 << i) for i in range(2, 30)
                          if sizes[0] <= 1024 << i <= sizes[1]],
        }
        self.levels = {name: [int(n) for n in fact["zram_level_" + name].split()]
                       for name in self.takes["algorithm"]}


def pod_items(pod):
    """For each key the texts of its items, unchanged, and the
    text below them.
    """
    items, below, last = {}, {}, None
    for part in between(pod, "=head1 PARAMETERS", "\n=head1").split("\n\n"):
        if part.startswith("=item"):
            key = re.match(r"=item \[?B<(%s)=" % KEY, part)
            last = key[1] if key else part
            items.setdefault(last, []).append(plain(part[6:]))
            below.setdefault(last, "")
        elif last and not part.startswith("="):
            below[last] += part + "\n\n"
    return items, {key: plain(text) for key, text in below.items()}


def complaints(text, help_text, unknown, facts):
    """All contradictions; 'text' has the files by name."""
    found = []

    def problem(bad, *what):
        if bad:
            found.append(" ".join(map(str, what)))

    def same(got, where):
        for key in sorted(set(keys) - set(got)):
            problem(True, where + ": is missing:", key)
        for key in sorted(set(got) - set(keys)):
            problem(True, where + ": there is no such key:", key)
        problem(len(set(got)) != len(got), where + ": twice:", got)

    table = Help(help_text, problem)
    keys = list(table.words)
    problem(len(keys) < 20, "help: where are they?")
    names = unknown.split("; known are ")[-1].strip()
    problem(re.split(", | and ", names) != keys,
            "unknown key: not the help's, in that order:", names)

    synopsis = between(text[POD], "=head1 SYNOPSIS", "\n=head1")
    same(re.findall(r"(?<![a-z0-9_])(%s)=" % KEY, synopsis), "synopsis")
    items, below = pod_items(text[POD])
    same(list(items), "PARAMETERS")
    rows = {}
    for line in between(text["README.md"], "| key |", "\n\n").split("\n")[2:]:
        cells = [c.strip() for c in line.strip("|").split(" | ")]
        key = cells[0].strip("`= ")
        problem(key in rows, "README: twice:", key)
        rows[key] = cells
    same(list(rows), "README")

    for key in keys:
        default = table.default[key]
        said = ("The default is %s" % default if default else
                "This parameter is required")
        where = below.get(key, "")
        problem(not re.search(re.escape(said) + r"(?![\w%])", where),
                "PARAMETERS: %s: does not say '%s':" % (key, said), where)
        problem(len(re.findall(r"\b[Dd]efaults? (?:is|are)\b", where)) > 1,
                "PARAMETERS: %s: more than one default" % key)
        if key in rows:
            problem(rows[key][-1].replace("`", "") != (default or "required"),
                    "README: %s: the default is not" % key, default)

        for number in re.findall(NUMBER, facts.allowed.get(key, "")):
            problem(number not in re.findall(NUMBER, where),
                    "PARAMETERS: %s: says nothing of %s:" % (key, number), where)

    for key, words in facts.takes.items():
        m = re.search(r"\b%s=([a-z0-9|]+)" % key, synopsis)
        problem(not m or m[1].split("|") != words,
                "synopsis: %s: not %s" % (key, words))
        problem(key in rows and re.findall(r"`(\w+)`", rows[key][1]) != words,
                "README: %s: not %s" % (key, words))
        if key != "slot_size":
            problem(items.get(key) != ["%s=%s" % (key, w) for w in words],
                    "PARAMETERS: %s: not %s" % (key, words))
            problem(any(not re.search(r"\b%s\b" % w, table.words.get(key, ""))
                        for w in words), "help: %s: not %s" % (key, words))
    for name, level in facts.levels.items():
        problem("%s (%d to %d, default %d)" % (name, *level) not in
                below.get("level", ""), "PARAMETERS: level: not", name, level)

    for name, regexp in EXAMPLES.items():
        used = []
        for line in text[name].replace("\\\n", " ").split("\n"):
            for m in re.finditer(regexp, line):
                args = re.split(r" --run | \| | && | #", m[m.lastindex])[0]
                used += re.findall(r"(?:^|[\s'\"])(%s)=" % KEY, args)
        problem(not used, name + ": where are its examples?")
        for key in sorted(set(used) - set(keys)):
            problem(True, name + ": an example has no key of ours:", key)
    for name in ("README.md", "CHANGELOG.md"):
        for key in sorted(set(PROSE.findall(text[name])) - set(keys)):
            problem(True, name + ": no key of ours:", key)
    return found


def spoilt(text, help_text, unknown, table):
    """(the change, the changed texts) for each change that must be noticed."""

    def file(name, what, change):
        yield ("%s: %s" % (name, what),
               {**text, name: change(text[name])}, help_text, unknown)

    def shown(what, new_help, new_unknown):
        yield what, text, new_help, new_unknown

    for key, default in table.default.items():
        k = re.escape(key)
        yield from file(POD, "synopsis without " + key, lambda t: re.sub(
            r"(?<![a-z0-9_])%s=(?=.*=head1 DESC)" % k, "", t, flags=re.S))
        yield from file(POD, "no item " + key, lambda t: re.sub(
            r"=item \[?B<%s=[^\n]*\n\n" % k, "", t))
        yield from file("README.md", "no row " + key, lambda t: re.sub(
            r"\| `%s=` .*\n" % k, "", t))
        yield from file("README.md", "another default of " + key,
                        lambda t: re.sub(r"(\| `%s=` .* \| ).* \|\n" % k,
                                         r"\1 31 |\n", t))
        yield from shown("help without " + key, re.sub(
            r"\n\[?%s=(.*)((\n {24}.*)*)" % k, "", help_text), unknown)
        yield from shown("message without " + key, help_text, re.sub(
            r"(, | and |known are )%s\b" % k, r"\1", unknown))
        if default:
            yield from shown("another default in the help: " + key, re.sub(
                r"(\n%s=[^(]*(?:\([^d][^(]*)?\(default:\s)" % k, r"\g<1>31",
                help_text), unknown)
    for name, old, new in (
            (POD, "[workers=N]", "[workers=N] [worker=N]"),
            (POD, "=item B<workers=>N", "=item B<worker=>N\n\n=item B<workers=>N"),
            (POD, "|zstd|deflate]", "|zstd]"),
            (POD, "=item B<allocator=z3fold>\n\n", ""),
            (POD, "is 50.", "is 500."),
            (POD, "256.", "255."), (POD, "3600", "3601"), (POD, "C<4P>", "C<5P>"),
            (POD, "default 9)", "default 8)"),
            (POD, "zram 8G mem_limit=3G", "zram 8G memlimit=3G"),
            ("README.md", "| `workers=` |", "| `worker=` | x | none |\n| `workers=` |"),
            ("README.md", "| `lz4`, `lz4hc`, `zstd`", "| `lz4`, `zstd`"),
            ("README.md", "`8k`, ", ""),
            ("README.md", "(`swap=true`)", "(`swapp=true`)"),
            ("README.md", "8G mem_limit=3G", "8G memlimit=3G"),
            ("CHANGELOG.md", "`marker=FILE`", "`mark=FILE`"),
            ("scripts/run", "algorithm=zstd,", "algo=zstd,"),
            ("packaging/example.conf", "backing_size=", "backingsize="),
            ("packaging/nbdkit-zram@.service.in", "marker=%S", "mark=%S")):
        yield from file(name, "%r -> %r" % (old, new),
                        lambda t: t.replace(old, new))
    for old, new in (("\nworkers=<N>  ", "\nworkers:<N>  "),
                     ("\nworkers=<N>  ", "\nworker=<N>  x (default: 1).\nworkers=<N>  "),
                     ("[size=]", "size="), ("\nlevel=", "\n[level=]"),
                     ("z3fold (d", "zfold (d"), ("(required)", ""),
                     ("Streams and", "Streams" + 40 * "!" + " and"),
                     ("\n" + 24 * " ", "\n" + 20 * " ")):
        assert old in help_text, old
        yield from shown("help: %r -> %r" % (old, new),
                         help_text.replace(old, new), unknown)
    yield from shown("one more in the message", help_text,
                     unknown.replace("workers,", "worker, workers,"))


names = sorted({*EXAMPLES, "CHANGELOG.md"})
texts = {}
for n in names:
    with open(os.path.join(SRCDIR, n), encoding="utf-8") as f:
        texts[n] = f.read()

shown_help = nbdkit(PLUGIN, "--help").stdout
refused = nbdkit("-U", "-", PLUGIN, "1M", "no_such_key=1", "--run", "true")
assert refused.returncode != 0, "a key that is unknown is taken"
assert "no_such_key=1: unknown key; known are " in refused.stderr, refused.stderr
known = list(Help(shown_help, lambda *a: None).words)
must_be = {key: refused_for(key).replace(str(2 ** 63 - 1), "2^63-1")
           for key in known}
dumped = Facts(nbdkit(PLUGIN, "--dump-plugin").stdout, must_be)
assert len(re.findall(NUMBER, " ".join(must_be.values()))) > 25, must_be

wrong = complaints(texts, shown_help, refused.stderr, dumped)
for w in wrong:
    print(w)
assert not wrong, "what is said of keys differs: see above"

tried = 0
for what, *spoilt_texts in spoilt(texts, shown_help, refused.stderr,
                                  Help(shown_help, lambda *a: None)):
    assert spoilt_texts != [texts, shown_help, refused.stderr], \
        what + ": nothing was spoilt"
    assert complaints(*spoilt_texts, dumped), what + ": not noticed"
    tried += 1
print("%d ways to differ were noticed" % tried)
