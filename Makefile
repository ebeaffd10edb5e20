# SPDX-License-Identifier: MIT
# make help lists the targets.

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
MANDIR     ?= $(PREFIX)/share/man
SYSCONFDIR ?= /etc
BUILD      ?= build
CC         ?= cc
PYTHON     ?= /usr/bin/python3
V          ?= 0

VERSION := 0.1

CFLAGS   ?= -O2 -g
# needs optimisation, so it goes with it
FORTIFY  := $(if $(filter -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
	    -Wmissing-prototypes -Wpointer-arith -Wundef -Wvla -Wwrite-strings -Wformat=2
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -DCONVERT_VERSION='"$(VERSION)"' $(FORTIFY) $(WARNINGS) \
	     -fPIC -fvisibility=hidden -fno-strict-aliasing -MMD -MP $(CFLAGS) $(CPPFLAGS)

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2);)

# A room sees itself and the rooms below it; an #include that points upwards does not compile.
INCLUDE_common           := -Icommon
INCLUDE_policy           := -Ipolicy -Icommon
INCLUDE_preload          := -Ipreload -Ipolicy -Icommon
INCLUDE_bootstrap-helper := -Ibootstrap-helper -Ipolicy -Icommon
INCLUDE_tests/lab/converter := -Itests/lab/converter -Icommon
INCLUDE_tests/unit       := -Itests/unit -Ipolicy -Icommon
INCLUDE_tests/bench      := -Ipolicy -Icommon
INCLUDE_tests/e2e        :=

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard $(addsuffix /*.c,$(1))))

COMMON    := $(call objects,common)
POLICY    := $(call objects,policy)
PRELOAD   := $(call objects,preload)
BOOTSTRAP := $(call objects,bootstrap-helper)
CONVERTER := $(call objects,tests/lab/converter)
# the lab shares the codec with us and nothing else; captures are judged by other eyes
LAB_COMMON := $(BUILD)/obj/common/wire.o $(BUILD)/obj/common/addr.o

UNIT_HELP  := $(filter-out $(BUILD)/obj/tests/unit/test_%,$(call objects,tests/unit))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
E2E_TOOLS  := $(patsubst tests/e2e/%.c,$(BUILD)/e2e/%,$(wildcard tests/e2e/*.c))
BENCHES    := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))

SHIM := $(BUILD)/libconvert-preload.so

# so that an object is not taken for an intermediate and deleted
.SECONDARY:

.PHONY: all
all: $(SHIM) $(BUILD)/convert-run $(BUILD)/convert-bootstrap $(BUILD)/lab-converter

.DELETE_ON_ERROR:

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(INCLUDE_$(patsubst %/,%,$(dir $<))) -c -o $@ $<

# inih's and policy/'s malloc go to preload/arena.c; no symbol of inih's leaves the library.
$(SHIM): $(PRELOAD) $(POLICY) $(COMMON) preload/convert-preload.map
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $(PRELOAD) $(POLICY) $(COMMON) \
		-Wl,-Bstatic -linih -Wl,-Bdynamic \
		-Wl,--version-script=preload/convert-preload.map -Wl,--exclude-libs,ALL \
		-Wl,-z,defs,-z,now,-z,relro,-z,nodlopen,--gc-sections \
		-Wl,-soname,libconvert-preload.so \
		-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free

$(BUILD)/convert-run: preload/convert-run.in Makefile
	@mkdir -p $(@D)
	$(call say,GEN,$@)sed -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' $< > $@ && chmod +x $@

$(BUILD)/convert-bootstrap: $(BOOTSTRAP) $(POLICY) $(COMMON)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -linih

$(BUILD)/lab-converter: $(CONVERTER) $(LAB_COMMON)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lnetfilter_queue -lnfnetlink

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(UNIT_HELP) $(POLICY) $(COMMON)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lcmocka -linih

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(POLICY) $(COMMON)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -linih

$(BUILD)/e2e/%: $(BUILD)/obj/tests/e2e/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
