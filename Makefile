# make demo | test | check | lint | format | setup | clean
#
# Every target does its own set-up, in one virtual environment (.venv). A stamp file remembers each level of it, so
# the second run starts at once; a changed pyproject.toml or constraints.txt installs again.
#
#   PYTHON=python3.12                       another interpreter (3.11 or newer)
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu    the smaller CPU-only build of torch
#   ARGS="learner.lr=1e-4"                  more words for `alpamayo demo` or pytest

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
INPUTS := pyproject.toml setup.py constraints.txt

# One thread per process: worlds and workers are the parallelism here.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint format setup clean

help:
	@sed -n '1,10s/^# \{0,1\}//p' Makefile

demo: $(VENV)/.stamp-run
	$(BIN)/alpamayo demo $(ARGS)

test: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup $(ARGS)

check: lint
	$(BIN)/python -m pytest -q -m "not slow" $(ARGS)

lint: $(VENV)/.stamp-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.stamp-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(VENV)/.stamp-dev

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is not Python 3.11 or newer; try make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "make: this Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# torch first and alone: its index may differ from that of everything else.
$(VENV)/.stamp-torch: $(VENV)/.stamp-venv constraints.txt
	$(PIP) install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@touch $@

$(VENV)/.stamp-run: $(VENV)/.stamp-torch $(INPUTS)
	$(PIP) install --quiet -c constraints.txt -e .
	$(BIN)/python -m sim.compile
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-run
	$(PIP) install --quiet -c constraints.txt -e ".[dev]"
	@touch $@
