# Every target makes .venv and installs what it needs; a second run installs nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check bench fuzz clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-7s %s\n", $$1, $$2}'

demo: $(VENV)/demo.stamp ## downscale, rebuild and compare a photograph; writes hcd-demo/index.html
	$(BIN)/hcd demo --out hcd-demo

test: $(VENV)/dev.stamp ## the tests, with coverage of the package
	$(BIN)/python -m pytest --numprocesses 2 --cov --cov-report=term:skip-covered

check: $(VENV)/dev.stamp ## formatting, lint, types, imports and tests
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

bench: $(VENV)/dev.stamp ## gain and cost against the published scheme: of every preset, one gradient evaluation, whole pictures
	$(BIN)/hcd bench solver
	$(BIN)/hcd bench evaluation
	$(BIN)/hcd bench pictures --model irn-x4-small --memory 4GiB

fuzz: $(VENV)/dev.stamp ## mutated pictures of every kind, five minutes; FUZZ_SECONDS, FUZZ_INPUTS and FUZZ_SEED change that
	$(BIN)/python -m tests.fuzz.run
	$(BIN)/python -m tests.fuzz.guided

clean: ## remove what the other targets made
	rm -rf $(VENV) hcd-demo build weights/build src/*.egg-info weights/src/*.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml weights/pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[demo,weights]' --editable ./weights
	@touch $@

$(VENV)/dev.stamp: pyproject.toml weights/pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[dev]' --editable ./weights
	@touch $@ $(VENV)/demo.stamp
