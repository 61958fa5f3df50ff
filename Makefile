# Every target sets up what it needs in .venv by itself; a second run does not install again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test faults simulate bench lint format clean

demo: $(READY)  ## analyse every file of the standard library, one task a file
	$(BIN)/python examples/stdlib_census/client.py

test: $(READY)  ## the whole test suite
	$(BIN)/python -m pytest

# make faults RUNS=1 SECONDS=20 SEED=7
RUNS ?= 10
SECONDS ?= 60
SEED ?= $(shell date +%s)

faults: $(READY)  ## clients under load while everything around them is killed: RUNS times SECONDS
	$(BIN)/python -m tests.faults.campaign --runs $(RUNS) --seconds $(SECONDS) --seed $(SEED)

# make simulate HOURS=5000 SEED=7; a test that fails has its seed in its name, and HOURS=1 SEED=… lives it again
HOURS ?= 1000
simulate: $(READY)  ## random hours of the engine in virtual time, with faults: HOURS of them from SEED on
	HEARTH_HOURS=$(HOURS) HEARTH_SEED=$(SEED) $(BIN)/python -m pytest -q -x tests/hearth/engine/test_simulation.py

bench: $(READY)  ## every benchmark; tables on stdout, JSON in benchmarks/results
	$(BIN)/python benchmarks/tasks_per_second.py
	$(BIN)/python benchmarks/durable_tasks.py
	$(BIN)/python benchmarks/client_interfaces.py
	$(BIN)/python benchmarks/flux_rpc.py
	$(BIN)/python benchmarks/first_result.py
	$(BIN)/python benchmarks/wasm_calls.py
	$(BIN)/python benchmarks/fair_shares.py

lint: $(READY)  ## what CI holds against the source
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build

# pip < 25.1 does not know dependency groups, so a current pip comes first.
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable . --group test --group lint
	touch $(READY)
