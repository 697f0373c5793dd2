# The commands of the README and the developer's verbs.  Everything goes to .venv, target, dist and wheelhouse.
# Nothing is built or installed again while its sources are unchanged (the stamps in .venv).

PYTHON ?= python3
DIR    ?= .
PORT   ?= 8443
HOST   ?= 127.0.0.1
# More options for `ktls serve` (make serve SERVE="--tls 1.3"), pytest and cargo test.
SERVE  ?=
PYTEST ?=
# Options of the comparison with CPython's suites (make test-cpython CPYTHON="--times 1").
CPYTHON ?=
# More options for the benches (make bench BENCH="--only echo --runs 9"), what bench-publish takes,
# and why the baseline of instruction counts is renewed.
BENCH  ?=
FORM   ?= short
REASON ?=
# More options for packaging/wheels.py (make wheels WHEELS="--architecture x86_64 --glibc 2.28").
WHEELS ?=
# How long the fuzz targets run, all of them together, and the model; one target; address or none.
SECONDS   ?= 60
SANITIZER ?= address
FUZZ      ?=

VENV  := .venv
BIN   := $(VENV)/bin
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/ktls-tools
FUZZER := $(or $(shell command -v cargo-fuzz 2>/dev/null),$(CACHE)/bin/cargo-fuzz)
DENY  := $(or $(shell command -v cargo-deny 2>/dev/null),$(CACHE)/bin/cargo-deny)
TARGET := $(or $(CARGO_TARGET_DIR),target)

RUST_SOURCES   := $(shell find rust -type f -not -path '*/tests/*' -not -path '*/benches/*' 2>/dev/null) Cargo.toml Cargo.lock
PYTHON_SOURCES := $(shell find python -type f \( -name '*.py' -o -name '*.pyi' -o -name 'py.typed' \))
SOURCES        := $(RUST_SOURCES) $(PYTHON_SOURCES) pyproject.toml README.md LICENSE-MIT LICENSE-APACHE

CARGO_FLAGS := --locked

.DELETE_ON_ERROR:
.PHONY: help serve build wheels test pytest test-cpython cargo-test lint lint-rust lint-python deny clean tools \
        fuzz fuzz-checks model bench bench-full bench-fairness bench-publish bench-pieces instructions instructions-baseline examples docs-sysctl

help:
	@echo "make serve   serve DIR ($(DIR)) on https://$(HOST):$(PORT)/ with a throw-away certificate"
	@echo "make build   build the release wheel into dist and install it into .venv"
	@echo "make wheels  build wheels for other machines and the sdist into wheelhouse, check and try them"
	@echo "make test    install what the tests need and run all of them (pytest and cargo test)"
	@echo "make test-cpython   run CPython's own suites with ktls in the middle, three times on each CPython found"
	@echo "make lint    clippy, rustfmt, ruff, mypy, stubtest, cargo-deny"
	@echo "make fuzz    fuzz everything that reads bytes from outside for SECONDS ($(SECONDS)); FUZZ=name: one target"
	@echo "make model   any calls in any order against a model, for SECONDS ($(SECONDS))"
	@echo "make bench   measure whole connections side by side, about four minutes; bench-full: all of it"
	@echo "make bench-fairness   a thousand idle connections beside eight busy ones: shares, latency, memory"
	@echo "make instructions   compare the instruction counts of sending and receiving with the baseline"
	@echo "make docs-sysctl   write docs/sysctl.md from the tree"
	@echo "make clean   remove .venv, dist, wheelhouse, target and the caches"

serve: $(VENV)/installed
	@exec $(BIN)/ktls serve "$(DIR)" --host "$(HOST)" --port "$(PORT)" $(SERVE)

build: $(VENV)/installed

# docs/packaging.md says what is built, and what is looked at.
wheels: tools $(VENV)/maturin $(VENV)/packaged
	$(BIN)/python packaging/wheels.py --out wheelhouse $(WHEELS)

test: cargo-test pytest

# Files of tests are shared out among as many processes as there are processors.
pytest: $(VENV)/installed $(VENV)/tested $(VENV)/frameworks $(VENV)/linted
	$(BIN)/pytest --numprocesses auto --dist loadfile $(PYTEST)

test-cpython: $(VENV)/installed
	$(BIN)/python tests/cpython/compare.py $(CPYTHON)

cargo-test: tools
	cargo test $(CARGO_FLAGS) --quiet

lint: lint-rust lint-python deny

lint-rust: tools $(VENV)/pip
	cargo fmt --all --check
	PYO3_PYTHON="$(CURDIR)/$(BIN)/python" cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings

lint-python: $(VENV)/installed $(VENV)/tested $(VENV)/linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --concise ktls._core

fuzz: $(VENV)/installed $(VENV)/fuzzed $(FUZZER)
	$(BIN)/python fuzz/run.py --seconds $(SECONDS) $(addprefix --target ,$(FUZZ)) --sanitizer $(SANITIZER) --cargo-fuzz "$(FUZZER)"

# The same checks over their seeds, on the compiler as it is.
fuzz-checks: tools
	cargo test $(CARGO_FLAGS) --quiet --manifest-path fuzz/Cargo.toml

model: $(VENV)/installed $(VENV)/tested
	KTLS_MODEL_SECONDS=$(SECONDS) $(BIN)/pytest tests/model $(PYTEST)

# The advisories are left to a machine that may fetch their database.
deny: tools $(DENY)
	$(DENY) --locked check bans licenses sources

# docs/performance.md says what each of these does.
HARNESS = cd benches && "$(CURDIR)/$(BIN)/python" -m harness --crate "$(abspath $(TARGET))/release/examples/seal_rate"
GATE    = $(BIN)/python benches/instruction_gate.py
COUNTED = $(TARGET)/release/examples/instructions

bench: $(VENV)/installed $(VENV)/benched examples
	$(HARNESS) short $(BENCH)

bench-full: $(VENV)/installed $(VENV)/benched examples
	$(HARNESS) full $(BENCH)
	$(MAKE) bench-pieces

bench-fairness: $(VENV)/installed $(VENV)/benched
	cd benches && "$(CURDIR)/$(BIN)/python" fairness.py $(BENCH)

bench-publish: $(VENV)/installed $(VENV)/benched examples
	$(HARNESS) $(FORM) --publish $(BENCH)

bench-pieces: $(VENV)/installed $(VENV)/benched
	$(BIN)/pytest benches/pieces --benchmark-columns=min,median,mean,max,rounds \
	  --benchmark-json=benches/results/pieces.json

instructions: $(VENV)/pip examples
	$(GATE) compare $(COUNTED)

instructions-baseline: $(VENV)/pip examples
	$(GATE) renew $(COUNTED) --reason "$(REASON)"

docs-sysctl: $(VENV)/installed
	$(BIN)/python docs/sysctl_page.py

examples: tools
	cargo build $(CARGO_FLAGS) --release --quiet -p ktls-record --example seal_rate -p ktls-engine --example instructions

clean:
	rm -rf $(VENV) dist wheelhouse target fuzz/target .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find python tests -type d -name __pycache__ -prune -exec rm -rf {} +

# -- what is made --------------------------------------------------------------------------------

tools:
	@command -v cargo >/dev/null 2>&1 || { \
	  echo "make: cargo was not found; install a Rust toolchain, 1.85 or later (https://rustup.rs)" >&2; exit 1; }
	@command -v cc >/dev/null 2>&1 || { \
	  echo "make: cc was not found; install a C compiler (on Debian: apt-get install gcc libc6-dev)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make: $(PYTHON) is missing or older than 3.11; install Python 3.11 or later, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@cargo --version | $(PYTHON) -c 'import sys; version = sys.stdin.read().split()[1].split(".")[:2]; \
	  sys.exit([int(part) for part in version] < [1, 85])' || { \
	  echo "make: $$(cargo --version) is too old; install a Rust toolchain, 1.85 or later (https://rustup.rs)" >&2; exit 1; }

# pip itself first: dependency groups need 25.1.
$(VENV)/pip: | tools
	$(PYTHON) -m venv $(VENV) || { \
	  echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/maturin: $(VENV)/pip
	$(BIN)/pip install --quiet 'maturin>=1.14,<2'
	@touch $@

$(VENV)/built: $(VENV)/maturin $(SOURCES)
	@rm -rf dist
	$(BIN)/maturin build --release --locked --quiet --interpreter $(BIN)/python --out dist
	@touch $@

$(VENV)/installed: $(VENV)/built
	$(BIN)/pip install --quiet --force-reinstall --no-deps dist/*.whl
	$(BIN)/pip install --quiet "$$(echo dist/*.whl)[cli]"
	@touch $@

$(VENV)/tested: pyproject.toml $(VENV)/pip
	$(BIN)/pip install --quiet --group test
	@touch $@

$(VENV)/frameworks: pyproject.toml $(VENV)/pip
	$(BIN)/pip install --quiet --group frameworks --group clients
	@touch $@

$(VENV)/benched: pyproject.toml $(VENV)/pip
	$(BIN)/pip install --quiet --group bench
	@touch $@

$(VENV)/fuzzed: fuzz/requirements.txt $(VENV)/pip
	$(BIN)/pip install --quiet --requirement fuzz/requirements.txt
	@touch $@

$(VENV)/packaged: pyproject.toml $(VENV)/pip
	$(BIN)/pip install --quiet --group wheels
	@touch $@

$(VENV)/linted: pyproject.toml $(VENV)/pip
	$(BIN)/pip install --quiet --group lint
	@touch $@

# Pinned like the linters: a newer one may ask for a newer compiler.
$(CACHE)/bin/cargo-deny: | tools
	cargo install --locked --quiet --root $(CACHE) cargo-deny@0.20.2

$(CACHE)/bin/cargo-fuzz: | tools
	cargo install --locked --quiet --root $(CACHE) cargo-fuzz@0.13.2
