# Two commands do everything on a machine with Python >= 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-slow test-faults gpu-check lint dev clean

help:
	@echo "make demo       install, train on the embedded digits, print the score (a few minutes, mostly the install)"
	@echo "make test       install the dev tools, run the default test suite (five minutes)"
	@echo "make test-long  the tests that take seconds each: whole sweeps, killed processes, clusters (minutes)"
	@echo "make test-slow  the tests that take minutes, a browser, or the real CIFAR-10 (IMGREC_DATA_DIR)"
	@echo "make test-faults  kills, damage, full disks, bad and hostile input: a table of what comes of each (25 minutes)"
	@echo "make gpu-check  tests, speed and sharing on a GPU (ten minutes at most); REHEARSE=1 tries it out on the CPU"
	@echo "make lint       ruff, mypy --strict, import-linter"
	@echo "make dev        install every extra and the dev tools"
	@echo "make clean      remove the virtual environment and caches; outputs/ stays"

demo: $(VENV)/.runtime
	$(BIN)/imgrec train experiment=demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not long and not slow" -n auto --dist worksteal

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m "long and not slow" -n auto --dist worksteal

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

test-faults: $(VENV)/.dev
	$(BIN)/python -m pytest --outcomes tests/faults tests/test_cli.py tests/test_checkpoint.py tests/data

gpu-check: $(VENV)/.dev
	$(BIN)/python experiments/gpu/check.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for folder in experiments/article experiments/cluster experiments/gpu experiments/report experiments/seeds experiments/speed experiments/splits experiments/sweeps; do $(BIN)/mypy $$folder || exit 1; done
	$(BIN)/lint-imports

dev: $(VENV)/.dev

# torch and torchvision in one step, so that they pair
$(VENV)/.runtime: pyproject.toml
	@echo "Installing into $(VENV) (torch is large: minutes on the first run)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(INSTALL) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
