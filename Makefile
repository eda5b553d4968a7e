# Everything works on a fresh clone: the targets that need the environment make it first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# torch first and by its exact pin: which build of it arrives (CPU or CUDA) is the package index's choice.
TORCH := $(shell grep '^torch==' constraints.txt)
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt

export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check format up bot bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

install: $(INSTALLED)  ## create .venv from the pinned constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is too old: Python 3.11 or newer is needed"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), this takes a few minutes the first time"
	@$(PIP) $(TORCH)
	@$(PIP) --editable ".[dev]"
	@touch $@

demo: install  ## start the service, make a picture, vary its details, shut down
	@$(BIN)/cascade demo

test: install  ## run all tests, in two processes
	@$(BIN)/pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

check: install  ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

up: install  ## serve until Ctrl-C
	@$(BIN)/cascade up

bot: install  ## serve Discord until Ctrl-C; needs DISCORD_TOKEN
	@$(BIN)/cascade bot run

bench: install  ## run the benchmarks, write bench/results/
	@$(BIN)/python -m bench

clean:  ## remove the environment, caches and output
	rm -rf $(VENV) out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
