# Everything runs from .venv, which is made on first use from plain python3 and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNTIME := $(VENV)/.runtime
ARGS ?=
JOBS ?= 0

.PHONY: help demo serve test check bench soak docs clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' Makefile

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Auricle needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12 demo" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# OpenVINO is the faster engine on many CPUs, but not every platform has a wheel of it.
$(RUNTIME): pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV), once: about half a minute."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,openvino]' || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(STAMP): pyproject.toml | $(VENV)/bin/python
	@echo "Setting up $(VENV) with the tools for tests, once: about a minute."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(RUNTIME)

demo: $(RUNTIME)  ## Start the server with the embedded model and transcribe the examples
	$(BIN)/auricle demo $(ARGS)

serve: $(RUNTIME)  ## Start the server (ARGS="--model small --port 9000")
	$(BIN)/auricle serve $(ARGS)

test: $(STAMP)  ## Run all tests (ARGS="-k name" for some, JOBS=4 for four files at a time)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

check: $(STAMP)  ## Lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(STAMP)  ## Run the benchmarks and write benchmarks/results/
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(STAMP)  ## Put a server under mixed load and check all (ARGS="--minutes 30 --out soak.json")
	$(BIN)/python -m tests.soak $(ARGS)

docs: $(VENV)/bin/python  ## Build the docs into docs/_build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/python -m sphinx --fail-on-warning --quiet -b html docs docs/_build

clean:  ## Remove what the other targets made
	rm -rf $(VENV) docs/_build .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
