# Everything happens in .venv; `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
UI := ui_service
UI_READY := $(UI)/node_modules/.ready
UI_BUILT := $(UI)/dist/.built

.DEFAULT_GOAL := help
.PHONY: help install run up down models test check lint format typecheck arrows proto proto-check lock bench chaos ui ui-build ui-check ui-types

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

install: $(READY) ## make .venv with everything in it (a few minutes: llama.cpp is compiled)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Waystation needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	CMAKE_BUILD_PARALLEL_LEVEL=$${CMAKE_BUILD_PARALLEL_LEVEL:-$$(nproc)} $(BIN)/python -m pip install --quiet --progress-bar on -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

run: models ## set everything up and start the mesh; Ctrl-C drains it
	-@$(MAKE) --no-print-directory ui-build
	$(BIN)/waystation up

up: run ## the same as run

down: install ## stop a mesh that was started with `waystation up --detach`
	$(BIN)/waystation down

models: install ## get the model files that are missing
	$(BIN)/waystation models pull

test: models ui-build ## run every test, with real processes, the real models and a real browser
	$(BIN)/python -m pytest

check: install lint typecheck arrows proto-check ui-check ## lint, types, import arrows, contracts, generated code, the dashboard

lint: install ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: install ## mypy, strict
	$(BIN)/mypy

arrows: install ## who may import whom
	$(BIN)/lint-imports

proto: install ## generate shared/gen and docs/schemas from the contracts
	$(BIN)/python proto/generate.py
	$(BIN)/python -m shared.telemetry.event_schemas docs/schemas

proto-check: install ## lint the contracts, look for breaking changes, and see that shared/gen is up to date
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/released.binpb
	@fresh=$$(mktemp -d) && trap 'rm -rf $$fresh' EXIT && $(BIN)/python proto/generate.py $$fresh/gen \
		&& diff -r -x __pycache__ shared/gen $$fresh/gen || { echo 'shared/gen is not what the contracts say: make proto'; exit 1; }

ui-build: $(UI_BUILT) ## build the dashboard, if anything of it has changed

$(UI_READY): $(UI)/package.json $(UI)/package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo 'The dashboard needs Node.js 20 or newer.'; exit 1; }
	cd $(UI) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(UI_BUILT): $(UI_READY) $(UI)/next.config.ts $(wildcard $(UI)/scripts/*) $(shell find $(UI)/src -type f 2>/dev/null | sed 's/[][ ]/\\&/g')
	cd $(UI) && npm run --silent build
	@touch $@

ui: install $(UI_READY) ## serve the dashboard for development, against a mesh that is up
	cd $(UI) && npm run --silent dev

ui-check: install $(UI_READY) ## eslint, tsc and unit tests of the dashboard; whether its types are what control says
	cd $(UI) && npm run --silent lint && npm run --silent typecheck && npm run --silent test
	sh $(UI)/scripts/types.sh check

ui-types: install $(UI_READY) ## make the dashboard's types from what control says
	sh $(UI)/scripts/types.sh

lock: install ## pin the newest versions that pyproject.toml permits
	$(BIN)/python -m pip install --quiet --upgrade --upgrade-strategy eager . --group dev
	$(BIN)/python -m pip uninstall --quiet --yes waystation
	$(BIN)/python -m pip list --format=freeze --exclude pip --exclude setuptools > requirements.lock

bench: models ## measure every figure beside its peer
	$(BIN)/waystation bench

chaos: install ## kill every process at every boundary, 500 times, and look for what was lost or done twice (12 minutes)
	$(BIN)/python -m tests.chaos $(ARGS)
