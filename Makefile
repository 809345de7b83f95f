# SPDX-License-Identifier: MIT
#
# accelmux: no configure step.  Objects go to $(O); nothing is written elsewhere.
#
#   make                 broker, CLI, library, examples
#   make run             the guided tour (installs what is missing)
#   make check           every test (installs what is missing); T=NAME: that one alone
#   make model           proves the rings and the grant page by spin (a part of make check)
#   make soak T=1800     that many seconds of everything at once, at random
#   make fuzz [T=60]     the fuzz targets, T seconds each; 0: their committed corpora alone
#   make check-lab       the kernel module in QEMU guests, both kernels; T=NAME
#   make check-full      everything, in its long version
#   make check-kernel-debug  the guest tests on a kernel with KASAN and lockdep
#   make bench-peers     accelmux beside its peers; ROW='noop*' ROUNDS=7; CHECK=1: targets count
#   make deps            installs what is missing
#   make install DESTDIR= PREFIX=/usr/local, make uninstall
#   make install-kmod    the kernel module's source to /usr/src, for DKMS; uninstall-kmod
#   SAN=asan|tsan|fuzz   the same in a build directory of its own
#   CC=clang             any of the above with another compiler

PREFIX  ?= /usr/local
DESTDIR ?=
SAN     ?=
O       ?= build$(if $(SAN),-$(SAN))$(if $(filter clang%,$(CC)),-clang)
CC      := $(if $(filter default,$(origin CC)),$(if $(filter fuzz,$(SAN)),clang,gcc),$(CC))
VERSION := $(shell cat VERSION)
SOMAJOR := 0

PKGS_CLIENT :=
PKGS_BROKER := libuv jansson libmicrohttpd inih numa libaccel-config libsystemd
PKGS_CLI    := jansson libaccel-config ncurses
PKGS_TEST   := jansson
PKGS_CHECK  := check

CPPFLAGS += -D_GNU_SOURCE -DAMUX_VERSION='"$(VERSION)"' -I$(O)/include
WARN     := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wvla -Werror
CFLAGS   ?= -O2 -g
ALL_CFLAGS = -std=gnu11 $(WARN) -fPIC -fvisibility=hidden -fno-strict-aliasing -pthread $(CFLAGS) $(SANFLAGS)
ifeq ($(SAN),asan)
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),tsan)
SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer
else ifeq ($(SAN),fuzz)
SANFLAGS := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
            -fno-omit-frame-pointer
else ifneq ($(SAN),)
$(error SAN='$(SAN)': expected asan, tsan, fuzz or nothing)
endif
LDFLAGS  += $(SANFLAGS) -pthread

CLIENT_SRC   := $(sort $(wildcard client/*.c))
POLICY_SRC   := $(sort $(wildcard policies/*.c))
CLI_SRC      := $(sort $(wildcard broker/cli*.c))
# What the command shares with the broker.
CLI_SHARED   := broker/trace.c broker/trace_write.c broker/idxd.c broker/doctor.c \
                $(sort $(wildcard broker/layout*.c))
DAEMON_SRC   := broker/main.c
BROKER_SRC   := $(filter-out $(CLI_SRC) $(DAEMON_SRC),$(sort $(wildcard broker/*.c))) $(POLICY_SRC) \
                client/crc.c
EXAMPLE_SRC  := $(sort $(wildcard docs/examples/*.c))
UNIT_SRC     := $(sort $(wildcard tests/unit/test_*.c))
INTEG_SRC    := $(sort $(wildcard tests/integration/*.c))
FUZZ_SRC     := $(sort $(wildcard tests/fuzz/fuzz_*.c))
DEMO_SRC     := $(sort $(wildcard tests/demo/*.c))
BENCH_SRC    := $(sort $(wildcard tests/bench/*.c))
TESTLIB_SRC  := $(sort $(wildcard tests/lib/*.c))

# A comma in a function's argument.
, := ,
obj = $(patsubst %.c,$(O)/%.o,$(1))
PUBLIC := $(O)/include/accelmux/accelmux.h $(O)/include/accelmux/abi.h \
          $(O)/include/accelmux/policy.h

BROKER_CF = $(shell pkg-config --cflags $(PKGS_BROKER))
BROKER_LD = $(shell pkg-config --libs $(PKGS_BROKER))
CLI_LD    = $(shell pkg-config --libs $(PKGS_CLI))
TEST_LD   = $(shell pkg-config --libs $(PKGS_TEST))
CHECK_LD  = $(shell pkg-config --libs $(PKGS_CHECK))

BIN      := $(O)/accelmuxd $(O)/accelmux
LIBS     := $(O)/libaccelmux.a $(O)/libaccelmux.so $(O)/accelmux.pc
EXAMPLES := $(patsubst docs/examples/%.c,$(O)/examples/%,$(EXAMPLE_SRC))
UNITS    := $(patsubst tests/unit/%.c,$(O)/unit/%,$(UNIT_SRC))
FUZZERS  := $(patsubst tests/fuzz/%.c,$(O)/fuzz/%,$(FUZZ_SRC))
INTEGS   := $(patsubst tests/integration/%.c,$(O)/integration/%,$(INTEG_SRC))

# Manual pages, where scdoc is there to make them, and a page for each function of the library.
MAN_SRC  := $(sort $(wildcard docs/man/*.scd))
MAN_PAGE := $(patsubst docs/man/%.scd,%,$(MAN_SRC))
MAN_FUNC := $(addsuffix .3,$(sort $(shell grep -o 'amux_[a-z0-9_]*' client/libaccelmux.map)))
MAN      := $(if $(shell command -v scdoc),$(addprefix $(O)/man/,$(MAN_PAGE) $(MAN_FUNC)))

DEMO     := $(O)/demo/tour $(O)/demo/tenant
BENCH    := $(O)/bench/peers

all: $(BIN) $(LIBS) $(EXAMPLES) $(MAN)
tests: all $(UNITS) $(INTEGS) $(DEMO) $(BENCH)
fuzzers: $(FUZZERS)

$(O)/include/accelmux/%.h: client/%.h
	@mkdir -p $(@D)
	@cp $< $@

$(O)/include/accelmux/%.h: policies/%.h
	@mkdir -p $(@D)
	@cp $< $@

$(O)/%.o: %.c Makefile VERSION | $(PUBLIC)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(BROKER_CF) -MMD -MP -c -o $@ $<

$(O)/libaccelmux.a: $(call obj,$(CLIENT_SRC))
	@echo "  AR    $@"
	@rm -f $@ && ar rcs $@ $^

$(O)/libaccelmux.so.$(VERSION): $(call obj,$(CLIENT_SRC)) client/libaccelmux.map
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -shared -Wl,-z,nodelete -Wl,-soname,libaccelmux.so.$(SOMAJOR) \
		-Wl,--version-script,client/libaccelmux.map -o $@ $(filter %.o,$^)

$(O)/libaccelmux.so: $(O)/libaccelmux.so.$(VERSION)
	@ln -sf $(<F) $(O)/libaccelmux.so.$(SOMAJOR)
	@ln -sf $(<F) $@

$(O)/accelmux.pc: client/accelmux.pc.in VERSION Makefile
	@mkdir -p $(@D)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' $< > $@

$(addprefix $(O)/man/,$(MAN_PAGE)): $(O)/man/%: docs/man/%.scd docs/man/expand.awk docs/config.md \
		docs/abi.md docs/policies.md client/accelmux.h
	@mkdir -p $(@D)
	@awk -f docs/man/expand.awk $< > $@.scd && scdoc < $@.scd > $@.new && rm $@.scd && \
		mv $@.new $@

$(addprefix $(O)/man/,$(MAN_FUNC)): client/libaccelmux.map
	@mkdir -p $(@D)
	@echo '.so man3/libaccelmux.3' > $@

$(O)/libbroker.a: $(call obj,$(BROKER_SRC))
	@echo "  AR    $@"
	@rm -f $@ && ar rcs $@ $^

$(O)/accelmuxd: $(call obj,$(DAEMON_SRC)) $(O)/libbroker.a
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(BROKER_LD)

$(O)/accelmux: $(call obj,$(CLI_SRC) $(CLI_SHARED)) $(O)/libaccelmux.a
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(CLI_LD)

$(O)/examples/%: $(O)/docs/examples/%.o $(O)/libaccelmux.so
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $< -L$(O) -laccelmux -Wl,-rpath,'$$ORIGIN/..'

# The calls that tests/unit/failing.h makes fail.
FAILING := malloc calloc realloc reallocarray aligned_alloc posix_memalign strdup strndup \
           open_memstream fopen fdopen opendir open memfd_create eventfd epoll_create1 epoll_ctl \
           socket socketpair pthread_create mmap munmap
UNIT_LDFLAGS_test_alloc := $(addprefix -Wl$(,)--wrap=,$(FAILING))

$(O)/unit/%: $(O)/tests/unit/%.o $(O)/libbroker.a $(O)/libaccelmux.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) $(UNIT_LDFLAGS_$(@F)) -o $@ $^ $(BROKER_LD) $(CHECK_LD)

$(O)/integration/%: $(O)/tests/integration/%.o $(call obj,$(TESTLIB_SRC)) $(O)/libaccelmux.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LD)

# Built with SAN=fuzz.  The client's target is its own broker: it takes the place of three calls.
FUZZ_LDFLAGS_fuzz_client := -Wl,--wrap=connect,--wrap=ppoll,--wrap=clock_nanosleep

$(O)/fuzz/%: $(O)/tests/fuzz/%.o $(O)/libbroker.a $(O)/libaccelmux.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -fsanitize=fuzzer $(FUZZ_LDFLAGS_$(@F)) -o $@ $^ $(BROKER_LD)

$(O)/demo/tenant: $(O)/tests/demo/tenant.o $(O)/libaccelmux.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $^

$(O)/demo/tour: $(call obj,$(filter-out %/tenant.c,$(DEMO_SRC)))
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LD)

# Peers are built for this machine; those whose library is missing are left out, and say so.
BENCH_ARCH  := $(if $(filter x86_64,$(shell uname -m)),-march=native)
bench_has    = $(shell pkg-config --exists $(1) 2>/dev/null && echo yes)
bench_flags  = $(patsubst -I%,-isystem %,$(filter -I% -include %.h,$(shell pkg-config --cflags $(1))))

$(O)/tests/bench/%.o: ALL_CFLAGS += $(BENCH_ARCH)
$(O)/tests/bench/uring.o: ALL_CFLAGS += $(if $(call bench_has,liburing),-DBENCH_URING)
$(O)/tests/bench/dpdk.o: ALL_CFLAGS += $(if $(call bench_has,libdpdk),-DBENCH_DPDK \
	$(call bench_flags,libdpdk))

$(O)/bench/peers: $(call obj,$(BENCH_SRC) $(TESTLIB_SRC)) $(O)/libaccelmux.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(TEST_LD) \
		$(if $(call bench_has,liburing),$(shell pkg-config --libs liburing))

ROUNDS ?= 7
ROW    ?= *

bench-peers:
	@tests/deps.sh run
	@tests/deps.sh bench
	@$(MAKE) --no-print-directory O=$(O) all $(BENCH)
	@$(O)/bench/peers --rounds $(ROUNDS) --row '$(ROW)' --json $(O)/bench/peers.json \
		$(if $(filter-out 0,$(CHECK)),--check)

# What is missing must be there before anything is built: hence a make of its own.
deps:
	@tests/deps.sh check

run:
	@tests/deps.sh run
	@$(MAKE) --no-print-directory O=$(O) all $(DEMO)
	@$(O)/demo/tour $(O) tests/traces/mixed.trace

check:
	@tests/deps.sh check
	@O=$(O) SAN=$(SAN) CC=$(CC) tests/check.sh $(T)

model:
	@tests/deps.sh check
	@CC=$(CC) tests/model/model.sh $(T)

# $(T) seconds, half an hour by default; SEED=N repeats a run's choices.
soak: all $(O)/integration/test_soak
	@AMUX_SOAK=$(or $(T),1800) $(O)/integration/test_soak

fuzz:
	@tests/deps.sh check
	@$(MAKE) --no-print-directory O=$(O)-fuzz CC=clang SAN=fuzz fuzzers
	@O=$(O) BIN=$(O)-fuzz/fuzz tests/fuzz/run.sh $(T)

# The kernel module in QEMU guests with stock kernels; see tests/lab/lab.sh.
check-lab: all
	@tests/deps.sh check
	@O=$(O) tests/lab/lab.sh quick $(T)

check-full: check
	@O=$(O) tests/lab/lab.sh full

check-kernel-debug: all
	@tests/deps.sh check
	@O=$(O) tests/lab/lab.sh debug $(T)

# What is installed, below DESTDIR/PREFIX: what uninstall removes, no more and no less.
INSTALLED := bin/accelmux sbin/accelmuxd lib/libaccelmux.a lib/libaccelmux.so.$(VERSION) \
	     lib/libaccelmux.so.$(SOMAJOR) lib/libaccelmux.so lib/pkgconfig/accelmux.pc \
	     include/accelmux/accelmux.h include/accelmux/abi.h include/accelmux/uapi/accelmux.h \
	     include/accelmux/policy.h \
	     share/doc/accelmux/accelmux.conf lib/systemd/system/accelmux-setup.service \
	     lib/systemd/system/accelmuxd.service lib/sysusers.d/accelmux.conf \
	     lib/tmpfiles.d/accelmux.conf share/bash-completion/completions/accelmux \
	     $(foreach p,$(MAN_PAGE) $(MAN_FUNC),share/man/man$(subst .,,$(suffix $(p)))/$(p))
INSTALL_TO = $(DESTDIR)$(PREFIX)

install: all
	@echo "  INSTALL $(INSTALL_TO)"
	@install -d $(addprefix $(INSTALL_TO)/,$(sort $(dir $(INSTALLED))))
	@install -m 755 $(O)/accelmux $(INSTALL_TO)/bin
	@install -m 755 $(O)/accelmuxd $(INSTALL_TO)/sbin
	@install -m 644 $(O)/libaccelmux.a $(O)/libaccelmux.so.$(VERSION) $(INSTALL_TO)/lib
	@ln -sf libaccelmux.so.$(VERSION) $(INSTALL_TO)/lib/libaccelmux.so.$(SOMAJOR)
	@ln -sf libaccelmux.so.$(VERSION) $(INSTALL_TO)/lib/libaccelmux.so
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' client/accelmux.pc.in \
		> $(INSTALL_TO)/lib/pkgconfig/accelmux.pc
	@install -m 644 client/accelmux.h client/abi.h policies/policy.h $(INSTALL_TO)/include/accelmux
	@install -m 644 kmod/uapi/accelmux.h $(INSTALL_TO)/include/accelmux/uapi
	@install -m 644 docs/accelmux.conf $(INSTALL_TO)/share/doc/accelmux
	@for u in accelmux-setup accelmuxd; do \
		sed 's|@PREFIX@|$(PREFIX)|' broker/$$u.service.in \
			> $(INSTALL_TO)/lib/systemd/system/$$u.service; done
	@install -m 644 broker/accelmux.sysusers $(INSTALL_TO)/lib/sysusers.d/accelmux.conf
	@install -m 644 broker/accelmux.tmpfiles $(INSTALL_TO)/lib/tmpfiles.d/accelmux.conf
	@install -m 644 broker/accelmux.bash \
		$(INSTALL_TO)/share/bash-completion/completions/accelmux
	@for m in $(MAN); do install -m 644 $$m $(INSTALL_TO)/share/man/man$${m##*.}; done
	@[ "$(DESTDIR)" ] || ldconfig 2>/dev/null || :

uninstall:
	@echo "  UNINSTALL $(INSTALL_TO)"
	@rm -f $(addprefix $(INSTALL_TO)/,$(INSTALLED))
	@for d in include/accelmux/uapi include/accelmux share/doc/accelmux lib/systemd/system \
		lib/systemd lib/sysusers.d lib/tmpfiles.d share/bash-completion/completions \
		share/bash-completion share/man/man1 share/man/man3 share/man/man5 \
		share/man/man7 share/man/man8 share/man; do \
		rmdir $(INSTALL_TO)/$$d 2>/dev/null || :; done
	@[ "$(DESTDIR)" ] || ldconfig 2>/dev/null || :

# For: dkms install accelmux/VERSION
KMOD_TO = $(DESTDIR)/usr/src/accelmux-$(VERSION)

install-kmod:
	@echo "  INSTALL $(KMOD_TO)"
	@install -d $(KMOD_TO)/uapi
	@install -m 644 kmod/*.[ch] kmod/Kbuild kmod/Makefile VERSION $(KMOD_TO)
	@install -m 644 kmod/uapi/*.h $(KMOD_TO)/uapi
	@sed 's|@VERSION@|$(VERSION)|' kmod/dkms.conf > $(KMOD_TO)/dkms.conf

uninstall-kmod:
	@echo "  UNINSTALL $(KMOD_TO)"
	@rm -rf $(KMOD_TO)

clean:
	rm -rf build build-*

.PHONY: all tests fuzzers deps run bench-peers check model soak fuzz check-lab check-full \
	check-kernel-debug install uninstall \
	install-kmod uninstall-kmod clean
.SECONDARY:
-include $(shell [ -d $(O) ] && find $(O) -name '*.d')
