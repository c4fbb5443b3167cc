# Every command sets up what it needs, in .venv, on a machine with Python >= 3.11 and a package index.

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help setup demo test laws lint bench bench-zoo clean

help:
	@echo "make demo    train a model of English pronunciation (about ten minutes) and write its report"
	@echo "make test    run the tests"
	@echo "make laws    hold every cell to every law, compiled for both float types (some minutes)"
	@echo "make lint    check format, style and types"
	@echo "make bench   measure speed against torch.nn and others (some minutes)"
	@echo "make bench-zoo  measure every cell against its own loop, and write docs/zoo.md"
	@echo "make setup   only set up .venv, for development"
	@echo "make clean   remove .venv and what tools left behind; runs/ stays"

setup: .venv/.dev

demo: .venv/.demo
	$(BIN)/python examples/pronunciation.py

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

laws: .venv/.dev
	UNROLLED_ALL_LAWS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup tests/test_zoo.py tests/test_wrappers.py

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: .venv/.dev
	$(BIN)/python benchmarks/layers.py --json benchmarks/results/layers.json

bench-zoo: .venv/.dev
	$(BIN)/python benchmarks/zoo.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "unrolled needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.demo: $(BIN)/python pyproject.toml constraints.txt
	@echo "setting up .venv (torch is large: this takes a minute or two)"
	$(INSTALL) --editable '.[demo]'
	@touch $@

.venv/.dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "setting up .venv (torch is large: this takes a minute or two)"
	$(INSTALL) --editable '.[dev]'
	@touch $@ .venv/.demo
