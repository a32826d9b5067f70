# Thin: everything real is CMake. `make help` lists the targets.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
# Halves of processors: in these a test says what it takes (weir_tests in cmake/weir.cmake).
HALVES = $$((2 * $(JOBS)))
export WEIR_CORPUS ?= $(shell ../shared/corpus/unpack 2>/dev/null)
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1

.PHONY: help setup build dev test lint kernels demo bench accuracy evasion package fuzz fuzzers soak tsan fresh clean
help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: ## install the packages of installers/dev
	@installers/dev/install

build: setup ## release build: every program in build/bin
	@cmake --preset release -Wno-dev >/dev/null && cmake --build --preset release -j $(JOBS)

dev: setup ## sanitized build in build/dev
	@cmake --preset dev -Wno-dev >/dev/null && cmake --build --preset dev -j $(JOBS)

test: dev build ## every test (unit, scenario, kernel, lab, e2e, tidy)
	@ctest --test-dir build/dev --output-on-failure --no-tests=error -j $(HALVES)

kernels: dev ## the kernel tests on this kernel, and on Debian's 6.1 and 6.12 in an emulator
	@ctest --test-dir build/dev -L kernel --output-on-failure --no-tests=error

demo: build ## real clients try to get data out of a desk; a table of what the receiver got
	@demo/demo.sh

bench: build ## every figure of the README beside its peer's, from one run
	@bench/bench.sh

accuracy: build ## what the detectors find in the labelled corpus: found, false alarms, precision, recall
	@python3 bench/accuracy.py build/bin/weir

evasion: build ## the scoreboard of docs/limits.md: each attack, and what the receiver got of it
	@cmake --preset dev -Wno-dev >/dev/null && cmake --build --preset dev --target weir_traffic -j $(JOBS)
	@tests/evasion/evasion; board=$$?; python3 tests/evasion/others.py docs/limits.md build/dev && exit $$board

package: build ## .deb of agent and collector in build/packages
	@installers/deb/build build build/packages

lint: dev ## clang-format and clang-tidy over our C++ (FILES=…)
	@tests/tidy/lint $(FILES)

fuzzers: setup
	@cmake --preset fuzz -Wno-dev >/dev/null && cmake --build --preset fuzz --target fuzzers -j $(JOBS)

fuzz: fuzzers ## each fuzz target for 60 s (SECONDS_EACH=…)
	@tests/fuzz/run $(or $(SECONDS_EACH),60)

soak: build dev fuzzers ## the storms, kills, power cuts, replays and fuzzers of the tests again and again (SOAK_SECONDS=300 each)
	@tests/soak/run --self-test && tests/soak/run

tsan: setup ## unit tests under the thread sanitizer
	@cmake --preset tsan -Wno-dev >/dev/null && cmake --build --preset tsan --target unit_tests -j $(JOBS) && ctest --test-dir build/tsan -L unit --output-on-failure --no-tests=error -j $(HALVES)

fresh: ## tries `make demo` from a clone in a new Debian 12 (TARGET=test …)
	@installers/dev/fresh "$(DIR)" $(or $(TARGET),demo)

clean: ## remove build/
	@rm -rf build
