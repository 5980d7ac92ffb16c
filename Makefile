# Everything a developer or an operator types. `make help` lists it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Keep what was compiled whatever the machine says: tests start a hundred processes of ours.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

help: ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Installed sets leave a stamp named after the lock's hash, so a changed lock installs again.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.runtime

$(VENV)/.bench: requirements-bench.lock pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --require-hashes -r requirements-bench.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Compiling the numerical kernels takes a minute; done here, no start has to wait for it.
$(VENV)/.kernels: $(VENV)/.runtime $(wildcard robo/portfolio/*.py) robo/tax/arrays.py
	$(BIN)/python -c "from robo.runtime import warm_kernels; warm_kernels()"
	@touch $@

install: $(VENV)/.kernels ## Install what `make run` needs into .venv

dev: $(VENV)/.dev ## Install what tests and checks need into .venv

run: $(VENV)/.kernels ## Serve API, docs and jobs on http://127.0.0.1:8000
	$(BIN)/robo serve

demo: $(VENV)/.kernels ## Do the main job through the real HTTP API and print it
	$(BIN)/python -m scheduler demo

life: $(VENV)/.kernels ## Live one life on five market seeds, with a report in pictures
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m scheduler life

test: $(VENV)/.dev $(VENV)/.kernels ## Run the tests
	$(BIN)/pytest -n 2 --dist worksteal -m "not soak"

soak: $(VENV)/.dev $(VENV)/.kernels ## Run the long versions of the tests
	$(BIN)/pytest -n 2 -m soak --timeout 7200

check: $(VENV)/.dev ## Format, lint, types, import contracts (no tests)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench ## Measure against peers
	$(BIN)/python -m bench

lock: ## Lock the dependencies again (hashes, no addresses)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra build --extra dev --extra bench pyproject.toml -o requirements-bench.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra build --extra dev -c requirements-bench.lock pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra build -c requirements-bench.lock pyproject.toml -o requirements.lock

clean: ## Remove the environment and all local state
	rm -rf $(VENV) .state .mypy_cache .ruff_cache .hypothesis build *.egg-info

.PHONY: help install dev run demo life test soak check format bench lock clean
