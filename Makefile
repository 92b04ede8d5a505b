# make run    set up, print the ladder                    make lab      open the notebooks in Jupyter
# make test   set up and check everything                 make outputs  run every notebook and save what it prints
# make clean  remove what the other targets have made     make bench    measure ours beside its peers (takes a while)
# make site   every notebook as a page, in build/site; open build/site/index.html
# make test-browser   draw on the pad of 16 and on the page without Python, and read the site, in Chromium
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
SITE := .venv/.site
PAGES := build/site/index.html
ALONE := OMP_NUM_THREADS=1   # for what runs on every core beside others of its kind

.DELETE_ON_ERROR:
.PHONY: run lab test test-slow test-browser outputs bench site clean

run: $(STAMP)
	$(BIN)/mnist-basics ladder

lab: $(STAMP)
	$(BIN)/python -m jupyterlab nbs/index.ipynb

test: $(STAMP)
	$(BIN)/python -m pytest -q tests/test_export.py
	$(BIN)/ruff check
	$(BIN)/ruff format --check --quiet
	$(ALONE) $(BIN)/nbdev-test --timing --cell-timeout 3600
	$(ALONE) $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal --ignore tests/test_export.py

test-slow: $(STAMP)
	$(BIN)/nbdev-test --timing --flags slow --n-workers 1 --cell-timeout 3600

test-browser: $(PAGES)
	$(BIN)/python -m pytest -m browser -rs

NOTEBOOKS ?= nbs/*.ipynb nbs/workshop/*.ipynb nbs/exercises/*.ipynb
outputs: $(STAMP)
	$(BIN)/python -c 'from mnist_basics import ladder; ladder.trained_rungs(); ladder.trained_digit_net()'
	$(BIN)/python -m nbconvert --to notebook --execute --inplace --log-level ERROR \
		--ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec \
		--ClearMetadataPreprocessor.preserve_nb_metadata_mask=nbdev $(NOTEBOOKS)
	$(BIN)/python tests/tidy.py $(NOTEBOOKS)
	$(BIN)/nbdev-clean

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py $(CHECK)   # CHECK=--check fails where a row falls short

site: $(PAGES)

$(PAGES): $(SITE) $(wildcard site/*.py site/*/* nbs/*.* nbs/*/*.ipynb mnist_basics/*.py mnist_basics/w*/*.*)
	rm -rf build/site build/site-doctrees
	$(BIN)/python site/prepare.py
	$(BIN)/mnist-basics page --out build/site-src/extra/draw.html
	$(BIN)/python -m sphinx -W --keep-going -q -c site -d build/site-doctrees build/site-src/pages build/site
	cp -R build/site-src/extra/. build/site

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
	find mnist_basics tests -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): settings.ini setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mnist_basics needs Python 3.11 or newer; name one like this: make run PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv, once: PyTorch and its companions are about 6 GB, which takes some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(SITE): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[site]'
	touch $@
