# make run    set up, print the ladder                    make lab      open the notebooks in Jupyter
# make test   set up and check everything                 make outputs  run every notebook and save what it prints
# make clean  remove what the other targets have made     make bench    measure ours beside its peers (takes a while)
# make test-browser   draw on the pad of notebook 16 and on the page without Python, in a Chromium without a window
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ALONE := OMP_NUM_THREADS=1   # for what runs on every core beside others of its kind

.PHONY: run lab test test-slow test-browser outputs bench clean

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

test-browser: $(STAMP)
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
