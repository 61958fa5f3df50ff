# Every target sets up what it needs in .venv by itself; a second run does not install again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test bench lint format clean

demo: $(READY)  ## analyse every file of the standard library, one task a file
	$(BIN)/python examples/stdlib_census/client.py

test: $(READY)  ## the whole test suite
	$(BIN)/python -m pytest

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
