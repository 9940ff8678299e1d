# portfence: `make help` lists the verbs.

VERSION = 0.1.0
PREFIX = /usr/local
bindir = $(PREFIX)/bin
libdir = $(PREFIX)/lib
mandir = $(PREFIX)/share/man
datadir = $(PREFIX)/share
zshdir = $(datadir)/zsh/site-functions

# M32=1 builds the library for 32-bit programs, too (Debian: gcc-multilib), in 32/ beside the other.
# SAN=address|undefined|thread builds with that sanitizer, SAN=coverage (CC=clang) so that every
# process counts the lines it runs; each in a folder of its own.
B = build$(SAN:%=-%)
CFLAGS = -O2 -g
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wformat=2 -Wundef
# WERROR=1 turns warnings into errors.
werror = $(WERROR:1=-Werror)
# The fence of TSan's complaint orders atomics only, and those it follows.
sanitize_thread = -Wno-tsan
# Counted in the mapped file itself: nothing is lost to _exit, exec, SIGKILL or `env -i`.
sanitize_coverage = -fprofile-instr-generate=$(abspath $(B))/profile/%m%c.profraw \
	-fprofile-update=atomic -fcoverage-mapping -mllvm -runtime-counter-relocation \
	-Wno-unused-command-line-argument
sanitize = $(patsubst %,-fsanitize=% -fno-sanitize-recover=all -fno-omit-frame-pointer,$(filter-out \
	coverage,$(SAN))) $(sanitize_$(SAN))

cflags = -std=gnu11 -D_GNU_SOURCE $(CFLAGS) $(sanitize) $(WARN) -Iinclude -Icore \
	-DPF_VERSION=\"$(VERSION)\" -DPF_LIBDIR=\"$(libdir)/portfence\" -MMD -MP
# What is preloaded must load under musl too: no glibc-only __*_chk symbols, no lazy binding.
fence_cflags = -fPIC -fvisibility=hidden -fno-plt -U_FORTIFY_SOURCE
command_cflags = -fPIE -U_FORTIFY_SOURCE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
test_cflags = $(cflags) -pthread

hardened = -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
# It is loaded into every process: one mapping for code and constants, no start files; what starts
# and connects write lies in one page, which takes sections sorted by name (core/atomics.h).
fence_ldflags = -shared $(hardened) -Wl,-z,noseparate-code -Wl,--sort-section=name $(if $(filter coverage,$(SAN)),,-nostartfiles) \
	$(if $(SAN),,-Wl,-z,defs -Wl,--version-script=shim/exports.map)

core = $(patsubst %.c,$(B)/obj/%.o,$(wildcard core/*.c))
shim = $(patsubst %.c,$(B)/obj/%.o,$(wildcard shim/*.c))
cli = $(patsubst %.c,$(B)/obj/%.o,$(wildcard cli/*.c))
units = $(patsubst tests/%.c,$(B)/%,$(wildcard tests/unit/test_*.c))
probes = $(patsubst tests/%.c,$(B)/%,$(wildcard tests/probe/*.c))
preloads = $(patsubst tests/%.c,$(B)/%.so,$(wildcard tests/preload/*.c))
benches = $(B)/bench/driver $(B)/bench/paths
fuzzers = $(patsubst tests/%.c,$(B)/%,$(wildcard tests/fuzz/*.c))
stresses = $(B)/stress/driver $(B)/stress/worker $(B)/stress/fill
sources = $(wildcard include/portfence/*.h core/*.[ch] shim/*.[ch] cli/*.[ch] cli/*/*.c \
	tests/*.c tests/*/*.[ch] bench/*.[ch])

# As many jobs as processors where a verb builds, unless -j was given.
jobs = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))
submake = @+$(MAKE) -s --no-print-directory $(jobs)

all: $(B)/libportfence.so $(B)/portfence $(B)/portfence-prometheus $(if $(M32),$(B)/32/libportfence.so) ## build the library and the command (the default)

demo: ## show it at work: nginx, curl and Python on loopback
	@tests/setup.sh demo
	$(submake) all
	@tests/demo.sh

check: ## install what the tests need, build, run every test (T=FILE: only that one)
	@tests/setup.sh check
	$(submake) WERROR=1 programs
	@B=$(B) tests/run.sh all $(T)

check-unit: ## run the unit tests only
	$(submake) units
	@B=$(B) tests/run.sh unit $(T)

check-bats: ## run the bats tests only
	$(submake) all probes preloads
	@B=$(B) tests/run.sh bats $(T)

check-real: ## see real programs, servers and containers at work in the fence
	@tests/setup.sh real
	$(submake) all probes
	@rm -rf $(B)/real
	@B=$(B) tests/run.sh real $(T)
	@$(if $(T),,B=$(B) tests/real/compatibility.sh check)

# What the next five find in any program fails; SHORT=1 is a part of the tests, T=FILE only that one.
asan: ## run the tests with the address sanitizer
	@tests/setup.sh check
	$(submake) SAN=address programs
	@B=build-address tests/sanitize.sh address $(T)

ubsan: ## run the tests with the undefined-behaviour sanitizer
	@tests/setup.sh check
	$(submake) SAN=undefined programs
	@B=build-undefined tests/sanitize.sh undefined $(T)

tsan: ## run the tests with the thread sanitizer
	@tests/setup.sh check
	$(submake) SAN=thread programs
	@B=build-thread tests/sanitize.sh thread $(T)

valgrind: ## run the tests under valgrind's memcheck
	@tests/setup.sh check
	$(submake) programs
	@B=$(B) tests/sanitize.sh valgrind $(T)

cov: ## run the tests and say which lines they ran: 90 % at the least
	@tests/setup.sh cov
	$(submake) SAN=coverage CC=clang programs
	@B=build-coverage tests/coverage.sh $(T)

# A finding is whatever a sanitizer says. pf_sys goes through syscall(), which a harness can define.
fuzz: ## fuzz each harness for TIME seconds, or RUNS inputs (T=FILE: only that one)
	@tests/setup.sh fuzz
	$(submake) fuzzers CC=clang B=build-fuzz SAN=fuzzer-no-link,address,undefined \
		CFLAGS='-O2 -g -fno-sanitize-recover=all -fno-sanitize-coverage=trace-cmp -D__clang_analyzer__'
	@B=build-fuzz RUNS=$(RUNS) TIME=$(TIME) tests/fuzz/run.sh $(T)

lint: ## formatting, static analysis, layer and symbol rules
	@tests/setup.sh lint
	$(submake) all
	@B=$(B) tests/lint.sh

fmt: ## format every C file
	clang-format -i $(sources)

bench: ## measure it beside the kernel's own choice (SHORT=1: only see that it works)
	@tests/setup.sh bench
	$(submake) all benches
	@B=$(B) /usr/bin/python3 bench/compare.py $(if $(SHORT),--short)

budget: ## count the instructions of the shim's paths, against bench/budget.txt
	@tests/setup.sh check
	$(submake) all benches
	@B=$(B) /usr/bin/python3 bench/budget.py

stress: ## kill processes in the fence at random (TIME=SECONDS SEED=N ROUND=N)
	@tests/setup.sh check
	$(submake) programs
	@B=$(B) tests/stress/run.sh $(or $(TIME),16) '$(SEED)' $(ROUND)

install: all ## install below $(DESTDIR)$(PREFIX)
	install -D -m 755 $(B)/portfence $(DESTDIR)$(bindir)/portfence
	install -D -m 755 $(B)/portfence-prometheus $(DESTDIR)$(libdir)/portfence/portfence-prometheus
	install -D -m 644 $(B)/libportfence.so $(DESTDIR)$(libdir)/portfence/libportfence.so
	$(if $(M32),install -D -m 644 $(B)/32/libportfence.so $(DESTDIR)$(libdir)/portfence/32/libportfence.so)
	$(if $(M32),$(call classes,$(DESTDIR)$(libdir)/portfence))
	$(foreach f,$(extras),install -D -m 644 $(subst :, $(DESTDIR),$f) &&) :
	sed -i 's#/usr/bin/portfence#$(bindir)/portfence#; s#/usr/lib/portfence#$(libdir)/portfence#' \
		$(foreach f,$(wildcard config/*),$(DESTDIR)$(datadir)/doc/portfence/examples/$(notdir $f))

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(bindir)/portfence $(foreach f,$(extras),$(DESTDIR)$(lastword $(subst :, ,$f)))
	rm -rf $(DESTDIR)$(libdir)/portfence

deb: ## build a Debian package: portfence_VERSION_ARCH.deb
	@tests/setup.sh deb
	@packaging/deb.sh $(VERSION)

clean: ## remove what was built
	rm -rf build build-*

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 12
	@echo 'Variables: CC CFLAGS WERROR=1 M32=1 SAN=address|undefined|thread PREFIX DESTDIR T=FILE SHORT=1'

# FILE:PLACE of what is installed where it exists.
extras = $(foreach n,1 5 7,$(foreach f,$(wildcard docs/*.$n),$f:$(mandir)/man$n/$(notdir $f))) \
	$(foreach f,$(wildcard config/*),$f:$(datadir)/doc/portfence/examples/$(notdir $f)) \
	$(foreach f,$(wildcard completions/portfence.bash),$f:$(datadir)/bash-completion/completions/portfence) \
	$(foreach f,$(wildcard completions/_portfence),$f:$(zshdir)/_portfence) \
	$(foreach f,$(wildcard completions/portfence.fish),$f:$(datadir)/fish/vendor_completions.d/portfence.fish)

# The names of $LIB in a loader, as the gcc of its distribution has them: ask it, whatever compiles.
lib_names = $(notdir $(or $(shell $1 -print-multi-os-directory),$(error M32=1 needs $1))) \
	$(addprefix lib/,$(shell $1 -print-multiarch))
# Puts links to the libraries in and below folder $1 under all those names (cli/library.c).
classes = $(foreach n,$(call lib_names,gcc -m32),$(call link,$1/32,$1/$n)) \
	$(foreach n,$$LIB $(call lib_names,gcc),$(call link,$1,$1/$n)) :
link = mkdir -p '$2' && ln -srf '$1/libportfence.so' '$2/' &&

units: $(units)
probes: $(probes)
preloads: $(preloads)
fuzzers: $(fuzzers)
benches: $(benches)
programs: all units probes preloads benches $(stresses)

$(B)/libportfence.so: $(core) $(shim) shim/exports.map
	$(CC) $(CFLAGS) $(sanitize) $(fence_ldflags) -o $@ $(filter %.o,$^) $(LDFLAGS)

build-address/libportfence.so: build-address/obj/tests/asan.o
build-address/obj/tests/asan.o: own_cflags = $(fence_cflags)

$(B)/32/libportfence.so: always
	$(submake) M32= B=$(B)/32 CC='$(CC) -m32 -Wno-psabi' $@
	@$(call classes,$(B))

# From archives: an image that has libc alone can run the command.
cli_libraries = -l:libinih.a -l:libjson-c.a -l:libncursesw.a -l:libtinfo.a -l:libseccomp.a

$(B)/portfence: $(core) $(cli)
	$(CC) $(CFLAGS) $(sanitize) -pie $(hardened) -o $@ $^ $(cli_libraries) $(LDFLAGS)

# The command runs where there is libc and nothing else; what needs more is a program of its own.
$(B)/portfence-prometheus: $(core) $(filter-out %/main.o,$(cli)) $(B)/obj/cli/server/prometheus.o
	$(CC) $(CFLAGS) $(sanitize) -pie $(hardened) -o $@ $^ $(cli_libraries) -lmicrohttpd $(LDFLAGS)

# Nobody asks which lines of these ran.
$(probes) $(stresses): sanitize_coverage =

$(B)/obj/core/%.o $(B)/obj/shim/%.o: own_cflags = $(fence_cflags)
$(B)/obj/cli/%.o: own_cflags = $(command_cflags)

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(cflags) $(own_cflags) $(werror) -c -o $@ $<

$(B)/unit/%: tests/unit/%.c $(core) $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(test_cflags) $(werror) -o $@ $< $(core) -lcmocka $(wrap) $(unit_libraries) \
		$(LDFLAGS)

$(B)/unit/test_strict_filter: unit_libraries = -l:libseccomp.a
$(B)/unit/test_segment: wrap = -Wl,--wrap=mmap

$(B)/probe/%: tests/probe/%.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(test_cflags) $(werror) -o $@ $< $(LDFLAGS)

$(B)/preload/%.so: tests/preload/%.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(test_cflags) $(werror) -fPIC -shared -o $@ $< $(LDFLAGS)

$(B)/bench/driver: bench/driver.c bench/pool.c bench/spawn.c bench/driver.h $(core) $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(filter-out -MMD -MP,$(test_cflags)) $(werror) -o $@ $(filter %.c %.o,$^) $(LDFLAGS)

$(B)/bench/paths: bench/paths.c $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(test_cflags) $(werror) -o $@ $< $(LDFLAGS)

$(B)/stress/driver: tests/stress/driver.c tests/stress/watch.c
$(B)/stress/worker: tests/stress/worker.c tests/stress/traffic.c
$(B)/stress/fill: tests/stress/fill.c
$(stresses): tests/stress/stress.h tests/stress/watch.h tests/stress/traffic.h $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(filter-out -MMD -MP,$(test_cflags)) $(werror) -o $@ $(filter %.c,$^) \
		$(if $(filter %/driver,$@),-lmnl) $(LDFLAGS)

# Without what exports libc's names, which the fuzzer itself uses; a harness that defines a function
# of an object gets its own.
$(B)/fuzz/parts.a: $(core) $(filter-out $(B)/obj/shim/call_%.o,$(shim))
	@mkdir -p $(@D)
	@rm -f $@
	ar rcs $@ $^

$(B)/fuzz/%: tests/fuzz/%.c $(B)/fuzz/parts.a $(B)/flags
	@mkdir -p $(@D)
	$(CC) $(test_cflags) -Ishim $(werror) -fsanitize=fuzzer $(wrap) -o $@ $< $(B)/fuzz/parts.a \
		$(LDFLAGS)

# They have a clock of their own, and memory whose ends are seen.
$(B)/fuzz/shim: wrap = -Wl,--wrap=pf_now_ms
$(B)/fuzz/segment: wrap = -Wl,--wrap=pf_now_ms,--wrap=pf_segment_scratch,--wrap=pf_segment_scratch_free

# Changes when the compiler or its flags do, and with it every object. -Werror does not count.
$(B)/flags: always
	@mkdir -p $(@D)
	@echo '$(CC) $(cflags) $(LDFLAGS)' | cmp -s - $@ || echo '$(CC) $(cflags) $(LDFLAGS)' >$@

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d $(B)/unit/*.d $(B)/probe/*.d $(B)/preload/*.d $(B)/fuzz/*.d $(B)/bench/*.d)

.DELETE_ON_ERROR:
.PHONY: all demo check check-unit check-bats check-real asan ubsan tsan valgrind cov fuzz lint fmt bench budget \
	stress install uninstall deb clean help units probes preloads fuzzers benches programs always
