# Everything happens in .venv, which each target makes when it needs it. PYTHON picks the interpreter, ARGS goes to
# the program that a target runs: make test ARGS="-k schedule". Most tests wait for something: JOBS run at a time.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
ARGS ?=
JOBS ?= 3
FIGURES := .reconciler/figures
BENCHES ?= floors throughput instant lag sync startup schedule simulate

.DEFAULT_GOAL := help
.PHONY: help up test test-faults lint fmt bench bench-peers bench-page soak fuzz build clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.up ## Run the service on specs/, with its own PostgreSQL and Redis; Ctrl-C stops all of it
	@exec $(RUN) -m reconciler serve --watch --allow-rewind $(ARGS)

test: $(VENV)/.test ## Run the tests, without those that take minutes
	@exec $(RUN) -m pytest -m "not faults" -n $(JOBS) --dist worksteal --timeout 150 $(ARGS)

test-faults: $(VENV)/.test ## Run the tests that kill real processes
	@exec $(RUN) -m pytest -m faults -n $(JOBS) --dist worksteal --timeout $$(( $${RECONCILER_TEST_FAULTS_SECONDS%%.*}+240 )) $(ARGS)

soak: $(VENV)/.test ## Run the service at load for ten minutes, after which nothing may have grown
	@mkdir -p $(FIGURES) && rm -f $(FIGURES)/soak.jsonl
	@RECONCILER_BENCH_OUT=$(FIGURES)/soak.jsonl $(RUN) benchmarks/soak.py --samples $(FIGURES)/soak-samples.json $(ARGS)

fuzz: $(VENV)/.fuzz ## Fuzz what reads other people's bytes, for a minute
	@PYTHONPATH=tests $(RUN) -m fuzzed $(ARGS)

lint: $(VENV)/.dev ## Check style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

fmt: $(VENV)/.dev ## Format, and mend what can be mended by itself
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.test ## Measure what is promised about speed: some ten minutes; ARGS=--full for the large sizes too
	@mkdir -p $(FIGURES) && rm -f $(FIGURES)/bench.jsonl
	@status=0; for name in machine $(BENCHES); do RECONCILER_BENCH_OUT=$(FIGURES)/bench.jsonl \
		$(RUN) benchmarks/$$name.py $(ARGS) || status=1; done; exit $$status

bench-peers: $(VENV)/.test ## Measure others at the same work; they are installed apart, under .reconciler/
	@mkdir -p $(FIGURES) && rm -f $(FIGURES)/peers.jsonl
	@RECONCILER_BENCH_OUT=$(FIGURES)/peers.jsonl $(RUN) benchmarks/peers/run.py $(ARGS)

bench-page: $(VENV)/.test ## Put what both measured into docs/performance.md and its pictures
	@$(RUN) benchmarks/pictures.py $(wildcard $(FIGURES)/*.jsonl)

build: $(VENV)/.dev ## Build the wheel and the source archive into dist/
	rm -rf dist
	$(RUN) -m build

clean: ## Remove .venv, caches and builds; the data in .reconciler/ stay
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp newer than pyproject.toml means that pip has nothing to do, which is what makes the second start quick.
INSTALL = @echo "installing reconciler$(1) into $(VENV)" && $(RUN) -m pip install --quiet --disable-pip-version-check \
	-e '.$(1)' && touch $@

$(VENV)/.up: pyproject.toml $(VENV)/.made
	$(call INSTALL,[embedded])

$(VENV)/.test: pyproject.toml $(VENV)/.made
	$(call INSTALL,[embedded$(comma)test])

$(VENV)/.fuzz: pyproject.toml $(VENV)/.made
	$(call INSTALL,[test$(comma)fuzz])

$(VENV)/.dev: pyproject.toml $(VENV)/.made
	$(call INSTALL,[dev])

comma := ,

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "$(PYTHON): Python 3.11 or newer is needed, this is $$($(PYTHON) --version 2>&1 | head -n 1):" \
			"make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@
