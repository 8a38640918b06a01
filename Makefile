# Two commands: `make lab` and `make test`. Each does all of its own set-up; running it again is cheap.
VENV := .venv
BIN := $(VENV)/bin
export TESTCONTAINERS_RYUK_DISABLED ?= true

.PHONY: lab test setup lint unit live bench lock clean help

help:
	@echo "make lab    set up what is missing, run the default suite on real nodes, print the verdict table"
	@echo "make test   set up what is missing, run linters, types, unit, property, conformance and live tests"
	@echo "make bench  measure speed and memory here, as ratios to peers in the same run (ten minutes)"
	@echo "make clean  end what we started and remove containers, networks, proxies, environment and state (not runs/)"

# The environment is rebuilt only when the lock or the package description changes.
setup:
	@bash harness/provision/bootstrap.sh

lab: setup
	@$(BIN)/moonquake doctor --fix --no-targets
	@$(BIN)/moonquake lab

test: setup
	@$(BIN)/moonquake doctor --fix --browser
	@$(MAKE) --no-print-directory lint
	@echo "==> tests: unit, property, conformance on all cores, then live ones on real processes and containers, one by one"
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not live"
	$(BIN)/python -m pytest -q -m live

lint: setup
	@echo "==> ruff, mypy --strict, import-linter"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: setup
	@$(BIN)/moonquake bench

unit: setup
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "not live"

live: setup
	$(BIN)/python -m pytest -q -m live

# Re-resolve the locks (needs `uv`); never names a registry.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock:
	$(LOCK) --extra dev pyproject.toml -o harness/locks/lab.txt
	printf 'msgspec\nPyNaCl\nstarlette\nuvicorn\n' | $(LOCK) - -c harness/locks/lab.txt -o harness/locks/node.txt

clean:
	-@$(BIN)/moonquake doctor --clean
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
