# make demo   animate the bundled portrait with the bundled driver; ends with the path of a video
# make test   lint, then the whole test suite, several tests at a time (TESTS="-m 'not slow'" for a part of it)
# make lint   ruff (rules and format), mypy, and the floors of docs/architecture.md (import-linter)
# make parity our arithmetic against golden arrays of the published X-Portrait code
# make lock   constraints.txt anew: keeps its versions and adds what pyproject.toml asks for (needs uv)
# make docs   the site of docs/ into site/, strictly; open site/index.html
# Everything lives in .venv; a fresh machine needs Python 3.10 or newer, pip and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TESTS ?=
TORCH := $(shell sed -n 's/^\(torch==[^ ;]*\).*/\1/p' constraints.txt)

.PHONY: demo test lint types parity docs lock install clean
.DEFAULT_GOAL := test

demo: $(VENV)/.installed-alone
	@$(BIN)/mien demo

test: lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile $(TESTS)

lint: types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed
	$(BIN)/python -m mypy

parity: $(VENV)/.installed
	$(BIN)/python tests/parity

lock:
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.10 --no-annotate \
	    --custom-compile-command "make lock" --output-file constraints.txt $(LOCK)

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo site/index.html

install: $(VENV)/.installed

# torch first and alone: the long download is not repeated when something else changes.
$(VENV)/.$(TORCH):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "mien needs Python 3.10 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt $(TORCH)
	@touch $@

# what a first video needs, and no more
$(VENV)/.installed-alone: $(VENV)/.$(TORCH) pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed: $(VENV)/.installed-alone
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install --quiet -c constraints.txt -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) demo-output site
