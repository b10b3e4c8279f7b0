# Each target makes .venv when it is missing. Nothing but Python 3.11 or newer, pip and make is needed.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Tests that wait for a server share two cores well.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test soak check format lint types bench docs clean

help:  ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[vertex]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[docs]'
	@touch $@

demo: $(VENV)/.run  ## The whole road, offline and simulated, in about a minute
	@$(BIN)/python -m gemini_tuning demo

test: $(VENV)/.dev  ## All tests (under ten minutes on two cores)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m 'not soak'

soak: $(VENV)/.dev  ## The long tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m soak

check: lint types test  ## Format check, lint, types, tests

format: $(VENV)/.dev  ## Rewrite the code in the house format
	@$(BIN)/python -m ruff format . && $(BIN)/python -m ruff check --fix .

lint: $(VENV)/.dev  ## Format and lint, without changing anything
	@$(BIN)/python -m ruff format --check . && $(BIN)/python -m ruff check .

types: $(VENV)/.dev  ## mypy --strict
	@$(BIN)/python -m mypy

bench: $(VENV)/.dev  ## Each benchmark against its peer, in one run
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

docs: $(VENV)/.docs  ## Build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:  ## Remove what the targets made (never a ledger with real jobs: only the demo's)
	rm -rf $(VENV) site build dist .gemini_tuning/demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
