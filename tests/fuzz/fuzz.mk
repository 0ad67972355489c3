# SPDX-License-Identifier: BSD-3-Clause
#
# Builds the fuzzers, in the folder that it is run in; lib.sh runs it:
#
#   make -f fuzz.mk SRC=top-of-the-sources CLANG=clang fuzz-engine
#
# The engine is built once for all of them: all checks, fault points, the
# shared liblz4, and libFuzzer's own counters in every branch.

CFLAGS = -std=gnu11 -pthread -O1 -g -fno-omit-frame-pointer \
	-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	-I. -I$(SRC) -I$(SRC)/include -I$(SRC)/server -I$(SRC)/tests/unit
LIBS = -ljansson -llz4 -lzstd -ldeflate -lnbd -lxxhash

# No HTTP in here.
SOURCES := $(filter-out %/metrics_http.c, \
	$(wildcard $(SRC)/server/*/*.c $(SRC)/plugin/control/*.c) \
	$(SRC)/plugin/method_key.c $(SRC)/plugin/read_file.c)
# server/store/store.c is server-store-store.o.
object = $(subst /,-,$(patsubst $(SRC)/%.c,%.o,$(1)))
OBJECTS := $(foreach source,$(SOURCES),$(call object,$(source)))

define compile
$(call object,$(1)): $(1) config.h
	$$(CLANG) $$(CFLAGS) -MMD -MP -c -o $$@ $$<
endef
$(foreach source,$(SOURCES),$(eval $(call compile,$(source))))

fuzz-%.o: $(SRC)/tests/fuzz/fuzz-%.c config.h
	$(CLANG) $(CFLAGS) -MMD -MP -c -o $@ $<

# An archive, so that a fuzzer has in it only what it calls.
engine.a: $(OBJECTS)
	rm -f $@
	ar -rc $@ $(OBJECTS)

fuzz-%: fuzz-%.o engine.a
	$(CLANG) $(CFLAGS) -o $@ $< engine.a $(LIBS)

config.h: $(SRC)/tests/fuzz/fuzz.mk
	printf '#define %s\n' '_GNU_SOURCE 1' 'PACKAGE_VERSION "fuzzed"' \
	  'ZRAM_DEBUG 1' 'ZRAM_FAULTS 1' >$@

-include $(wildcard *.d)

.SECONDARY:
.DELETE_ON_ERROR:
