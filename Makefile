# `make demo` and `make test` do all the set-up they need; a second run is quick.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo

.DEFAULT_GOAL := help
.PHONY: help demo test check bench clean

help: ## This list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(VENV)/core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/test: $(VENV)/core
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/check: $(VENV)/test
	$(BIN)/python -m pip install --quiet --editable '.[test,check]'
	$(BIN)/python -m pip install --quiet 'torch==2.13.0'
	@touch $@

$(VENV)/bench: $(VENV)/test
	$(BIN)/python -m pip install --quiet --editable '.[test,bench]'
	$(BIN)/python -m pip install --quiet 'torch==2.13.0'
	@touch $@

demo: $(VENV)/core ## Fit real data by gradient descent, and leave files to open in demo/
	@mkdir -p $(DEMO)
	$(BIN)/descend fit examples/penguins.csv --target body_mass_g --optimizer gradient-descent \
		--out $(DEMO)/body_mass.model.json --history $(DEMO)/body_mass.history.csv
	@echo
	$(BIN)/descend fit examples/penguins.csv --target species \
		--out $(DEMO)/species.model.json --history $(DEMO)/species.history.csv
	@echo
	$(BIN)/descend predict $(DEMO)/species.model.json examples/penguins.csv --keep species island \
		--out $(DEMO)/species.predictions.csv
	@echo; echo "Files to open:"; ls -1 $(DEMO)/*

test: $(VENV)/test ## Run the tests
	$(BIN)/python -m pytest

check: $(VENV)/check ## Everything CI runs beyond `make test`: lint, types, doctests, examples, benchmarks' smoke
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@for example in examples/*.py; do echo $$example; $(BIN)/python $$example >/dev/null || exit 1; done
	$(BIN)/python benchmarks/run.py --quick
	$(BIN)/python -m pytest --doctest-modules --doctest-glob='*.md' src README.md docs CONTRIBUTING.md tests

bench: $(VENV)/bench ## Measure against the rivals and write docs/benchmarks.md (takes long, and 15 GB of disk)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/run.py --write docs/benchmarks.md

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(DEMO) .pytest_cache .mypy_cache .ruff_cache
