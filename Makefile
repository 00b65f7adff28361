PYTHON ?= python3
VENV   := .venv
DEVICE := .venv-demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow lint type bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

demo: $(DEVICE)/ready ## a first inspection, with the device side alone
	$(DEVICE)/bin/adcopilot-edge demo

test: $(VENV)/ready ## the tests, without the slow ones
	$(VENV)/bin/pytest

test-slow: $(VENV)/ready ## the tests that take minutes or the network
	$(VENV)/bin/pytest -m slow

lint: $(VENV)/ready ## style, formatting, import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

type: $(VENV)/ready ## types
	$(VENV)/bin/mypy

bench: $(DEVICE)/ready ## time an inspection, stage by stage
	$(DEVICE)/bin/python tests/bench_inspect.py

clean: ## remove the environments and everything that was built or cached
	rm -rf $(VENV) $(DEVICE) build dist *.egg-info .coverage .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEVICE)/ready: EXTRAS := cpu
$(VENV)/ready:   EXTRAS := cpu,tensorrt-rtx,export,optimum,train,dev
$(DEVICE)/ready $(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "$(PYTHON) is missing or older than 3.10; name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --disable-pip-version-check -q -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
