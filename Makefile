# One command a job; `make help` lists them. `demo` and `test` create .venv in the checkout and use it again.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Python compiles what it imports; compiling the rest as well would take a fifth of the space for nothing.
PIP := $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -c constraints.txt
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed

.PHONY: help demo test test-slow lint bench

help: ## list the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

demo: $(BASE) ## index the sample recordings and search them by text
	$(BIN)/mmret demo

test: $(DEV) ## run the tests with coverage (at least 85 % of lines)
	$(BIN)/python -m pytest -q -m "not slow" --cov --cov-report=term --cov-fail-under=85

test-slow: $(DEV) ## run every test, the slow ones too
	$(BIN)/python -m pytest -q

lint: $(DEV) ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEV) ## time mmret against its peers (ratios in one run), measure memory and scale, write docs/performance.md
	$(BIN)/python bench/run.py
	$(BIN)/python bench/run.py --only encoders --out bench/results/encoders.json
	$(BIN)/python bench/throughput.py
	$(BIN)/python bench/memory.py
	$(BIN)/python bench/scale.py
	$(BIN)/python bench/pretraining.py
	$(BIN)/python bench/page.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[dev]"
	@touch $@ $(BASE)
