# The project's commands, the same for developers, pre-commit and CI. `make help` lists them.
#
# The commands use two private environments in this folder: .venv (TensorFlow 2.15.1 with Estimator: training, serving, all tools)
# and .venv-newest (the newest TensorFlow: serving). uv creates them from requirements/*.txt; uv itself is installed into .uv, so a
# machine needs only Python, git and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV := .uv/bin/uv
BIN := .venv/bin
NEWEST := .venv-newest/bin
TEST_MODELS := build/test-models
# Tests run on all cores, a file on one of them. Overload is only overload if the load has the machine for itself.
WORKERS ?= $(shell nproc)
PARALLEL := -n $(WORKERS) --dist loadfile
ALONE := tests/faults/test_overload.py
# Tests of files, sockets, signals and the command line, which hold with every TensorFlow: `make test-newest` leaves them out. The
# two environments differ in TensorFlow, Keras, NumPy, ml_dtypes and protobuf alone.
WITHOUT_TENSORFLOW := tests/faults tests/e2e/test_reload.py $(addprefix tests/service/,auth cli http lifecycle middleware server tracing)
PEERS := bentoml litserve mlserver ray
# docker compose v2 if installed, otherwise v1.29; `make up GPU=1` is for a host with GPUs.
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose) -f docker/compose.yaml \
  $(if $(GPU),-f docker/compose.gpu.yaml)
LOCK := $(UV) pip compile --quiet --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --python-version 3.11

export UV_LINK_MODE ?= copy
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PYTHONUNBUFFERED := 1

.PHONY: help
help:  ## List these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: install
install: .venv/.installed  ## Create the environment .venv, which has the `headserve` command

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

# KServe's package needs other versions of most dependencies, so its client has an environment of its own.
.venv-kserve/.installed: $(UV) requirements/kserve.txt
	@echo "Installing KServe's client into .venv-kserve"
	@$(UV) venv --quiet --clear --python 3.11 .venv-kserve
	@$(UV) pip install --quiet --python .venv-kserve/bin/python --require-hashes -r requirements/kserve.txt
	@touch $@

.PHONY: demo
demo: install  ## Train on 58,788 films, export, serve, and request predictions
	@$(BIN)/python examples/demo.py

.PHONY: test
test: install $(TEST_MODELS)/.exported  ## Run all tests on TensorFlow 2.15.1
	HEADSERVE_TEST_MODELS=$(TEST_MODELS) $(BIN)/python -m pytest $(PARALLEL) $(ALONE:%=--ignore %)
	HEADSERVE_TEST_MODELS=$(TEST_MODELS) $(BIN)/python -m pytest $(ALONE)

.PHONY: test-newest
test-newest: .venv-newest/.installed .venv-kserve/.installed $(TEST_MODELS)/.exported  ## Run the tests that depend on TensorFlow, without training, on the newest
	HEADSERVE_TEST_MODELS=$(TEST_MODELS) HEADSERVE_KSERVE_PYTHON=.venv-kserve/bin/python $(NEWEST)/python -m pytest $(PARALLEL) \
	  -m "not train and not docker" $(WITHOUT_TENSORFLOW:%=--ignore %)

.PHONY: test-docker
test-docker: install $(TEST_MODELS)/.exported prometheus  ## Build the images and test their containers; needs a Docker engine
	HEADSERVE_TEST_MODELS=$(TEST_MODELS) $(BIN)/python -m pytest -m docker --timeout 1800 tests/docker

# Debian's package, unpacked into build/. On other systems, the tests that need it are skipped with a reason.
.PHONY: prometheus
prometheus:
	@command -v prometheus >/dev/null || test -e build/prometheus/usr/bin/prometheus || { mkdir -p build/prometheus && \
	  cd build/prometheus && apt-get download --quiet=2 prometheus && dpkg-deb --extract prometheus_*.deb . ; } || true

.PHONY: mutants
mutants: install  ## Put single faults into the code, one at a time, and list those that no test finds; takes about an hour. GROUP=scan: only one group
	$(BIN)/python -m tests.mutants $(GROUP)

# Models for the serving tests: exported by TensorFlow 2.15.1, also for the tests on the newest TensorFlow.
$(TEST_MODELS)/.exported: .venv/.installed $(wildcard heads/*.py heads/training/*.py examples/*.toml examples/*.csv tests/e2e/every_head.py tests/e2e/canned.py)
	@rm -rf $(TEST_MODELS) build/test-runs
	@for model in penguins movies; do \
	  $(BIN)/headserve train examples/$$model.toml --models $(TEST_MODELS) --runs build/test-runs --steps 50; done
	@for module in every_head canned; do $(BIN)/python -m tests.e2e.$$module $(TEST_MODELS); done
	@touch $@

.PHONY: images
images:  ## Build the images for serving and training (GPU=1: with CUDA)
	$(COMPOSE) build $(foreach name,HTTP_PROXY HTTPS_PROXY NO_PROXY,$(if $($(name)),--build-arg $(name))) server trainer
	@docker images 'headserve-*'

.PHONY: up
up: docker/.env images  ## Train the demo if necessary, and serve it with docker compose (GPU=1: on GPUs)
	$(COMPOSE) up --detach
	@for _ in {1..120}; do $(COMPOSE) exec -T server python -I /opt/headserve/healthcheck.py >/dev/null 2>&1 && break; sleep 1; done
	@$(COMPOSE) exec -T server python -I /opt/headserve/healthcheck.py || { $(COMPOSE) logs server; exit 1; }
	@address=$$($(COMPOSE) port server 8000); printf '\n%s\n' "It listens on http://$$address, its API is at /docs. For example:" \
	  "curl -s $$address/models/movies/predict -d '{\"instances\":[{\"title\":\"Heat\",\"year\":1995,\"length\":170}],\"heads\":\"*\"}'"

docker/.env:
	cp docker/.env.example $@

.PHONY: down
down:  ## Stop the containers of `make up`; the volumes with the models stay
	$(COMPOSE) --profile monitoring --profile tensorboard down

.PHONY: lint
lint: install  ## Check style (ruff, hadolint, shellcheck), and that no lock file has an index address
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck .ci/run docker/install.sh
	@! grep -nE '^ *(--(extra-)?index-url|--find-links|-i )|https?://[^ ]*/simple' requirements/*.txt benchmarks/requirements/*.txt

.PHONY: format
format: install  ## Format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: typecheck
typecheck: install  ## Check types (mypy, strict)
	$(BIN)/mypy

# The images install the versions that the tests run with, for Linux on x86-64 and on ARM.
SERVER := $(LOCK) $(if $(UPGRADE),--upgrade) --universal -c requirements/newest.txt pyproject.toml --extra otel
TRAINER := $(LOCK) $(if $(UPGRADE),--upgrade) --universal -c requirements/dev.txt pyproject.toml --extra train --extra demo

.PHONY: lock
lock: $(UV)  ## Rewrite requirements/*.txt from pyproject.toml (UPGRADE=1: with the newest versions)
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra train --extra demo --group dev -o requirements/dev.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --group build --group test -o requirements/newest.txt
	$(SERVER) requirements/server.in --override requirements/server.in -o requirements/server.txt
	$(SERVER) --extra gpu -o requirements/server-gpu.txt
	$(TRAINER) requirements/trainer.in --override requirements/trainer.in -o requirements/trainer.txt
	$(TRAINER) --extra gpu -o requirements/trainer-gpu.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) -c requirements/dev.txt --group build -o requirements/build.txt
	echo kserve | $(LOCK) $(if $(UPGRADE),--upgrade) - -o requirements/kserve.txt
	echo uv | $(LOCK) $(if $(UPGRADE),--upgrade) - -o requirements/uv.txt
	for peer in $(PEERS); do \
	  $(LOCK) $(if $(UPGRADE),--upgrade) benchmarks/requirements/$$peer.in -o benchmarks/requirements/$$peer.txt; done

# Each peer has an environment of its own with the versions that it requires.
.PHONY: bench-peers
bench-peers: $(PEERS:%=build/bench/%/.installed)  ## Create the environments of the servers that benchmarks/serve.py compares with

build/bench/%/.installed: benchmarks/requirements/%.txt $(UV)
	@echo "Installing $* into build/bench/$*"
	@$(UV) venv --quiet --clear --python 3.11 build/bench/$*
	@$(UV) pip install --quiet --python build/bench/$*/bin/python --require-hashes -r $<
	@touch $@

.PHONY: clean
clean:  ## Remove the environments, caches and everything that the commands above wrote
	rm -rf .uv .venv .venv-newest .venv-kserve .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
