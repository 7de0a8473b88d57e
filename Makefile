# Two commands first: `make demo` shows the whole job, `make test` proves it.

PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo test check prove bench serve fmt lint types contracts migration reference postgres clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/installed  ## stores, walks, a campaign, its report; then a page at http://127.0.0.1:8000
	$(BIN)/nearcast demo

test: .venv/dev postgres lint types contracts  ## everything that CI runs
	$(PYTEST) -m "not prove"

check: .venv/dev lint types contracts  ## the quick part, at most 2 min
	$(PYTEST) -q --hypothesis-profile=quick -m "not slow and not prove and not real"

prove: .venv/dev postgres  ## the proofs with their large counts (≤ 60 min); writes docs/proofs.md
	$(BIN)/python scripts/prove.py

bench: .venv/dev postgres  ## the benchmarks; writes docs/benchmarks.md
	$(BIN)/python -m bench publish

serve: .venv/installed  ## migrate and serve at http://127.0.0.1:8000
	$(BIN)/nearcast migrate
	$(BIN)/nearcast serve

fmt: .venv/dev  ## format and mend what can be mended
	$(BIN)/ruff check --fix --quiet || true
	$(BIN)/ruff format

migration: .venv/dev  ## write the next migration from tables.py: make migration TITLE="fences carry a colour"
	$(BIN)/python scripts/new_migration.py $(if $(TITLE),"$(TITLE)",--first)

reference: .venv/dev  ## write docs/reference.md from the code
	$(BIN)/python scripts/write_reference.py

lint: .venv/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: .venv/dev
	$(BIN)/mypy

contracts: .venv/dev
	$(BIN)/lint-imports --no-logo

postgres:
	scripts/install-postgres.sh

clean:  ## remove the environment and what tools left behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Nearcast needs Python 3.11 or newer; say which: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@ .venv/installed
