# Every target does all the set-up it needs; a second run is quick.
PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
BIN     := $(VENV)/bin
DEMO    := demo
# the Pythons of `make versions`; CI runs the oldest and the newest
VERSIONS ?= 3.11 3.12 3.13 3.14
# `make check` leaves out what passed in `make test` only while none of these files has changed
SOURCES := $(wildcard $(shell git ls-files))
PYTEST  := -m pytest -n $(WORKERS) --dist worksteal
FAST    := $(PYTEST) -m "not slow"
# old packages warn of their own age
OLD     := -W ignore::DeprecationWarning -W "ignore:Setting penalty=None will ignore the C"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check versions lowest newest coverage hooks player lessons docs pictures bench clean

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

test: $(VENV)/test ## Run the tests, all but the slow ones and those that need an extra
	$(BIN)/python $(FAST) --passed $(VENV)/passed

$(VENV)/passed: $(VENV)/test $(SOURCES)
	$(BIN)/python $(FAST) --passed $@

player/node_modules: player/package-lock.json
	cd player && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

player: player/node_modules ## Bundle the player into src/descend/pictures/player.js (needs Node.js)
	cd player && npm run --silent build

check: $(VENV)/passed $(VENV)/check ## Everything CI runs beyond `make test`: lint, types, examples, documentation, smoke tests, the other tests, doctests
	$(MAKE) --no-print-directory player
	git diff --exit-code -- src/descend/pictures/player.js src/descend/pictures/player.LICENSES
	$(BIN)/pre-commit run --all-files --show-diff-on-failure
	@for example in examples/*.py; do echo $$example; $(BIN)/python $$example >/dev/null || exit 1; done
	$(MAKE) --no-print-directory docs
	$(BIN)/python benchmarks/run.py --quick
	$(BIN)/python benchmarks/gpu.py --device cpu --rows 2000 --rounds 1
	$(BIN)/python $(PYTEST) --doctest-modules --doctest-glob='*.md' --except $(VENV)/passed src README.md docs tests

versions: ## Run `make test` on every Python from 3.11 to 3.14 that is installed or can be had from Debian
	@for version in $(VERSIONS); do \
		python=$$(.ci/python $$version) || continue; \
		case "$$($(PYTHON) --version)" in "Python $$version."*) venv=$(VENV);; *) venv=.venv-$$version;; esac; \
		echo "Python $$version, in $$venv"; \
		$(MAKE) --no-print-directory $$venv/passed VENV=$$venv PYTHON=$$python || exit 1; \
	done

lowest: ## Run the tests with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[test,onnx,cluster]'
	.venv-lowest/bin/python $(FAST) $(OLD)

newest: ## Run the tests with the newest versions there are
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[test,onnx,cluster]'
	.venv-newest/bin/python $(FAST)

coverage: $(VENV)/check ## Run all tests and say which lines they reach
	$(BIN)/python $(PYTEST) --cov=descend --cov-report=term:skip-covered tests

hooks: $(VENV)/check ## Have git check each commit, and its subject, before it is made
	$(BIN)/pre-commit install --hook-type pre-commit --hook-type commit-msg

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
	rm -rf $(VENV) .venv-* $(DEMO) player/node_modules .pytest_cache .mypy_cache .ruff_cache
