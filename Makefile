# `make demo` and `make test` do all the set-up they need; a second run is quick.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo

.DEFAULT_GOAL := help
.PHONY: help demo test check player lessons docs pictures bench clean

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
	$(BIN)/python -m pip install --quiet --editable '.[test,check,browser,cluster]'
	$(BIN)/python -m pip install --quiet 'torch==2.13.0' 'fastai==2.8.12'
	@touch $@

$(VENV)/bench: $(VENV)/test
	$(BIN)/python -m pip install --quiet --editable '.[test,bench]'
	$(BIN)/python -m pip install --quiet 'torch==2.13.0' 'fastai==2.8.12'
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

test: $(VENV)/test ## Run the tests, all but the slow ones
	$(BIN)/python -m pytest -m "not slow"

player/node_modules: player/package-lock.json
	cd player && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

player: player/node_modules ## Bundle the player into src/descend/pictures/player.js (needs Node.js)
	cd player && npm run --silent build

check: $(VENV)/check ## Everything CI runs beyond `make test`: the player, lint, types, doctests, examples, browsers, documentation, benchmarks' smoke
	$(MAKE) --no-print-directory player
	git diff --exit-code -- src/descend/pictures/player.js src/descend/pictures/player.LICENSES
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@for example in examples/*.py; do echo $$example; $(BIN)/python $$example >/dev/null || exit 1; done
	$(MAKE) --no-print-directory docs
	$(BIN)/python benchmarks/run.py --quick
	$(BIN)/python benchmarks/gpu.py --device cpu --rows 2000 --rounds 1
	$(BIN)/python -m pytest --doctest-modules --doctest-glob='*.md' src README.md docs CONTRIBUTING.md tests

$(VENV)/docs: $(VENV)/check  # the reference imports every extra
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

docs/_build/static/tex-svg.js:
	@mkdir -p docs/_build/npm docs/_build/static
	npm install --prefix docs/_build/npm --ignore-scripts --no-audit --no-fund --loglevel=error mathjax@3.2.2
	cp docs/_build/npm/node_modules/mathjax/es5/tex-svg.js $@

docs: $(VENV)/docs docs/_build/static/tex-svg.js ## Build the documentation and run the lessons in it (needs Node.js)
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

lessons: $(VENV)/check ## Write the notebooks beside the lessons
	$(BIN)/python lessons/build.py

pictures: $(VENV)/check ## Make the pictures of docs/pictures from the code as it is (needs chromium)
	$(BIN)/python docs/pictures/make.py

bench: $(VENV)/bench ## Measure against the rivals and write docs/explanation/benchmarks.md (takes long, and 15 GB of disk)
	env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python benchmarks/run.py --write docs/explanation/benchmarks.md

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(DEMO) player/node_modules .pytest_cache .mypy_cache .ruff_cache
