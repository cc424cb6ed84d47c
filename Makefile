# Everything happens in .venv, which each target makes when it needs it. PYTHON picks the interpreter, ARGS goes to
# the program that a target runs: make test ARGS="-k schedule". Most tests wait for something: JOBS run at a time.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
ARGS ?=
JOBS ?= 3

.DEFAULT_GOAL := help
.PHONY: help up test test-faults lint fmt bench build clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.up ## Run the service on specs/, with its own PostgreSQL and Redis; Ctrl-C stops all of it
	@exec $(RUN) -m reconciler serve --watch --allow-rewind $(ARGS)

test: $(VENV)/.test ## Run the tests, without those that take minutes
	@exec $(RUN) -m pytest -m "not faults" -n $(JOBS) --dist worksteal --timeout 150 $(ARGS)

test-faults: $(VENV)/.test ## Run the tests that kill real processes
	@exec $(RUN) -m pytest -m faults $(ARGS)

lint: $(VENV)/.dev ## Check style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

fmt: $(VENV)/.dev ## Format, and mend what can be mended by itself
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(VENV)/.test ## Measure what is promised about speed; a few minutes, a JSON line a case
	@$(RUN) benchmarks/schedule.py
	@$(RUN) benchmarks/sync.py $(ARGS)
	@$(RUN) benchmarks/simulate.py

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
