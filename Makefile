# The two commands of the README, and their parts. PYTHON is any CPython >= 3.11.
PYTHON ?= python3
VENV ?= .venv
OUT ?= demo-run
BIN = $(VENV)/bin
PINS = constraints.txt

.PHONY: demo test quality docs clean

demo: $(VENV)/.installed
	$(BIN)/phenostream demo --out $(OUT)

test: $(VENV)/.tests-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 -m "slow or not slow" --hypothesis-profile=ci

quick: $(VENV)/.tests-installed
	$(BIN)/pytest

$(VENV)/.installed: pyproject.toml $(PINS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c $(PINS) -e .
	touch $@

$(VENV)/.tests-installed: $(VENV)/.installed
	$(BIN)/pip install --quiet -c $(PINS) -r requirements-test.txt
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
