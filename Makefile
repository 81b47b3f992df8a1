# Everything a newcomer types: `make run` and `make test`. Both install what they need.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command 'make lock'

.DEFAULT_GOAL := help
.PHONY: help install run test check bench lock format

help:  ## Show these commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: .venv/installed  ## Make .venv from the hashed lock file

.venv/installed: requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found on PATH." >&2; exit 1; }
	@echo "Installing into .venv with $(PYTHON) (about a minute on a first run) ..."
	@$(PYTHON) -m venv --clear .venv || { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

run: install  ## Start the whole service with demo data on this machine
	@exec $(BIN)/python -m dev.run

test: install  ## Run every test, on embedded servers, in parallel
	$(BIN)/python -m pytest

check: install  ## Lint, types, import rules, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

bench: install  ## Measure, as ratios side by side
	$(BIN)/python -m benchmarks

lock: .venv/installed  ## Compile requirements*.txt anew from pyproject.toml
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt

format: install  ## Format and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
