# Two commands on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart test test-gate test-slow faults check tables install clean

quickstart: $(VENV)/.installed
	$(BIN)/ksl-bench run quickstart

test: $(VENV)/.installed
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

# A sample of the slow tests, enough for a change; `test-slow` is all of them, for the night and before a release.
test-gate: $(VENV)/.installed
	$(BIN)/python -m pytest -m "slow and not nightly and not gpu"

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m "slow and not gpu"

# What was killed when, and what was lost or made twice: about a quarter of an hour.
faults: $(VENV)/.installed
	$(BIN)/python -W ignore -m tests.faults

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The tables and numbers of README.md and docs/, from docs/results/.
tables: $(VENV)/.installed
	$(BIN)/python docs/tables.py

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) dist build
