# SPDX-License-Identifier: MIT
# make help lists the targets; it shows the lines that begin with "#:".

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
DATADIR    ?= $(PREFIX)/share
MANDIR     ?= $(DATADIR)/man
UNITDIR    ?= $(PREFIX)/lib/systemd/system
SYSCONFDIR ?= /etc
BUILD      ?= build
CC         ?= cc
PYTHON     ?= /usr/bin/python3
V          ?= 0

VERSION := 0.1
# of the library's file: another one for what cannot take the place of the last (docs/integrators.md)
SOVERSION := 0

CFLAGS   ?= -O2 -g
# needs optimisation, so it goes with it; one that is given is the one
GIVEN    := $(CC) $(CFLAGS) $(CPPFLAGS)
FORTIFY  := $(if $(findstring _FORTIFY_SOURCE,$(GIVEN)),,$(if \
	    $(filter-out -O0,$(lastword $(filter -O%,$(GIVEN)))),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2))
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
	    -Wmissing-prototypes -Wno-psabi -Wpointer-arith -Wundef -Wvla -Wwrite-strings -Wformat=2
# the same types on every machine (preload/kernel/real.h)
WIDE     := -D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64
# What the compiler has of these; CFLAGS come behind them. CET's shadow stack (return): Linux lets no
# process have the other half of it, whose instruction in front of every function would cost all the same.
HARDENING  = $(eval HARDENING := $(shell for f in -fstack-protector-strong \
		$(or $(patsubst x86_64%,-fcf-protection=return,$(filter x86_64%,$(MACHINE))), \
		     $(patsubst aarch64%,-mbranch-protection=standard,$(filter aarch64%,$(MACHINE)))); do \
		$(CC) $$f -c -x c /dev/null -o /dev/null 2>/dev/null && echo $$f; done))$(HARDENING)
MACHINE    = $(eval MACHINE := $(shell $(CC) -dumpmachine))$(MACHINE)
# The loader takes the shadow stack from a process for one library that does not say that it can have one.
HARD_LINK  = -Wl,-z,now,-z,relro,-z,noexecstack$(if $(filter %=return,$(HARDENING)),$(comma)-z$(comma)shstk)
comma     := ,
# Names of our own are replaced (--wrap) between objects of the machine's alone. Where a distribution leaves the objects
# to the linker, with slim ones as openSUSE and Arch do, they are both, for what is linked without.
FAT        = $(eval FAT := $(if $(filter -flto%,$(GIVEN)),$(shell $(CC) -Werror -flto -ffat-lto-objects \
		-c -x c /dev/null -o /dev/null 2>/dev/null && echo -ffat-lto-objects)))$(FAT)
NO_LTO     = $(if $(FAT),-fno-lto)
# the same bytes wherever it is built
SAME_PATHS := '-ffile-prefix-map=$(CURDIR)=.'
CC_LINK    = $(CC) -fPIC $(SAME_PATHS) $(HARDENING) $(HARD_LINK) $(CFLAGS) $(LDFLAGS)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE $(WIDE) -DCONVERT_VERSION='"$(VERSION)"' $(FORTIFY) $(WARNINGS) \
	     -fPIC -fvisibility=hidden -fno-strict-aliasing $(SAME_PATHS) $(HARDENING) -MMD -MP \
	     $(CFLAGS) $(CPPFLAGS) $(FAT)

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2);)

# A room sees itself and the rooms below it; an #include that points upwards does not compile.
INCLUDE_common           := -Icommon
INCLUDE_policy           := -Ipolicy -Icommon
# preload/ has storeys (preload/README.md); tests/lint-storeys checks the calls as well.
INCLUDE_preload/kernel     := -Ipreload/kernel -Icommon
INCLUDE_preload/number     := -Ipreload/number $(INCLUDE_preload/kernel)
INCLUDE_preload/exchange   := -Ipreload/exchange -Ipreload/number -Ipreload/kernel -Ipolicy -Icommon
INCLUDE_preload/connection := -Ipreload/connection $(INCLUDE_preload/exchange)
INCLUDE_preload/calls      := -Ipreload/calls $(INCLUDE_preload/connection)
# bootstrap-helper/ has a room for each verb or for what belongs together, over what all need (base)
HELPER     := bootstrap-helper
VERBS      := explain fetch top map probe check known
INCLUDE_$(HELPER)/base    := -I$(HELPER)/base -Ipolicy -Icommon
INCLUDE_$(HELPER)/explain := -I$(HELPER)/explain $(INCLUDE_$(HELPER)/base)
INCLUDE_$(HELPER)/fetch   := -I$(HELPER)/fetch $(INCLUDE_$(HELPER)/base)
INCLUDE_$(HELPER)/top     := -I$(HELPER)/top $(INCLUDE_$(HELPER)/base)
INCLUDE_$(HELPER)/map     := -I$(HELPER)/map $(INCLUDE_$(HELPER)/base)
INCLUDE_$(HELPER)/probe   := -I$(HELPER)/probe $(INCLUDE_$(HELPER)/map)
INCLUDE_$(HELPER)/check   := -I$(HELPER)/check $(INCLUDE_$(HELPER)/probe)
INCLUDE_$(HELPER)/known   := -I$(HELPER)/known $(INCLUDE_$(HELPER)/check)
INCLUDE_$(HELPER)         := $(addprefix -I$(HELPER)/,$(VERBS)) $(INCLUDE_$(HELPER)/base)
INCLUDE_$(HELPER)/any     := -I$(HELPER)/any $(INCLUDE_preload/connection)
INCLUDE_$(HELPER)/run     := -I$(HELPER)/run -I$(HELPER)/any -I$(HELPER)/explain $(INCLUDE_$(HELPER)/check)
INCLUDE_tests/lab        :=
INCLUDE_tests/lab/converter := -Itests/lab/converter -Icommon
INCLUDE_tests/unit       := -Itests/unit $(INCLUDE_preload/connection) -I$(HELPER)/any $(INCLUDE_$(HELPER))
INCLUDE_tests/bench      := -Ipolicy -Icommon
INCLUDE_tests/programs   :=
INCLUDE_tests/programs/clients :=
INCLUDE_tests/fuzz       := -Itests/fuzz -Itests/unit -I$(HELPER)/explain -Ipolicy -Icommon

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard $(addsuffix /*.c,$(1)))))

COMMON    := $(call objects,common)
POLICY    := $(call objects,policy)
STOREYS   := kernel number exchange connection calls
PRELOAD   := $(call objects,$(STOREYS:%=preload/%))
BOOTSTRAP := $(call objects,$(HELPER) $(addprefix $(HELPER)/,$(VERBS) base))
RUN       := $(call objects,$(HELPER)/run)
ANY       := $(call objects,$(HELPER)/any)
BOOTSTRAP_LIBS = -ljansson -lcurl -lncurses
CONVERTER := $(call objects,tests/lab/converter)
# the lab shares the codecs with us and nothing else; captures are judged by other eyes
LAB_COMMON := $(addprefix $(BUILD)/obj/common/,wire.o addr.o pcp.o)

UNIT_HELP  := $(filter-out $(BUILD)/obj/tests/unit/test_%,$(call objects,tests/unit))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
E2E_TOOLS  := $(patsubst tests/programs/%.c,$(BUILD)/e2e/%,$(wildcard tests/programs/*.c))
# programs whose calls are compared: fortified as everything here is, plain, and past libc
CLIENTS    := $(patsubst tests/programs/clients/%.c,%,$(filter-out %/say.c,$(wildcard tests/programs/clients/*.c)))
PAST_LIBC  := $(addprefix $(BUILD)/e2e/past-libc/,t_matrix t_io t_life t_epoll t_time t_deferred t_options)
TRANSCRIPTS := $(addprefix $(BUILD)/e2e/,transcript transcript-signals)
# what LD_PRELOAD does not reach
STATIC     := $(addprefix $(BUILD)/e2e/static/,transcript transcript-signals one loop abis starter faults)
E2E_TOOLS  += $(STATIC)
E2E_TOOLS  += $(CLIENTS:%=$(BUILD)/e2e/%) $(CLIENTS:%=$(BUILD)/e2e/plain/%) $(PAST_LIBC)
# what the lab is made of beside the converter
E2E_TOOLS  += $(addprefix $(BUILD)/lab/,middlebox bare-client mptcp-sockets.so)
FUZZERS    := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAYS    := $(addprefix $(BUILD)/fuzz/replay_,$(FUZZERS) shim)
KEPT       := $(addprefix $(BUILD)/fuzz/kept/,$(FUZZERS) shim)
E2E_TOOLS  += $(BUILD)/fuzz/shim-converter $(BUILD)/fuzz/shim-client
BENCHES    := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))

ROOMS        := common policy $(STOREYS:%=preload/%) $(HELPER) $(addprefix $(HELPER)/,$(VERBS) base any run) \
		tests/lab tests/lab/converter tests/unit \
		tests/fuzz tests/programs tests/programs/clients tests/bench
C_FILES      := $(wildcard $(addsuffix /*.c,$(ROOMS)))
H_FILES      := $(wildcard $(addsuffix /*.h,$(ROOMS)))
scripts       = $(shell grep -rIlE '^.!.*[ /]$(1)$$' --include='*' $(ROOMS) preload tests .ci | sort -u)
SHELL_FILES   = $(call scripts,(ba)?sh) $(wildcard */completions/*.bash */*/completions/*.bash)
PYTHON_FILES  = $(sort $(call scripts,python3) $(wildcard tests/*/*.py tests/*/*/*.py))

SHIM   := $(BUILD)/libconvert-preload.so
PROGRAMS := $(BUILD)/convert-run $(BUILD)/convert-bootstrap
SONAME := $(notdir $(SHIM)).$(SOVERSION)
# who starts the helper: systemd, or an example for others
UNITS := $(addprefix $(BUILD)/,convert-bootstrap.service convert-bootstrap-watch.service \
	   convert-bootstrap.timer)
INIT  := $(BUILD)/convert-bootstrap.init

# so that an object is not taken for an intermediate and deleted
.SECONDARY:

.PHONY: all lib helper lab
#: all              the library, the wrapper, the helper and what tests/lab/shell needs (the default)
all: lib helper lab
#: lib              the library alone: needs a C compiler (CC=aarch64-linux-gnu-gcc)
lib: $(SHIM)
#: helper           convert-run and convert-bootstrap: need curl, jansson, ncurses and uthash
helper: $(PROGRAMS) $(UNITS) $(INIT)
#: lab              the lab's converter, and the delay of its links: needs netfilter_queue
lab: $(BUILD)/lab-converter $(BUILD)/lab/middlebox

.DELETE_ON_ERROR:

# What the command line changes is made again.
$(BUILD)/flags: export TEXT = $(CC) $(ALL_CFLAGS) $(LDFLAGS)
$(BUILD)/paths: export TEXT = $(LIBDIR) $(BINDIR)
$(BUILD)/flags $(BUILD)/paths: FORCE
	@mkdir -p $(@D)
	@echo "$$TEXT" | cmp -s - $@ || echo "$$TEXT" > $@

.PHONY: FORCE
FORCE:

# What is needed beside libc is asked for before it is missed; of anything else it is the compiler that says it.
PACKAGE_curl/curl.h := libcurl4-openssl-dev
PACKAGE_jansson.h   := libjansson-dev
PACKAGE_curses.h    := libncurses-dev
PACKAGE_uthash.h    := uthash-dev
PACKAGE_cmocka.h    := libcmocka-dev
PACKAGE_libnetfilter_queue/libnetfilter_queue.h := libnetfilter-queue-dev
PACKAGE_libnfnetlink/libnfnetlink.h := libnfnetlink-dev
has = $(addprefix $(BUILD)/has/,$(1))

$(BUILD)/has/%: $(BUILD)/flags
	@mkdir -p $(@D)
	@said=$$(printf '%s\n' '#include <stdarg.h>' '#include <stddef.h>' '#include <setjmp.h>' \
		'#include <stdint.h>' '#include <$*>' | \
		LC_ALL=C $(CC) $(ALL_CFLAGS) -MF /dev/null -E -x c - 2>&1 >/dev/null) || { case $$said in \
		*' $*: No such file'* | *"'$*' file not found"*) \
			echo '$*: not found, which is in Debian'"'"'s $(PACKAGE_$*)' ;; \
		*) printf '%s\n' '$*: asked for with $(firstword $(CC)), which says:' "$$said" ;; \
		esac >&2; exit 1; }
	@touch $@

$(filter-out %/run/%,$(BOOTSTRAP)): | $(call has,jansson.h curl/curl.h curses.h)
$(RUN): | $(call has,uthash.h)
$(CONVERTER): | $(call has,libnetfilter_queue/libnetfilter_queue.h libnfnetlink/libnfnetlink.h)
$(call objects,tests/unit): | $(call has,cmocka.h)

# A musl-gcc that is this machine's gcc with other files (Debian's) does not have the kernel's headers on its path. A
# compiler of musl's own (aarch64-buildroot-linux-musl-gcc) has, and takes nothing of this machine's.
ifneq ($(filter musl-gcc %-musl-gcc,$(notdir $(CC))),)
ifeq ($(findstring musl,$(MACHINE)),)
ALL_CFLAGS += $(addprefix -idirafter /usr/include,/ /$(MACHINE))
endif
endif

# The library once more, for programs of 32 bits (i386).
CC32   ?= i686-linux-gnu-gcc
for_32 := --no-print-directory CC='$(CC32)' BUILD=$(BUILD)/32

.PHONY: lib32 e2e-tools32 clients
#: lib32            the library for 32-bit programs (CC32='gcc -m32')
lib32:
	$(Q)$(MAKE) $(for_32) $(BUILD)/32/$(notdir $(SHIM))

# and once more with musl, whose programs take the other one as well
CC_MUSL  ?= musl-gcc
for_musl := --no-print-directory CC='$(CC_MUSL)' BUILD=$(BUILD)/musl

.PHONY: e2e-tools-musl clients-musl
e2e-tools-musl:
	$(Q)$(MAKE) $(for_musl) lib
	$(Q)$(MAKE) $(for_musl)/clients CPPFLAGS='-include common/text.c -include tests/programs/musl.h' clients-musl

# and their clients, with a 64-bit and with a 32-bit time_t
e2e-tools32: lib32
	$(Q)$(MAKE) $(for_32) clients
	$(Q)$(MAKE) $(for_32)/narrow WIDE= clients
# all but those of names that it does not have
clients-musl: $(patsubst %,$(BUILD)/e2e/plain/%,$(filter-out t_errno,$(CLIENTS))) $(TRANSCRIPTS)
clients: $(CLIENTS:%=$(BUILD)/e2e/plain/%) $(PAST_LIBC) $(TRANSCRIPTS) $(BUILD)/lab/mptcp-sockets.so

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) $(INCLUDE_$(patsubst %/,%,$(dir $<))) -c -o $@ $<

# where the doctor looks for the library, if it is not beside it
SAYS_WHERE := $(addprefix $(BUILD)/obj/,$(HELPER)/check/host.o $(HELPER)/run/convert-run.o)
$(SAYS_WHERE): ALL_CFLAGS += -DCONVERT_LIBRARY='"$(LIBDIR)/$(SONAME)"'
$(SAYS_WHERE): $(BUILD)/paths

# What assembler names, and what the linker puts in the place of a name (--wrap), is an object of the machine's where
# a distribution's flags leave the rest to the linker (-flto).
$(addprefix $(BUILD)/obj/preload/,calls/syscall.o kernel/arena.o): ALL_CFLAGS += -fno-lto

# undefs: what a sanitizer leaves undefined, the program has
SHIM_SYMBOLS ?= defs

# Its own calls of what it exports are to itself, not to another copy before it, which both LD_PRELOAD
# and /etc/ld.so.preload may have loaded.
# policy/'s malloc goes to preload/kernel/arena.c, our own system calls past preload/calls/syscall.c. The
# fuzzer's has the fuzzer's clock, which nothing could fake otherwise. Code and constants are one segment: each more is a mapping more in
# every process that is started, and a fifth of what we add to a start.
WRAPPED   := malloc calloc realloc free syscall
FUZZ_SHIM := $(BUILD)/fuzz/$(notdir $(SHIM))
$(FUZZ_SHIM): OWN_CLOCK = -Wl,--wrap=clock_ns,-z,undefs $(NO_LTO)
$(SHIM) $(FUZZ_SHIM): $(PRELOAD) $(POLICY) $(COMMON) preload/convert-preload.map
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC_LINK) -shared -nostartfiles -o $@ $(PRELOAD) $(POLICY) \
		$(COMMON) \
		-Wl,--version-script=preload/convert-preload.map -Wl,--exclude-libs,ALL \
		-Wl,-z,$(SHIM_SYMBOLS),-z,nodlopen,-z,noseparate-code,--gc-sections \
		-Wl,-Bsymbolic-functions,-soname,$(if $(filter $(FUZZ_SHIM),$@),$(@F),$(SONAME)) \
		$(WRAPPED:%=-Wl,--wrap=%) $(OWN_CLOCK)

# of the helper what it knows of programs, without curl and jansson: to load those takes longer than to ask
$(BUILD)/convert-run: $(RUN) $(ANY) $(BUILD)/connections.a $(BUILD)/bootstrap.a $(POLICY) $(COMMON)
	$(call say,LINK,$@)$(CC_LINK) -pie -o $@ $^ -ldl

# the library without what stands in front of libc's functions: the supervisor calls it by itself
$(BUILD)/connections.a: $(call objects,$(filter-out preload/calls,$(STOREYS:%=preload/%)))
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/convert-bootstrap%: $(HELPER)/units/convert-bootstrap%.in $(HELPER)/units/sandbox.in \
			     Makefile $(BUILD)/paths
	@mkdir -p $(@D)
	$(call say,GEN,$@)sed -e 's|@BINDIR@|$(BINDIR)|' -e '/@SANDBOX@/{r $(HELPER)/units/sandbox.in' \
		-e 'd;}' $< > $@ && chmod $(if $(filter %.init,$@),755,644) $@

$(BUILD)/convert-bootstrap.timer: $(HELPER)/units/convert-bootstrap.timer
	@mkdir -p $(@D)
	$(call say,GEN,$@)cp $< $@

$(BUILD)/convert-bootstrap: $(BOOTSTRAP) $(POLICY) $(COMMON)
	$(call say,LINK,$@)$(CC_LINK) -pie -o $@ $^ $(BOOTSTRAP_LIBS)

$(BUILD)/lab-converter: $(CONVERTER) $(LAB_COMMON)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lnetfilter_queue -lnfnetlink

# for programs of glibc and of musl: on some machines the value that guards a stack is glibc's loader's
$(BUILD)/obj/tests/lab/%.o: HARDENING :=
$(BUILD)/lab/%.so: $(BUILD)/obj/tests/lab/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ $^

$(BUILD)/lab/%: $(BUILD)/obj/tests/lab/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# of which a test takes what it calls, and so only those of the helper need the helper's libraries
$(BUILD)/bootstrap.a: $(filter-out %/convert-bootstrap.o,$(BOOTSTRAP))
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/unit/%: $(BUILD)/obj/tests/unit/%.o $(UNIT_HELP) $(BUILD)/bootstrap.a $(POLICY) $(COMMON)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(NO_LTO) $(REPLACED:%=-Wl,--wrap=%) -Wl,--as-needed \
		-lcmocka $(BOOTSTRAP_LIBS)

# What a test has something of its own in the place of: not in LDFLAGS, which may be given on the command line.
REPLACED :=
# its memory ends when the test says so
$(BUILD)/unit/test_config_load: private REPLACED := malloc realloc free
# dlsym() is counted
$(BUILD)/unit/test_kernel: $(addprefix $(BUILD)/obj/preload/kernel/,libc.o proc.o)
$(BUILD)/unit/test_kernel: private REPLACED := dlsym
# the exchange as the library has it, between a kernel and a clock of the test's
$(BUILD)/unit/test_step: $(addprefix $(BUILD)/obj/preload/, $(addprefix exchange/,step.o silence.o \
		elsewhere.o incoming.o retry.o syn.o patience.o phase.o slots.o report.o lines.o options.o \
		cookies.o) number/notes.o number/traces.o number/marks.o kernel/sock.o kernel/memory.o)
$(BUILD)/unit/test_step: private REPLACED := clock_ns syscall
$(BUILD)/unit/test_epsets $(BUILD)/unit/test_slots: $(BUILD)/obj/preload/kernel/memory.o
$(BUILD)/unit/test_due: $(BUILD)/obj/preload/connection/due.o
$(BUILD)/unit/test_cookies: $(addprefix $(BUILD)/obj/preload/exchange/,cookies.o converters.o options.o)
$(BUILD)/unit/test_cookies: private REPLACED := clock_ns route_lookup
# all of the library, likewise
$(BUILD)/unit/test_many_pending: $(PRELOAD)
$(BUILD)/unit/test_many_pending: private REPLACED := clock_ns exchange_at syscall
# a libcurl without TLS
$(BUILD)/unit/test_fetch: private REPLACED := curl_url_set
# its clock likewise
$(BUILD)/unit/test_log: private REPLACED := clock_read

$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(POLICY) $(COMMON)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

$(BUILD)/obj/plain/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -U_FORTIFY_SOURCE -c -o $@ $<

$(CLIENTS:%=$(BUILD)/e2e/%): $(BUILD)/e2e/%: $(BUILD)/obj/tests/programs/clients/%.o $(BUILD)/obj/tests/programs/clients/say.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread

$(BUILD)/obj/past-libc/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -U_FORTIFY_SOURCE -include tests/programs/clients/past-libc.h -c -o $@ $<

$(PAST_LIBC): $(BUILD)/e2e/past-libc/%: $(BUILD)/obj/past-libc/tests/programs/clients/%.o $(BUILD)/obj/past-libc/tests/programs/clients/say.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread

$(CLIENTS:%=$(BUILD)/e2e/plain/%): $(BUILD)/e2e/plain/%: $(BUILD)/obj/plain/tests/programs/clients/%.o $(BUILD)/obj/plain/tests/programs/clients/say.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread

$(BUILD)/e2e/static/%: $(BUILD)/obj/tests/programs/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -static -o $@ $^ -lpthread

$(BUILD)/e2e/%: $(BUILD)/obj/tests/programs/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread

# ------------------------------------------------------------------------------ tests
# tests/run counts, and says "N passed, N failed, N skipped" at the very end.

# the same fuzz targets with a main() of their own, over the kept corpus
$(BUILD)/fuzz/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o \
			$(BUILD)/obj/tests/unit/reference.o \
			$(BUILD)/obj/$(HELPER)/explain/elf_file.o $(POLICY) $(COMMON)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

$(KEPT): $(BUILD)/fuzz/kept/%: tests/fuzz/corpus.tar
	@rm -rf $@ && mkdir -p $@
	$(call say,UNPACK,$@)tar -xmf $< -C $(@D) $* && touch $@

SHIM_FUZZER := $(addprefix $(BUILD)/obj/tests/,fuzz/shim-fuzzer.o fuzz/reply.o unit/reference.o)

$(BUILD)/fuzz/replay_shim: $(SHIM_FUZZER) $(BUILD)/obj/tests/fuzz/replay.o $(FUZZ_SHIM)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread -Wl,-rpath,'$$ORIGIN'

$(BUILD)/fuzz/shim-fuzzer: $(SHIM_FUZZER) $(FUZZ_SHIM)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ -lpthread -Wl,-rpath,'$$ORIGIN'

$(BUILD)/fuzz/shim-client: $(BUILD)/obj/tests/fuzz/shim-client.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

$(BUILD)/fuzz/shim-converter: $(addprefix $(BUILD)/obj/tests/,fuzz/shim-converter.o fuzz/reply.o unit/reference.o)
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

LAB_SUITES := $(wildcard tests/lab/test_*.py)
E2E_SUITES := $(filter-out %/test_32bit.py,$(wildcard tests/e2e/test_*.py))
# These measure round trips, or need a core by themselves.
E2E_ALONE  := tests/e2e/test_flights.py
E2E_TWO    := $(addprefix tests/e2e/,test_storms.py test_readme.py)
# The longest ones first, so that all end together.
E2E_FIRST  := $(patsubst %,tests/e2e/test_%.py,transparency transparency_mptcp waiters blame any differences foreign \
		failures doctor traces mptcp programs musl faults process fetch bootstrap transcript dissector map paths \
		incoming cpython runner any_transcript fastopen health user)
E2E_REST   := $(filter-out $(E2E_ALONE) $(E2E_TWO) $(E2E_FIRST),$(E2E_SUITES))

# A suite that is not there is a failure, not a pass.
run_unit    = --jobs 2 --limit 60 $(or $(UNIT_TESTS),--missing tests/unit) \
	      $(or $(REPLAYS),--missing tests/fuzz)
run_exports = --limit 60 tests/exports tests/names tests/hardening
run_lab     = --jobs 2 --limit 900 $(or $(LAB_SUITES),--missing tests/lab)
# Most of these wait most of the time.
run_e2e     = --limit 1800 --jobs 1 $(E2E_ALONE) --jobs 2 $(E2E_TWO) \
	      --jobs 9 $(BESIDE) $(E2E_FIRST) $(or $(E2E_REST),--missing tests/e2e)
run = BUILD=$(BUILD) CC='$(CC)' CC32='$(CC32)' LAB_CONVERTER='$(abspath $(BUILD)/lab-converter)' $(PYTHON) tests/run \
      $(if $(SKIPS),--skips $(SKIPS))

.PHONY: check check-unit check-exports check-lab check-e2e
#: check            the tests: lab, unit, exports, end to end (best as root: it needs namespaces;
#:                  SKIPS=tests/skips: another skip than those is a failure)
check:
	$(Q)$(need) $(DEPS_BUILD) $(DEPS_CHECK)
	$(Q)$(MAKE) --no-print-directory $(on_all_cores) check-here

# to build, where nobody has said how many jobs there shall be
on_all_cores = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: check-here
check-here: BESIDE = $(or $(LAB_SUITES),--missing tests/lab)
check-here: all $(UNIT_TESTS) $(REPLAYS) $(KEPT) $(E2E_TOOLS) e2e-tools-musl
	$(Q)$(run) $(run_unit) $(run_exports) $(run_e2e)

#: check-unit       unit tests and the fuzzers' kept corpus (a test for each fuzzer)
check-unit: $(UNIT_TESTS) $(REPLAYS) $(KEPT)
	$(Q)$(run) $(run_unit)

#: check-exports    what the library exports, needs and imports, that no name is missing, hardening
check-exports: $(SHIM) $(PROGRAMS)
	$(Q)$(run) $(run_exports)

#: check-lab        the lab's converter by itself
check-lab: $(BUILD)/lab-converter
	$(Q)$(run) $(run_lab)

#: check-e2e        real programs through a real converter
check-e2e: all $(E2E_TOOLS) e2e-tools-musl
	$(Q)$(run) $(run_e2e)

.PHONY: e2e-tools
e2e-tools: all $(E2E_TOOLS) e2e-tools-musl

.PHONY: differences
#: differences      docs/mptcp.md anew: what a program can tell Multipath TCP by, on this kernel
differences: all $(E2E_TOOLS)
	$(Q)DIFFERENCES=write $(run) --limit 300 tests/e2e/test_differences.py

# Once more by a user without any capability, over Multipath TCP and over TCP.
as_user = for mptcp in on off; do LAB_USER=nobody LAB_MPTCP=$$mptcp $(1) || exit 1; done

.PHONY: check-transparency check-storms check-faults check-paths check-dissector
#: check-transparency  every call in every state, with every kind of converter, over TCP and MPTCP, as root and
#:                  not (long; TRANSPARENCY=pairs: each value of each, pairwise)
check-transparency: all $(E2E_TOOLS)
	$(Q)TRANSPARENCY=$(or $(TRANSPARENCY),all) $(run) --limit 7200 \
		tests/e2e/test_transparency.py tests/e2e/test_transparency_mptcp.py
	$(Q)LAB_USER=nobody TRANSPARENCY=$(or $(TRANSPARENCY),all) $(run) --limit 7200 \
		tests/e2e/test_transparency.py tests/e2e/test_transparency_mptcp.py

#: check-paths      the suite of two paths with its long downloads, and the goodput of two paths against one
check-paths: all $(E2E_TOOLS)
	$(Q)PATHS=rates $(run) --limit 900 tests/e2e/test_paths.py

#: check-faults     everything that can be wrong with a converter, 10,000 connections in chaos, 50 programs at
#:                  once, each system call of the library's with each errno (long)
check-faults: all $(E2E_TOOLS)
	$(Q)FAULTS=all $(run) --limit 1800 tests/e2e/test_faults.py tests/e2e/test_any_chaos.py
	$(Q)$(call as_user,$(run) --limit 1800 tests/e2e/test_failures.py)
	$(Q)FAULTS=all $(run) --limit 900 tests/e2e/test_crowd.py
	$(Q)INJECT=all $(run) --limit 3600 tests/e2e/test_inject.py

#: check-dissector  no mark of a malformed packet on what test_wire, test_failures and test_mptcp send
check-dissector: all $(E2E_TOOLS)
	$(Q)mkdir -p $(BUILD)/captures
	$(Q)for suite in wire failures mptcp; do LAB_CAPTURE='$(abspath $(BUILD))'/captures/$$suite.pcap \
		$(run) --limit 900 tests/e2e/test_$$suite.py || exit 1; done
	$(Q)DISSECTOR='$(patsubst %,$(BUILD)/captures/%.pcap,wire failures mptcp)' \
		$(run) --limit 900 tests/e2e/test_dissector.py

#: check-storms     threads, signals and forks at random, for a minute each, as root and not, and without the shim
check-storms: all $(E2E_TOOLS) e2e-tools-musl
	$(Q)STORM_SECONDS=60 MANY=all ANY=all $(run) --limit 1800 tests/e2e/test_storms.py tests/e2e/test_many.py \
		tests/e2e/test_any_transcript.py \
		tests/e2e/test_top.py
	$(Q)$(call as_user,STORM_SECONDS=60 $(run) --limit 1800 tests/e2e/test_storms.py)

.PHONY: check-install
#: check-install    20,000 programs that start with the library, 200 a second or more, while it is installed
#:                  again and again
check-install: all $(BUILD)/e2e/static/starter
	$(Q)INSTALL=all $(run) --limit 900 tests/e2e/test_make.py

.PHONY: check-32bit
#: check-32bit      the library for 32-bit programs (i386), with a short and a long time_t (installs what it needs
#:                  of that architecture; TRANSPARENCY=all: every client)
check-32bit:
	$(Q)$(need) $(DEPS_BUILD) $(DEPS_CHECK) $(DEPS_32)
	$(Q)$(MAKE) --no-print-directory check-32bit-here

.PHONY: check-32bit-here
check-32bit-here: all $(E2E_TOOLS) e2e-tools32
	$(Q)NAMES=32 $(run) --limit 3600 tests/names tests/e2e/test_32bit.py

# Other machines, by cross compilers and emulators. aarch64's musl takes aarch64's library.
for_armhf        := --no-print-directory CC=arm-linux-gnueabihf-gcc BUILD=$(BUILD)/armhf
for_aarch64      := --no-print-directory CC=aarch64-linux-gnu-gcc BUILD=$(BUILD)/aarch64
for_aarch64_musl := --no-print-directory BUILD=$(BUILD)/aarch64/musl \
	CC='aarch64-linux-gnu-gcc -specs=/usr/lib/aarch64-linux-musl/musl-gcc.specs' \
	CPPFLAGS='-idirafter /usr/aarch64-linux-gnu/include -include common/text.c -include tests/programs/musl.h'
REACH_CLIENT := e2e/plain/t_reach

.PHONY: check-reach check-reach-here reach-tools
#: check-reach      docs/reach.md: machine by libc by call by outcome, partly under qemu-user; busybox with musl,
#:                  from Debian's source (installs what it needs of other architectures; REACH=write: writes it)
check-reach:
	$(Q)$(need) $(DEPS_BUILD) $(DEPS_CHECK) $(DEPS_32) $(DEPS_REACH)
	$(Q)$(MAKE) --no-print-directory check-reach-here

check-reach-here: all $(E2E_TOOLS) e2e-tools-musl reach-tools $(BUILD)/musl/busybox
	$(Q)$(run) --limit 3600 tests/e2e/reach.py tests/e2e/musl_programs.py

$(BUILD)/musl/busybox: tests/programs/busybox-build
	@mkdir -p $(@D)
	$(call say,BUSYBOX,$@)CC='$(CC_MUSL)' tests/programs/busybox-build $@

reach-tools: e2e-tools-musl
	$(Q)$(MAKE) $(for_32) lib $(BUILD)/32/$(REACH_CLIENT)
	$(Q)$(MAKE) $(for_32)/narrow WIDE= $(BUILD)/32/narrow/$(REACH_CLIENT)
	$(Q)$(MAKE) $(for_armhf) lib $(addprefix $(BUILD)/armhf/,$(REACH_CLIENT) lab/qemu-cookie.so)
	$(Q)$(MAKE) $(for_armhf)/narrow WIDE= $(BUILD)/armhf/narrow/$(REACH_CLIENT)
	$(Q)$(MAKE) $(for_aarch64) lib $(addprefix $(BUILD)/aarch64/,$(REACH_CLIENT) lab/qemu-cookie.so)
	$(Q)$(MAKE) $(for_aarch64_musl) $(BUILD)/aarch64/musl/$(REACH_CLIENT)

# Debian's packages that a root has; they are made once, with the network.
ROOTS          := $(BUILD)/packages
INCLUDED_lean  := gcc make libc6-dev
INCLUDED_build := build-essential debhelper libcurl4-openssl-dev libjansson-dev libncurses-dev uthash-dev
INCLUDED_fresh := curl libcurl4 libjansson4 libncurses6 libncursesw6
INCLUDED_cross := gcc-aarch64-linux-gnu libc6-dev-arm64-cross make uthash-dev \
		  $(addsuffix :arm64,libcurl4-openssl-dev libjansson-dev libncurses-dev)
$(ROOTS)/cross.tar: ARCHITECTURES := --architectures=amd64,arm64

.PHONY: check-packages
#: check-packages   the library built with nothing else there; Debian's packages built, installed, upgraded, purged
check-packages: all
	$(Q)$(need) $(DEPS_PACKAGES)
	$(Q)$(MAKE) --no-print-directory check-packages-here
check-packages-here: $(addprefix $(ROOTS)/,lean.tar build.tar fresh.tar cross.tar)
	$(Q)ROOTS=$(ROOTS) $(run) --limit 7200 tests/packages/test_packages.py tests/packages/test_recipes.py

$(ROOTS)/%.tar:
	@mkdir -p $(@D)
	$(call say,ROOT,$@)mmdebstrap --quiet --format=tar $(ARCHITECTURES) --variant=minbase --include='$(INCLUDED_$*)' bookworm $@.new && mv $@.new $@

MODE    ?= immediate
MODULES ?=

.PHONY: check-python check-programs
#: check-python     CPython's network tests, converted (MODE=immediate, slow or hold; LAB_MPTCP=on; HELPER=1; MODULES="...")
check-python: all $(BUILD)/lab/mptcp-sockets.so
	$(Q)BUILD=$(BUILD) $(PYTHON) -B tests/e2e/test_cpython.py --mode $(MODE) $(if $(HELPER),--helper) $(or $(MODULES),all)

#: check-programs   test_waiters.py of check-e2e with thousands of connections (9 minutes), and Go programs and
#:                  others under a supervisor (needs Go and Rust; npm if
#:                  it is there)
check-programs:
	$(Q)$(need) $(DEPS_BUILD) $(DEPS_CHECK) $(DEPS_PROGRAMS)
	$(Q)$(MAKE) --no-print-directory check-programs-here

.PHONY: check-programs-here
check-programs-here: all $(E2E_TOOLS) e2e-tools-musl \
		     $(addprefix $(BUILD)/e2e/any/,get get-cgo get-rust get-curl $(if $(shell command -v npm),dprint))
	$(Q)HEAVY=1 $(run) --limit 1800 tests/e2e/test_waiters.py tests/e2e/any_programs.py

$(BUILD)/e2e/any/get: tests/programs/any/get.go
	@mkdir -p $(@D)
	$(call say,GO,$<)GO111MODULE=off CGO_ENABLED=0 GOCACHE='$(abspath $(BUILD)/go)' go build -o $@ $<

$(BUILD)/e2e/any/get-cgo: tests/programs/any/get.go
	@mkdir -p $(@D)
	$(call say,GO,$@)GO111MODULE=off CGO_ENABLED=1 GOCACHE='$(abspath $(BUILD)/go)' go build -tags netcgo -o $@ $<

$(BUILD)/e2e/any/get-rust: tests/programs/any/get.rs
	@mkdir -p $(@D)
	$(call say,RUSTC,$<)MAKEFLAGS= rustc --edition 2021 -O -C target-feature=+crt-static -o $@ $<

$(BUILD)/e2e/any/get-curl: $(BUILD)/obj/tests/programs/any/get-curl.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)$(CC) -static -Wl,--unresolved-symbols=ignore-all -Wl,--no-warnings -o $@ $< \
		-lcurl -lssl -lcrypto -lz -lpthread 2>/dev/null

# a static program of npm's, in Rust with musl, that fetches things
$(BUILD)/e2e/any/dprint:
	@mkdir -p $(@D)
	$(call say,NPM,$@)cd $(@D) && npm pack --silent @dprint/linux-x64-musl@0.57.4 > /dev/null && \
		tar -xzf dprint-linux-x64-musl-0.57.4.tgz --strip-components=1 -m package/dprint

.PHONY: bench bench-here performance
#: bench            what the shim costs, and others, side by side (BENCH_SECONDS=220): build/bench/
#:                  (at most ROUNDS=200; ONLY=pending: a word of a measurement's name)
bench:
	$(Q)$(need) $(DEPS_BUILD) $(DEPS_BENCH)
	$(Q)$(MAKE) --no-print-directory bench-here
bench-here: all $(E2E_TOOLS) $(BENCHES)
	$(Q)BUILD=$(BUILD) $(PYTHON) -B tests/bench/bench $(if $(ONLY),--only $(ONLY))

#: performance      docs/performance.md anew, of the last run of bench
performance:
	cp $(BUILD)/bench/performance.md docs/performance.md

.PHONY: demo
#: demo             a program through a converter, step by step, and over two networks of which one is cut
demo:
	$(Q)$(need) $(DEPS_DEMO)
	$(Q)$(MAKE) --no-print-directory demo-here

.PHONY: demo-here
demo-here: $(SHIM) lab
	$(Q)BUILD=$(BUILD) tests/lab/demo

# Sanitizers: the unit tests once more. clang, because gcc 12's ThreadSanitizer does not know
# the address space of newer kernels.
SANITIZER_CC ?= clang
SANITIZERS   := address undefined thread

.PHONY: $(addprefix check-,$(SANITIZERS))
#: check-address    unit tests with AddressSanitizer; check-undefined, check-thread likewise
$(addprefix check-,$(SANITIZERS)): check-%:
	$(Q)$(MAKE) --no-print-directory BUILD=build/$* CC=$(SANITIZER_CC) FORTIFY= SHIM_SYMBOLS=undefs \
		CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=$* -fno-sanitize-recover=all' \
		check-unit

# gcc's own counters: nothing to install
.PHONY: coverage coverage-here
#: coverage         which lines of common/ and policy/ no unit test and no kept input runs
coverage:
	$(Q)find build/coverage -name '*.gcda' -delete 2>/dev/null || true
	$(Q)$(MAKE) --no-print-directory BUILD=build/coverage CC=gcc FORTIFY= \
		CFLAGS='-O0 -g --coverage' coverage-here
coverage-here: $(UNIT_TESTS) $(REPLAYS) $(KEPT)
	$(Q)FUZZ_RUNS=5000 $(run) --limit 120 $(UNIT_TESTS) $(REPLAYS)
	$(Q)$(PYTHON) -B tests/coverage $(BUILD)

# The storms with a shim and clients that were built with a sanitizer, whose library comes behind
# ours; gcc, because clang 14's shared ThreadSanitizer crashes at once.
.PHONY: check-storms-address check-storms-thread
#: check-storms-address  the storms under AddressSanitizer; check-storms-thread likewise
check-storms-address check-storms-thread: check-storms-%:
	$(Q)$(MAKE) --no-print-directory BUILD=build/storm-$* CC=gcc FORTIFY= \
		CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=$*' storms
storms: $(SHIM) $(BUILD)/lab-converter $(addprefix $(BUILD)/e2e/,echo-server t_storm t_random)
	$(Q)ASAN_OPTIONS=verify_asan_link_order=0 TSAN_OPTIONS=history_size=4:log_path=stderr \
		$(run) --limit 1800 tests/e2e/test_storms.py

COMPILATIONS := gcc-O2 gcc-O0 clang-O2 clang-O0

.PHONY: check-compilers compile-lto objects
#: check-compilers  gcc and clang, each with -O2 and -O0, the library and the unit tests with -flto; no warning allowed
check-compilers: $(addprefix compile-,$(COMPILATIONS)) compile-lto

compile-%:
	$(Q)$(MAKE) --no-print-directory BUILD=build/$* CC=$(firstword $(subst -, ,$*)) \
		CFLAGS='-$(lastword $(subst -, ,$*)) -g -Werror' objects
	@echo '$*: no warnings'

# as openSUSE and Arch build all that they have, Fedora and Ubuntu likewise with -ffat-lto-objects
compile-lto:
	$(Q)$(MAKE) --no-print-directory BUILD=build/gcc-lto CC=gcc \
		CFLAGS='-O2 -g -Werror -flto=auto' build/gcc-lto/$(notdir $(SHIM)) check-unit
	@echo 'gcc -flto: linked, no warnings'

# every room's
objects: $(patsubst %.c,$(BUILD)/obj/%.o,$(C_FILES))

# T seconds for each target. New inputs are kept in build/fuzz/corpus.
T       ?= 60
FUZZ_CC ?= clang

# the library's own objects, in a program that libFuzzer drives
FUZZ_LIBRARY := build/fuzz-library

.PHONY: fuzz fuzz-keep fuzz-library
#: fuzz T=60        the fuzz targets and the whole library with libFuzzer, T seconds each
fuzz: $(addprefix $(BUILD)/fuzz/fuzz_,$(FUZZERS)) fuzz-library $(KEPT)
	$(Q)$(foreach f,$(FUZZERS),$(call fuzz_for_T,$(BUILD)/fuzz/fuzz_$(f),$(f),1100) &&) \
		$(foreach m,off on,FUZZ_POLICY='mptcp = $(m)' \
			$(call fuzz_for_T,$(FUZZ_LIBRARY)/fuzz/shim-fuzzer,shim,2000) &&) true

#: fuzz-keep        adds to the kept corpus what fuzz has found and it does not reach
fuzz-keep: $(addprefix $(BUILD)/fuzz/fuzz_,$(FUZZERS)) fuzz-library $(KEPT)
	$(Q)$(foreach f,$(FUZZERS),$(call fuzz_keep,$(BUILD)/fuzz/fuzz_$(f),$(f)) &&) \
		$(foreach m,off on,FUZZ_POLICY='mptcp = $(m)' \
			$(call fuzz_keep,$(FUZZ_LIBRARY)/fuzz/shim-fuzzer,shim) &&) true

# program, name, longest input
fuzz_for_T = sh -c 'mkdir -p $(BUILD)/fuzz/corpus/$(2) && exec $(1) -max_total_time=$(T) -max_len=$(3) \
		-print_final_stats=1 $(addprefix -dict=,$(wildcard tests/fuzz/$(2:rules=config).dict)) \
		-artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/corpus/$(2) $(BUILD)/fuzz/kept/$(2)'

# program, name
fuzz_keep = sh -c 'mkdir -p $(BUILD)/fuzz/corpus/$(2) && \
		$(1) -set_cover_merge=1 $(BUILD)/fuzz/kept/$(2) $(BUILD)/fuzz/corpus/$(2)' && $(fuzz_pack)

# The same files make the same archive, byte for byte; no compression, so that git keeps of the next one what differs.
fuzz_pack = (cd $(BUILD)/fuzz/kept && find $(notdir $(KEPT)) -type f) | LC_ALL=C sort | \
		tar -cf tests/fuzz/corpus.tar -C $(BUILD)/fuzz/kept --format=ustar --mtime=@0 --owner=0 \
		--group=0 --numeric-owner --mode=644 --no-recursion -T - && touch $(KEPT)

.PHONY: fuzz-pack
#: fuzz-pack        packs build/fuzz/kept, where somebody has put an example into NAME, into the archive
# What is there is not unpacked again, as somebody may have changed it; nor does it replace an archive that is newer.
fuzz-pack: $(foreach k,$(KEPT),$(if $(wildcard $(k)),,$(k)))
	@for k in $(KEPT); do test ! tests/fuzz/corpus.tar -nt $$k || { echo "$$k is older than tests/fuzz/corpus.tar:" \
		"move $(BUILD)/fuzz/kept away, and put your examples into a new one" >&2; exit 1; }; done
	$(Q)$(fuzz_pack)

fuzz-library:
	$(Q)$(MAKE) --no-print-directory BUILD=$(FUZZ_LIBRARY) CC=$(FUZZ_CC) FORTIFY= SHIM_SYMBOLS=undefs \
		CFLAGS='-O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all \
			-fsanitize=fuzzer-no-link,address,undefined' $(FUZZ_LIBRARY)/fuzz/shim-fuzzer

N    ?= 10000
SEED ?= 1

.PHONY: fuzz-shim fuzz-shim-address fuzz-shim-here
#: fuzz-shim N=10000  the whole shim against a converter that answers with anything (SEED=1)
fuzz-shim: all fuzz-shim-here
#: fuzz-shim-address  the same under AddressSanitizer
fuzz-shim-address:
	$(Q)$(MAKE) --no-print-directory BUILD=build/storm-address CC=gcc FORTIFY= \
		CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=address' fuzz-shim-here
fuzz-shim-here: $(SHIM) $(BUILD)/fuzz/shim-converter $(BUILD)/fuzz/shim-client
	$(Q)ASAN_OPTIONS=verify_asan_link_order=0 FUZZ_CONNECTIONS=$(N) FUZZ_SEED=$(SEED) \
		$(run) --limit 7200 tests/e2e/test_fuzz_shim.py

FUZZ_SOURCES := $(wildcard common/*.c policy/*.c) $(HELPER)/explain/elf_file.c tests/unit/reference.c
FUZZ_HEADERS := $(wildcard common/*.h policy/*.h tests/unit/*.h tests/fuzz/*.h) \
		$(HELPER)/explain/elf_file.h

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(FUZZ_SOURCES) $(FUZZ_HEADERS)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)$(FUZZ_CC) $(filter-out -MMD -MP -O% $(FORTIFY),$(ALL_CFLAGS)) -O1 -g \
		-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		$(INCLUDE_tests/fuzz) -o $@ $< $(FUZZ_SOURCES)

# ------------------------------------------------------------------------------- lint

.PHONY: lint lint-docs lint-storeys lint-format lint-tidy lint-cppcheck lint-shell lint-python format
#: lint             clang-format, clang-tidy, cppcheck, shellcheck, Python's compiler, and these:
lint: lint-docs lint-storeys lint-format lint-tidy lint-cppcheck lint-shell lint-python

#: lint-docs        every number that a comment names (LINUX-FACTS 2b.3, P-30, D8) stands in docs/
lint-docs:
	$(Q)$(PYTHON) -B tests/lint-docs

#: lint-storeys     includes and calls go down only, from room to room; no files of one are in a circle
lint-storeys: objects
	$(Q)CC='$(CC)' $(PYTHON) -B tests/lint-storeys --self-test
	$(Q)$(PYTHON) -B tests/lint-storeys $(BUILD)/obj $(WRAPPED:%=-x %) -x __memcpy_chk \
		$(foreach room,$(ROOMS),'$(room)=$(INCLUDE_$(room))')
	$(Q)wc -l preload/*/*.h | awk '$$2 != "total" && $$1 > 100 { bad = 1; \
		print $$2 ": " $$1 " lines: expected 100 at most" } END { exit bad }'

lint-format:
	$(Q)clang-format --dry-run -Werror $(C_FILES) $(H_FILES)

#: format           lets clang-format write
format:
	$(Q)clang-format -i $(C_FILES) $(H_FILES)

# These programs do on purpose what checkers object to: null pointers to poll(), results ignored, descriptors as threads'
# arguments.
TIDY_LESS := -clang-analyzer-*,-bugprone-unused-return-value,-bugprone-macro-parentheses,-performance-no-int-to-ptr
tidy_less  = $(if $(filter tests/programs/clients/%,$<),--checks='$(TIDY_LESS)')
lint-tidy: $(patsubst %.c,$(BUILD)/lint/%.tidy,$(C_FILES))

$(BUILD)/lint/%.tidy: %.c .clang-tidy $(H_FILES)
	@mkdir -p $(@D)
	$(call say,TIDY,$<)clang-tidy --quiet --warnings-as-errors='*' $(tidy_less) $< -- -std=c11 -D_GNU_SOURCE \
		-DCONVERT_VERSION='""' $(INCLUDE_$(patsubst %/,%,$(dir $<))) 2>$@.err || \
		{ cat $@.err; exit 1; }
	@touch $@

# cppcheck takes loops that fill a buffer piece by piece for none
lint-cppcheck:
	$(Q)cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 --suppress=missingIncludeSystem --suppress=varFuncNullUB \
		--suppress='uninitvar:tests/programs/clients/*' -D_GNU_SOURCE \
		-DCONVERT_VERSION='""' -Icommon -Ipolicy $(C_FILES)

lint-shell:
	$(Q)shellcheck $(SHELL_FILES)

lint-python:
	$(Q)$(PYTHON) -c 'import sys; [compile(open(f).read(), f, "exec") for f in sys.argv[1:]]' \
		$(PYTHON_FILES)

# ------------------------------------------------------------------------ dependencies
# Debian's names. What make, make check and make demo need; then what only developers do.

DEPS_BUILD := gcc make libc6-dev uthash-dev libcurl4-openssl-dev \
	      libjansson-dev libncurses-dev libnetfilter-queue-dev libnfnetlink-dev
DEPS_CHECK := libcmocka-dev python3 python3-scapy tcpdump tshark nginx-light redis-server redis-tools \
	      openssh-server openssh-client iptables iproute2 strace valgrind git wget curl bash \
	      openssl procps util-linux netcat-openbsd ncat socat binutils diffutils python3-jsonschema tmux \
	      musl-tools fzf libcap2-bin zsh fish \
	      libpython3.11-testsuite nodejs haproxy wrk apache2-utils rsync \
	      g++ libboost-dev openjdk-17-jdk-headless cron sudo postgresql-15 \
	      python3-grpcio python3-urllib3 libevent-core-2.1-7 faketime miniupnpd miniupnpd-iptables
# of a second architecture, which nobody gets who does not ask for it
DEPS_32    := gcc-i686-linux-gnu libc6-dev-i386-cross
DEPS_REACH := qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
	      musl-dev:arm64 dpkg-dev bzip2 xz-utils
DEPS_PACKAGES := mmdebstrap lintian debhelper
DEPS_PROGRAMS := golang-go rustc libssl-dev zlib1g-dev busybox-static rclone caddy hugo
# the demo has no use for the helper
DEPS_DEMO  := $(filter-out libcurl% libjansson% libncurses%,$(DEPS_BUILD)) \
	      python3 python3-scapy nginx-light iproute2 curl openssl procps util-linux
DEPS_BENCH := $(DEPS_DEMO) strace python3-matplotlib proxychains4 torsocks microsocks mptcpize
DEPS_DEVEL := clang libclang-rt-14-dev clang-tidy clang-format cppcheck shellcheck

# DEPS=no: whoever builds elsewhere, or without dpkg, knows what is there
need = $(if $(filter no,$(DEPS)),true,tests/deps)

.PHONY: deps
#: deps             says which packages are missing and installs them (apt-get; root or sudo)
deps:
	$(Q)tests/deps $(DEPS_BUILD) $(DEPS_CHECK) $(DEPS_DEVEL)

# ----------------------------------------------------------------------------- install
# DESTDIR, PREFIX, BINDIR, LIBDIR, MANDIR, DATADIR, UNITDIR, SYSCONFDIR. convert.conf itself is never
# touched, and no unit is enabled.

MAN_PAGES := $(wildcard $(HELPER)/run/*.[1-8] policy/*.[1-8] $(HELPER)/*.[1-8])
man_path   = $(MANDIR)/man$(patsubst .%,%,$(suffix $(1)))/$(notdir $(1))
EXAMPLE   := $(wildcard convert.conf.example)
SCHEMAS   := $(wildcard common/*.schema.json $(HELPER)/*/*.schema.json)
OWN_DATADIR = $(DATADIR)/convert

# shells look for them by the program's name
COMPLETIONS := $(wildcard */completions/* */*/completions/*)
ZSHDIR         ?= $(DATADIR)/zsh/site-functions
completion_dir  = $(if $(filter %.bash,$(1)),$(DATADIR)/bash-completion/completions,$(if \
		  $(filter %.fish,$(1)),$(DATADIR)/fish/vendor_completions.d,$(ZSHDIR)))
completion_path = $(completion_dir)/$(patsubst %.bash,%,$(notdir $(1)))

# which may have a space in it, as the folder may that this is built in: a list of them is made of what is quoted
at   = '$(DESTDIR)$(1)'
each = $(foreach name,$(2),$(call at,$(1)/$(name)))
# Beside it and renamed, since programs that start or run have the last one: mode, from, to.
put = install -D -m $(1) $(2) $(call at,$(3).new) && mv -f $(call at,$(3).new) $(call at,$(3))
put_all = $(foreach file,$(2),$(call put,$(1),$(file),$(3)/$(notdir $(file))) &&) true

.PHONY: install install-lib uninstall uninstall-lib
#: install          to PREFIX=/usr/local (DESTDIR, LIBDIR, SYSCONFDIR ...); no convert.conf
install: install-lib $(PROGRAMS) $(UNITS) $(INIT)
	$(call put_all,755,$(PROGRAMS),$(BINDIR))
	$(foreach page,$(MAN_PAGES),$(call put,644,$(page),$(call man_path,$(page))) &&) true
	$(foreach file,$(COMPLETIONS),$(call put,644,$(file),$(call completion_path,$(file))) &&) true
	$(call put_all,644,$(EXAMPLE),$(SYSCONFDIR))
	$(call put_all,644,$(UNITS),$(UNITDIR))
	$(call put_all,755,$(INIT),$(OWN_DATADIR))
	$(call put_all,644,$(SCHEMAS),$(OWN_DATADIR))

# A crash of the host must not leave an empty file for every program to complain of, where there is a sync(1) (there is
# none in bitbake's PATH); nor another `make install` half a file.
#: install-lib      the library alone
install-lib: $(SHIM)
	install -d $(call at,$(LIBDIR))
	new=$(call at,$(LIBDIR)/$(SONAME).new).$$$$; trap 'rm -f "$$new"' EXIT; \
	install -m 644 $(SHIM) "$$new" && { ! command -v sync > /dev/null || sync "$$new"; } && \
	mv -f "$$new" $(call at,$(LIBDIR)/$(SONAME))
	ln -sf $(SONAME) $(call at,$(LIBDIR)/$(notdir $(SHIM)).new)
	mv -f $(call at,$(LIBDIR)/$(notdir $(SHIM)).new) $(call at,$(LIBDIR)/$(notdir $(SHIM)))

# By itself, as nobody needs it without Wireshark; it stays text, and no plugin directory is touched.
.PHONY: install-wireshark
#: install-wireshark  the dissector for Wireshark and tshark, to DATADIR/convert/wireshark/
install-wireshark:
	$(call put_all,644,packaging/wireshark/convert.lua,$(OWN_DATADIR)/wireshark)

# The link may lead to another version by now.
#: uninstall-lib    removes what install-lib put there, if nothing loads this version any more
uninstall-lib:
	@packaging/named '$(DESTDIR)' '$(LIBDIR)' $(SONAME)
	rm -f $(call at,$(LIBDIR)/$(SONAME))
	[ -e $(call at,$(LIBDIR)/$(notdir $(SHIM))) ] || rm -f $(call at,$(LIBDIR)/$(notdir $(SHIM)))

#: uninstall        removes what install put there, likewise
uninstall: uninstall-lib
	rm -f $(call each,$(BINDIR),$(notdir $(PROGRAMS))) \
		$(foreach page,$(MAN_PAGES),$(call at,$(call man_path,$(page)))) \
		$(foreach file,$(COMPLETIONS),$(call at,$(call completion_path,$(file)))) \
		$(call each,$(SYSCONFDIR),$(EXAMPLE)) $(call each,$(UNITDIR),$(notdir $(UNITS))) \
		$(call each,$(OWN_DATADIR),$(notdir $(INIT) $(SCHEMAS)) wireshark/convert.lua)
	for folder in $(call at,$(OWN_DATADIR)/wireshark) $(call at,$(OWN_DATADIR)); do \
		[ ! -d "$$folder" ] || rmdir --ignore-fail-on-non-empty "$$folder" || exit 1; done

# A copy of the tree with packaging/debian as its debian; the archives beside it. What this make was told of its own
# folders is in the environment, too, and not for the package's: its "make clean" would take away where it is built.
DEB      ?= $(BUILD)/deb
DEB_TREE  = $(DEB)/convert-preload-$(VERSION)
FOLDERS  := BUILD DEB DESTDIR PREFIX BINDIR LIBDIR DATADIR MANDIR ZSHDIR UNITDIR SYSCONFDIR
in_tree   = $(subst $(CURDIR)/,,$(abspath $(1)))

.PHONY: deb
#: deb              Debian packages in build/deb (DEB_FLAGS=-b, DEB_BUILD_OPTIONS=nocheck)
deb:
	rm -rf $(DEB) && mkdir -p $(DEB_TREE)
	tar -cf - --exclude='./$(call in_tree,$(BUILD))' --exclude='./$(call in_tree,$(DEB))' --exclude=./build \
		--exclude=./.git --exclude=__pycache__ . | tar -xf - -C $(DEB_TREE)
	tar -czf $(DEB)/convert-preload_$(VERSION).orig.tar.gz -C $(DEB) convert-preload-$(VERSION)
	cp -r packaging/debian $(DEB_TREE)/debian
	cd $(DEB_TREE) && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS $(FOLDERS:%=-u %) \
		dpkg-buildpackage -us -uc $(DEB_FLAGS)

.PHONY: clean help
#: clean            removes build/
clean:
	rm -rf build $(filter-out build,$(BUILD))

#: help             this list
help:
	@sed -n 's/^#: //p' Makefile

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
