# tandem - build, test, measure. `make help` lists the targets.
#
# Objects go to build/<flavour>/ (release, clang, address-undefined …), so that flavours
# never mix; the release binaries are build/tandem and build/tandem-worker.

ifeq ($(origin CC),default) # make's own default is cc, which ?= would keep
CC      := gcc
endif
CFLAGS  ?= $(if $(SAN)$(FUZZ),-O1,-O2) -g
PREFIX  ?= /usr/local
SHARED  ?= ../shared

comma   := ,
FLAVOUR := $(if $(COVERAGE),coverage,$(if $(FUZZ),fuzz,$(or $(subst $(comma),-,$(SAN)),release)))$(if $(findstring clang,$(CC)),-clang)
B       := build/$(FLAVOUR)

BLAS_DIR  := $(wildcard /usr/lib/*/openblas-pthread)
BLAS_INC  := $(wildcard /usr/include/*/openblas-pthread)
WARNINGS  := -Wall -Wextra -Wshadow -Wvla -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	-Wundef -Wformat=2 $(if $(WERROR),-Werror)
SANFLAGS  := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=undefined) \
	$(if $(FUZZ),-fsanitize=fuzzer-no-link$(comma)address$(comma)undefined -fno-omit-frame-pointer)
FLAGS     := -std=c11 -D_GNU_SOURCE -I. -I/usr/include/json-c $(addprefix -isystem ,$(BLAS_INC)) \
	-MMD -MP -pthread -fno-strict-aliasing $(WARNINGS) $(SANFLAGS)

sources = $(sort $(wildcard $(addsuffix /*.c,$1)))
objs    = $(patsubst %.c,$B/%.o,$(call sources,$1))
lib     = $(filter-out %/main.o,$(call objs,$1))

PROTOCOL   := $(call lib,protocol)
KERNELS    := $(call lib,kernels)
WORKER     := $(call lib,worker worker/model worker/text worker/engine worker/template)
CONTROLLER := $(call lib,controller)

LIBS_PROTOCOL   := -ljson-c -lm
LIBS_KERNELS    := $(addprefix -L,$(BLAS_DIR)) -lopenblas -lm
LIBS_WORKER     := $(LIBS_KERNELS) -lpcre2-8 -lutf8proc -lxxhash $(LIBS_PROTOCOL)
LIBS_CONTROLLER := -levent -lxxhash $(LIBS_PROTOCOL)

.PHONY: all demo test check check-masks check-neon e2e determinism soak coverage bench bench-kernels bench-attention bench-compare bench-limits bench-rpc bench-scenarios bench-speculation bench-engine bench-steady docs lint format fuzz install clean help \
	setup setup-ci setup-clients
.DEFAULT_GOAL := all
.SECONDARY:

# The conformance kit is one file for whoever has Python.
CONFORM := $(if $(shell command -v python3),build/release/bin/tandem-conform)

all: build/tandem build/tandem-worker $(CONFORM)

# -- set-up: Debian packages, only those that are missing ---------------------------------

PACKAGES_BUILD := gcc libc6-dev libjson-c-dev libevent-dev libopenblas-pthread-dev \
	libpcre2-dev libutf8proc-dev uthash-dev libxxhash-dev
PACKAGES_TEST  := libcriterion-dev
PACKAGES_CLIENTS := python3-pylsp-jsonrpc neovim
PACKAGES_CI    := clang clang-format clang-tidy libclang-rt-14-dev
SUDO           := $(if $(filter 0,$(shell id -u)),,sudo)

# $(call install,packages,commands:packages): a command that exists needs no package.
define install
@missing=""; \
for p in $1; do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'install ok installed' \
	|| missing="$$missing $$p"; done; \
for c in $2; do command -v $${c%%:*} >/dev/null || missing="$$missing $${c##*:}"; done; \
if [ -n "$$missing" ]; then echo "installing:$$missing" >&2; \
	$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends $$missing >&2; fi
endef

setup: ## install what building and testing need (Debian packages)
	$(call install,$(PACKAGES_BUILD) $(PACKAGES_TEST),python3:python3 node:nodejs)
setup-ci: ## … and what lint, clang and fuzzing need
	$(call install,$(PACKAGES_BUILD) $(PACKAGES_TEST) $(PACKAGES_CI),python3:python3 node:nodejs)

# Other people's clients, which tests/e2e/test_clients.py drives. Without them it skips those tests
# and says so; so a machine that cannot install them still passes the rest.
CLIENTS := build/clients/node_modules/.package-lock.json
setup-clients: ## … and the JSON-RPC and MCP clients that the tests drive
	-$(call install,$(PACKAGES_CLIENTS),node:nodejs npm:npm)
	-@$(MAKE) -s --no-print-directory $(CLIENTS)
$(CLIENTS): tests/clients/package.json tests/clients/package-lock.json
	@mkdir -p build/clients && cp $^ build/clients
	@echo "installing: npm clients into build/clients" >&2
	@npm ci --prefix build/clients --prefer-offline --fetch-retries=1 --ignore-scripts --no-audit --no-fund --loglevel=error >&2 && touch $@

# A fresh make: the paths of what was just installed are looked up when make starts.
demo: setup ## install, build, load the bundled model, watch it write
	@$(MAKE) --no-print-directory -j$$(nproc) all
	build/tandem run -m models/novel-7m -p "It was a cold evening in November when" -n 120 --seed 1

test: setup setup-clients ## install, build, and pass every test
	@$(MAKE) --no-print-directory -j$$(nproc) all check

# -- binaries ------------------------------------------------------------------------------

build/tandem: build/release/bin/tandem
	@ln -f $< $@
build/tandem-worker: build/release/bin/tandem-worker
	@ln -f $< $@

$B/bin/tandem: $(call objs,controller) $(PROTOCOL)
$B/bin/tandem: LIBS := $(LIBS_CONTROLLER)
$B/bin/tandem-worker: $(call objs,worker) $(WORKER) $(KERNELS) $(PROTOCOL)
$B/bin/tandem-worker: LIBS := $(LIBS_WORKER)

build/release/bin/tandem-conform: $(wildcard tests/conform/*.py tests/conform/*.json)
	@mkdir -p $(@D) $(if $(V),,&& echo "  ZIP $@")
	$Qpython3 -c 'import sys, zipapp; zipapp.create_archive("tests/conform", sys.argv[1], "/usr/bin/env python3", \
		filter=lambda p: p.suffix in (".py", ".json"))' $@

# test_allocations.c counts what our own objects ask for.
COUNT_ALLOCATIONS := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=reallocarray

# A suite links only the layers it may use, so a wrong dependency fails to link.
$B/bin/test_protocol: $(call objs,tests/protocol) $(PROTOCOL)
$B/bin/test_protocol: LIBS := -lcriterion $(LIBS_PROTOCOL)
$B/bin/test_kernels: $(call objs,tests/kernels) \
	$(if $(findstring address,$(SAN)),$(KERNELS:$B/kernels/x86_%=$B/checked/x86_%),$(KERNELS))
$B/bin/test_kernels: LIBS := -lcriterion $(LIBS_KERNELS)
$B/bin/test_worker: $(call objs,tests/worker) $(WORKER) $(KERNELS) $(PROTOCOL)
$B/bin/test_worker: LIBS := -lcriterion $(LIBS_WORKER) $(COUNT_ALLOCATIONS)
$B/bin/test_controller: $(call objs,tests/controller) $(CONTROLLER) $(PROTOCOL)
$B/bin/test_controller: LIBS := -lcriterion $(LIBS_CONTROLLER)
SUITES := $(addprefix $B/bin/test_,protocol kernels worker controller)
$(if $(findstring thread,$(SAN)),$(SUITES): $B/tests/tsan_arena.o)

# The only objects built for one ISA. Not CFLAGS: `make CFLAGS=-O0` must not drop it.
X86         := $(findstring x86_64,$(shell $(CC) -dumpmachine 2>/dev/null))
ARM64       := $(findstring aarch64,$(shell $(CC) -dumpmachine 2>/dev/null))
ISA_AVX2    := $(if $(X86),-mavx2 -mfma -mf16c)
ISA_AVX512  := $(if $(X86),-mavx512f -mavx512bw -mavx512vl -mavx512dq $(ISA_AVX2))
%/x86_avx2.o %/x86_avx2_packed.o: ISA := $(ISA_AVX2)
%/x86_avx512.o: ISA := $(ISA_AVX512)
%/x86_bf16.o: ISA := $(ISA_AVX512) $(if $(X86),-mavx512bf16)
%/x86_vnni.o: ISA := $(ISA_AVX512) $(if $(X86),-mavx512vnni)
%/arm_dot.o: ISA := $(if $(ARM64),-march=armv8.2-a+dotprod)
# A sanitizer makes these unrolled loops twenty times slower, and nearly all of an engine's test is
# spent in them. They touch what the plain C touches that defines them, and that stays instrumented:
# `check` runs the models through it. Under ASan the suite that is about them has them instrumented.
$B/kernels/x86_%.o: LEAF := $(if $(SAN),-fno-sanitize=all -O3,$(if $(FUZZ),-fno-sanitize=all))
# Fused multiply-adds are written where they are meant, so that a row's bits never hang on
# the compiler's choice; no -ffast-math anywhere (masks are infinities).
$B/kernels/%.o $B/checked/%.o: KFLAGS := $(if $(SAN)$(FUZZ),,-O3) -fno-math-errno
$B/%.o: FP := -ffp-contract=off

# What `make coverage` counts; worker processes run protocol/ in threads.
ifdef COVERAGE
$B/controller/%.o $B/protocol/%.o: COUNT := --coverage -fprofile-update=atomic
LDFLAGS += --coverage
endif

# One short line a step; V=1 shows the commands.
Q := $(if $(V),,@)

$B/bin/%:
	@mkdir -p $(@D) $(if $(V),,&& echo "  LD $@")
	$Q$(CC) $(SANFLAGS) $(CFLAGS) $(LDFLAGS) -pthread $(sort $^) $(LIBS) -o $@
define COMPILE
	@mkdir -p $(@D) $(if $(V),,&& echo "  CC $<")
	$Q$(CC) $(FLAGS) $(CFLAGS) $(FP) $(KFLAGS) $(ISA) $(LEAF) $(COUNT) -c $< -o $@
endef
$B/%.o: %.c
	$(COMPILE)
$B/checked/%.o: kernels/%.c
	$(COMPILE)
-include $(shell find $B -name '*.d' 2>/dev/null)

# -- tests ---------------------------------------------------------------------------------

export OPENBLAS_NUM_THREADS := 1
# Sanitizers report to files: a sandboxed test or a worker process that leaks and exits well
# would otherwise be missed. What counts is reports.sh's word on them: a leak changes no exit
# code, since Criterion's runner has one of its own. TSan would sleep a second at every exit.
REPORT  := $(CURDIR)/$B/report
export ASAN_OPTIONS  := detect_leaks=1:exitcode=0:log_path=$(REPORT)
export UBSAN_OPTIONS := print_stacktrace=1:halt_on_error=1:log_path=$(REPORT)
export TSAN_OPTIONS  := halt_on_error=1:atexit_sleep_ms=0:second_deadlock_stack=1:suppressions=$(CURDIR)/tests/tsan.supp:log_path=$(REPORT)
# TSan knows only some address layouts; without randomization there is one.
FIXED   := $(if $(findstring thread,$(SAN)),$(shell setarch -R true 2>/dev/null && echo setarch -R))

# Packed weights of the tests' models and the workers they kill stay out of the user's folders.
check check-masks e2e soak coverage-run: export XDG_CACHE_HOME := $(CURDIR)/$B/cache
check check-masks e2e soak coverage-run: export XDG_STATE_HOME := $(CURDIR)/$B/state
# How long the end-to-end tests wait before they say that something hangs.
check e2e: export PATIENCE := $(if $(SAN),300,60)
# Every architecture on the kernels that this processor would not choose too. Plain C is beyond
# TSan's patience; `make check-masks` has the whole suite.
MASKS   := $(if $(findstring thread,$(SAN)),,scalar $(if $(X86),avx2))
check: $(SUITES) $B/bin/tandem $B/bin/tandem-worker ## every test; SAN=address,undefined or SAN=thread
	@rm -f $(REPORT).*; rc=0; \
	for s in $(SUITES); do echo "== $$s"; $(FIXED) $$s -j2 $(TESTFLAGS) || rc=1; done; \
	for m in $(MASKS); do echo "== $B/bin/test_worker: golden_arch, KERNELS_MASK=$$m"; \
		KERNELS_MASK=$$m $B/bin/test_worker -j2 --filter 'golden_arch/*' || rc=1; done; \
	$(MAKE) --no-print-directory e2e || rc=1; \
	tests/reports.sh $(REPORT).* || rc=1; exit $$rc

check-masks: $B/bin/test_worker ## the whole worker suite on plain C and on AVX2: half an hour
	@rc=0; for m in scalar $(if $(X86),avx2); do echo "== KERNELS_MASK=$$m"; \
		KERNELS_MASK=$$m $< -j2 $(TESTFLAGS) || rc=1; done; exit $$rc

# Two files at a time: they mostly wait. What a file has to say comes in one piece.
E2E ?= $(notdir $(wildcard tests/e2e/test_*.py))
e2e: $B/bin/tandem $B/bin/tandem-worker ## only the tests that drive the binaries: E2E="test_wire.py"
	@printf '%s\n' $(E2E) | TANDEM=$B/bin/tandem TANDEM_WORKER=$B/bin/tandem-worker xargs -P2 -I{} sh -c ' \
		said=$$($(FIXED) python3 -m unittest discover -s tests/e2e -p {} 2>&1); rc=$$?; \
		printf "== %s\n%s\n" {} "$$said"; exit $$rc'

# The matrix itself is in `check`: tests/worker/test_determinism.c and tests/e2e/test_workers.py.
PROMPTS ?= 20
MODELS  := models/novel-7m $(filter-out %/novel-7m,$(wildcard $(addprefix $(SHARED)/models/,novel-* gguf/*.gguf)))
DRAFTS  := $(addprefix --draft-model=,$(wildcard $(SHARED)/models/novel-1m))
determinism: all ## every model here answers PROMPTS (20) prompts alike in every circumstance
	@for m in $(MODELS); do echo "== $$m"; \
		build/tandem run -m $$m $(DRAFTS) --selftest-determinism=$(PROMPTS) || exit 1; done

coverage: ## lines and branches of controller/ and protocol/ that tests reach; fails below 95 % of lines
	$(call install,,gcovr:gcovr)
	@$(MAKE) --no-print-directory COVERAGE=1 coverage-run
coverage-run: $B/bin/test_protocol $B/bin/test_controller $B/bin/tandem $B/bin/tandem-worker
	@find $B -name '*.gcda' -delete; rc=0; for s in protocol controller; do $B/bin/test_$$s -j2 || rc=1; done; \
	$(MAKE) --no-print-directory COVERAGE=1 e2e || rc=1; \
	gcovr --root . --object-directory $B --filter controller/ --filter protocol/ --txt --print-summary \
		--fail-under-line 95 $B || rc=1; exit $$rc

SOAK_SECONDS ?= 600
soak: $B/bin/tandem $B/bin/tandem-worker ## 4 workers, 64 clients, a fault a second, for SOAK_SECONDS (600)
	@rm -f $(REPORT).*; rc=0; TANDEM=$B/bin/tandem TANDEM_WORKER=$B/bin/tandem-worker \
		$(FIXED) python3 tests/soak/soak.py --seconds=$(SOAK_SECONDS) $(SOAKFLAGS) || rc=1; \
	tests/reports.sh $(REPORT).* || rc=1; exit $$rc

PACKAGES_NEON := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
neon = $(filter-out %/gemm.c %/test_gemm.c %/arm_dot.c,$(call sources,kernels tests/kernels)) tests/emulated/run.c
NEONFLAGS = $(filter-out -MMD -MP -fsanitize%,$(FLAGS)) -Itests/emulated -O2 -ffp-contract=off -fno-math-errno
check-neon: ## the kernel tests for AArch64 under an emulator (installs both)
	$(call install,$(PACKAGES_NEON))
	@mkdir -p $B/bin
	aarch64-linux-gnu-gcc $(NEONFLAGS) -march=armv8.2-a+dotprod -c kernels/arm_dot.c -o $B/bin/arm_dot_neon.o
	aarch64-linux-gnu-gcc $(NEONFLAGS) -static $(neon) $B/bin/arm_dot_neon.o -lm -o $B/bin/test_kernels_neon
	qemu-aarch64 $B/bin/test_kernels_neon

# Three at a time: nine targets have their minute each in three. A finding is printed where it was
# found. FUZZ_SEED=0 throws new dice at every run; CI's are fixed, so that its word is about the change.
FUZZ_SECONDS ?= 60
FUZZ_SEED    ?= 0
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz: ## each fuzz target for FUZZ_SECONDS (60), corpora in tests/fuzz/corpus
	@$(MAKE) --no-print-directory CC=clang FUZZ=1 fuzz-run
fuzz-run: export ASAN_OPTIONS := detect_leaks=1
fuzz-run: export UBSAN_OPTIONS := print_stacktrace=1:halt_on_error=1
fuzz-run: $(addprefix $B/bin/,$(FUZZERS))
	@printf '%s\n' $(FUZZERS) | xargs -P3 -I{} sh -c 'mkdir -p $B/corpus/{} tests/fuzz/corpus/{}; \
		echo "== {} for $(FUZZ_SECONDS) s"; $B/bin/{} -max_total_time=$(FUZZ_SECONDS) -seed=$(FUZZ_SEED) -timeout=10 \
		-rss_limit_mb=2048 -verbosity=0 -artifact_prefix=$B/{}- $B/corpus/{} tests/fuzz/corpus/{} || \
		{ echo "fuzz: {} found something: $B/{}-*"; exit 1; }'
# Named one by one: a pattern would lose to `$B/bin/%`, whose prerequisites need no making.
$(addprefix $B/bin/,$(FUZZERS)): $B/bin/%: $B/tests/fuzz/%.o $(WORKER) $(KERNELS) $(PROTOCOL)
	@mkdir -p $(@D) $(if $(V),,&& echo "  LD $@")
	$Q$(CC) -fsanitize=fuzzer,address,undefined $(CFLAGS) -pthread $(sort $^) $(LIBS_WORKER) -o $@

# -- measuring, checking, installing -------------------------------------------------------

$B/bin/bench_kernels: $B/bench/bench_kernels.o $(KERNELS)
$B/bin/bench_kernels: LIBS := $(LIBS_KERNELS)
$B/bin/bench_gguf: $B/bench/bench_gguf.o $(KERNELS) $(PROTOCOL)
$B/bin/bench_gguf: LIBS := $(LIBS_KERNELS) $(LIBS_PROTOCOL)
$B/bin/bench_tokenizer: $B/bench/bench_tokenizer.o $(WORKER) $(KERNELS) $(PROTOCOL)
$B/bin/bench_tokenizer: LIBS := $(LIBS_WORKER)
$B/bin/bench_limits: $B/bench/bench_limits.o $(KERNELS)
$B/bin/bench_limits: LIBS := $(LIBS_KERNELS)
$B/bench/bench_limits.o: KFLAGS := -O3 # its chains must stay in registers
$B/bin/bench_attention: $B/bench/bench_attention.o $(KERNELS)
$B/bin/bench_attention: LIBS := $(LIBS_KERNELS)
$B/bin/bench_rpc: $B/bench/bench_rpc.o $(PROTOCOL)
$B/bin/bench_rpc: LIBS := $(LIBS_PROTOCOL)
bench-kernels: $B/bin/bench_kernels ## every kernel on every instruction set, against plain C
	$<
bench-attention: $B/bin/bench_attention ## eleven shapes against the plain-matrix form through OpenBLAS
	$<

bench: all ## print the figures that bench/SPEED.md logs
	python3 bench/bench.py

bench-rpc: all $B/bin/bench_rpc ## the wire: lone calls, a full pipe, a thousand streams, one stalled; RUNS=5, PART=lone and so on
	@$B/bin/bench_rpc build/tandem build/tandem-worker models/novel-7m $(or $(RUNS),5) $(PART)
bench-scenarios: all ## the reference system's own, each with its feature off and on
	@python3 bench/scenarios.py
bench-speculation: all $B/bin/bench_gguf ## what drafts are worth, against going without: CASES="novel-30m 1B"
	@python3 bench/speculation.py
bench-engine: all $B/bin/bench_gguf ## what requests beside each other cost: PARTS="streams long prefix tokenize"
	@python3 bench/engine.py
bench-steady: all ## whether a worker grows: REQUESTS=1000000 short ones of every kind
	@python3 bench/steady.py
bench-limits: all $B/bin/bench_gguf $B/bin/bench_limits ## bandwidth and peaks, and which part kernels and steps reach: PARTS="steps depth"
	@python3 bench/limits.py

# llama.cpp, as npm builds it, lives in build/peer.
PEER := build/peer/node_modules/node-llama-cpp/package.json
$(PEER):
	$(call install,,node:nodejs npm:npm)
	@mkdir -p build/peer && echo '{ "private": true }' >build/peer/package.json
	npm install --prefix build/peer --ignore-scripts --no-audit --no-fund node-llama-cpp@3.22.1
bench-compare: all $B/bin/bench_gguf $(PEER) ## against llama.cpp: TYPES=Q4_0 TESTS="pp512 tg128" THREADS=1
	@python3 bench/compare.py

docs: $B/bin/test_protocol ## write the method part of docs/protocol.md from the method table
	WRITE_PAGE=1 $< --filter 'page/its_methods*'

lint: ## clang-format, clang-tidy, banned calls, header self-containment
	CC="$(CC)" FLAGS="$(filter-out -MMD -MP,$(FLAGS))" tests/lint.sh

format: ## let clang-format decide
	clang-format -i $$(git ls-files '*.c' '*.h')

install: all ## PREFIX=/usr/local
	install -D -m755 build/tandem $(DESTDIR)$(PREFIX)/bin/tandem
	install -D -m755 build/tandem-worker $(DESTDIR)$(PREFIX)/bin/tandem-worker
	$(if $(CONFORM),install -D -m755 $(CONFORM) $(DESTDIR)$(PREFIX)/bin/tandem-conform)

clean: ## remove build/
	rm -rf build

help: ## this list
	@awk -F':.*## ' '/^[a-z][a-z0-9-]*:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
