# Every target creates .venv and installs what it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST_FLAGS = --numprocesses 2 --dist worksteal
PYTEST = $(BIN)/python -m pytest $(PYTEST_FLAGS)
PYTHON_FOLDERS = src tests benchmarks docs weights
# Tests whose results depend on the CPU and on the version of PyTorch.
NUMERICAL = tests/ops tests/nets tests/solver tests/rescaler tests/collab tests/test_metrics.py tests/test_tiling.py
TORCH ?= 2.14.1
OTHER = .venv-torch-$(TORCH)

.DEFAULT_GOAL := help
.PHONY: help demo test check numerics test-torch docs bench fuzz clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

demo: $(VENV)/demo.stamp ## downscale, rebuild and compare a photograph; writes hcd-demo/index.html
	$(BIN)/hcd demo --out hcd-demo

test: $(VENV)/dev.stamp ## run the fast tests: all but those marked slow
	$(PYTEST) -m "not slow"

check: $(VENV)/dev.stamp ## check format, lint, types and imports; run all tests, with coverage
	$(BIN)/ruff format --check $(PYTHON_FOLDERS)
	$(BIN)/ruff check $(PYTHON_FOLDERS)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) --cov --cov-report=term:skip-covered

numerics: $(VENV)/dev.stamp ## run the numerical tests with AVX2 instructions only
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) $(NUMERICAL)

test-torch: constraints.txt pyproject.toml ## run the numerical tests with another PyTorch: make test-torch TORCH=2.14.1
	$(PYTHON) -m venv $(OTHER)
	grep -viE '^(torch|torchvision|triton|setuptools)==' constraints.txt > $(OTHER)/constraints.txt
	$(OTHER)/bin/python -m pip install --disable-pip-version-check --constraint $(OTHER)/constraints.txt \
		--editable '.[dev]' --editable ./weights torch==$(TORCH)
	$(OTHER)/bin/python -m pytest $(PYTEST_FLAGS) -m "not slow" $(NUMERICAL) tests/zoo tests/pipeline

docs: $(VENV)/dev.stamp ## build the documentation site into site/; a broken link or reference fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/dev.stamp ## measure gain and cost against the published scheme: presets, one gradient evaluation, whole pictures
	$(BIN)/hcd bench solver
	$(BIN)/hcd bench evaluation
	$(BIN)/hcd bench pictures --model irn-x4-small --memory 4GiB

fuzz: $(VENV)/dev.stamp ## read mutated pictures for five minutes; set FUZZ_SECONDS, FUZZ_INPUTS, FUZZ_SEED
	$(BIN)/python -m tests.fuzz.run
	$(BIN)/python -m tests.fuzz.guided

clean: ## remove the files that the other targets created
	rm -rf $(VENV) .venv-torch-* hcd-demo site build weights/build src/*.egg-info weights/src/*.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml weights/pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[demo,weights]' --editable ./weights
	@touch $@

$(VENV)/dev.stamp: pyproject.toml weights/pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[dev]' --editable ./weights
	@touch $@ $(VENV)/demo.stamp
