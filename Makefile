# headserve's commands, for people, pre-commit and CI alike. `make help` lists them.
#
# Everything happens in two private environments in this folder: .venv (TensorFlow 2.15.1 with Estimator: training, serving, all
# tools) and .venv-newest (the newest TensorFlow: serving). They are made from requirements/*.txt, by a uv that is itself installed
# into .uv, so that a machine needs no more than Python, git and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV := .uv/bin/uv
BIN := .venv/bin
NEWEST := .venv-newest/bin
TEST_MODELS := build/test-models
PEERS := bentoml litserve mlserver ray
LOCK := $(UV) pip compile --quiet --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11

export UV_LINK_MODE ?= copy
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYTHONUNBUFFERED := 1

.PHONY: help
help:  ## List these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: install
install: .venv/.installed  ## Make the environment .venv with the `headserve` command in it

$(UV): requirements/uv.txt
	@rm -rf .uv && python3 -m venv .uv && .uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

.venv/.installed: $(UV) requirements/dev.txt pyproject.toml
	@echo "Installing TensorFlow 2.15.1, Estimator and tools into .venv"
	@$(UV) venv --quiet --clear --python 3.11 .venv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .
	@touch $@

.venv-newest/.installed: $(UV) requirements/newest.txt pyproject.toml
	@echo "Installing the newest TensorFlow into .venv-newest"
	@$(UV) venv --quiet --clear --python 3.11 .venv-newest
	@$(UV) pip install --quiet --python $(NEWEST)/python --require-hashes -r requirements/newest.txt
	@$(UV) pip install --quiet --python $(NEWEST)/python --no-build-isolation --no-deps --editable .
	@touch $@

# KServe's package wants other versions of nearly everything, so that its client has an environment of its own.
.venv-kserve/.installed: $(UV) requirements/kserve.txt
	@echo "Installing KServe's client into .venv-kserve"
	@$(UV) venv --quiet --clear --python 3.11 .venv-kserve
	@$(UV) pip install --quiet --python .venv-kserve/bin/python --require-hashes -r requirements/kserve.txt
	@touch $@

.PHONY: demo
demo: install  ## Train on 58,788 films, export, serve, and ask for predictions
	@$(BIN)/python examples/demo.py

.PHONY: test
test: install $(TEST_MODELS)/.exported  ## Run all tests on TensorFlow 2.15.1
	HEADSERVE_TEST_MODELS=$(TEST_MODELS) $(BIN)/python -m pytest

.PHONY: test-newest
test-newest: .venv-newest/.installed .venv-kserve/.installed $(TEST_MODELS)/.exported  ## Run what does not train on the newest TensorFlow
	HEADSERVE_TEST_MODELS=$(TEST_MODELS) HEADSERVE_KSERVE_PYTHON=.venv-kserve/bin/python $(NEWEST)/python -m pytest -m "not train"

# Models for the tests of serving: exported by TensorFlow 2.15.1, whichever version serves them.
$(TEST_MODELS)/.exported: .venv/.installed $(wildcard heads/*.py heads/training/*.py examples/*.toml examples/*.csv tests/e2e/every_head.py tests/e2e/canned.py)
	@rm -rf $(TEST_MODELS) build/test-runs
	@for model in penguins movies; do \
	  $(BIN)/headserve train examples/$$model.toml --models $(TEST_MODELS) --runs build/test-runs --steps 50; done
	@for module in every_head canned; do $(BIN)/python -m tests.e2e.$$module $(TEST_MODELS); done
	@touch $@

.PHONY: lint
lint: install  ## Check style (ruff) and that no file holds an index address
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@! grep -nE '^ *(--(extra-)?index-url|--find-links|-i )|https?://[^ ]*/simple' requirements/*.txt benchmarks/requirements/*.txt

.PHONY: format
format: install  ## Rewrite the code in ruff's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: typecheck
typecheck: install  ## Check types (mypy, strict)
	$(BIN)/mypy

.PHONY: lock
lock: $(UV)  ## Write requirements/*.txt anew from pyproject.toml (UPGRADE=1: with the newest versions)
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra train --extra demo --group dev -o requirements/dev.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --group build --group test -o requirements/newest.txt
	echo kserve | $(LOCK) $(if $(UPGRADE),--upgrade) - -o requirements/kserve.txt
	echo uv | $(LOCK) $(if $(UPGRADE),--upgrade) - -o requirements/uv.txt
	for peer in $(PEERS); do \
	  $(LOCK) $(if $(UPGRADE),--upgrade) benchmarks/requirements/$$peer.in -o benchmarks/requirements/$$peer.txt; done

# One environment each, so that every peer has the versions it asks for.
.PHONY: bench-peers
bench-peers: $(PEERS:%=build/bench/%/.installed)  ## Make the environments of the servers that benchmarks/serve.py compares with

build/bench/%/.installed: benchmarks/requirements/%.txt $(UV)
	@echo "Installing $* into build/bench/$*"
	@$(UV) venv --quiet --clear --python 3.11 build/bench/$*
	@$(UV) pip install --quiet --python build/bench/$*/bin/python --require-hashes -r $<
	@touch $@

.PHONY: clean
clean:  ## Remove the environments, caches and what the commands above wrote
	rm -rf .uv .venv .venv-newest .venv-kserve .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
