# Everything starts from a fresh clone with python3 (3.11) and make. `make help` lists the targets.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check fix lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv with the locked versions of everything

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v != (3, 11) and f"python3 is {v[0]}.{v[1]}; the lock is for 3.11: make setup PYTHON=python3.11")'
	@if command -v uv >/dev/null; then \
		uv venv --quiet --seed --clear --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		rm -rf $(VENV) && $(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $@

demo: setup ## Run the whole pipeline on drawn photos, in garbage-demo/
	$(BIN)/garbage demo garbage-demo

check: setup ## Format, lint, types and floors; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## Check, then the quick tests
	$(BIN)/pytest -m "not slow"

test-slow: setup ## The rest: real photos, real archives, fresh environments
	$(BIN)/pytest -m slow --timeout 1800

fix: setup ## Format, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## Resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --extra all --extra scale --group dev --group headless --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-emit-package garbage-cli \
		--custom-compile-command "make lock" --quiet -o requirements.lock

clean: ## Remove .venv, caches and the demo
	rm -rf $(VENV) garbage-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
