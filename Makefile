# make run    set up, fetch the digits, print the ladder      make lab      open the notebooks in Jupyter
# make test   set up and check everything                     make outputs  run every notebook on the genuine
# make clean  remove what the other targets have made                       MNIST digits and save what they print
# make bench  measure ours beside its peers, for about ten minutes
# make test-browser   draw on the pad of notebook 13, in JupyterLab and a Chromium without a window
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: run lab test test-slow test-browser outputs bench clean

run: $(STAMP)
	$(BIN)/mnist-basics ladder

lab: $(STAMP)
	$(BIN)/python -m jupyterlab nbs/index.ipynb

test: $(STAMP)
	$(BIN)/python -m pytest -q tests/test_export.py
	$(BIN)/ruff check
	OMP_NUM_THREADS=1 $(BIN)/nbdev-test --timing    # a notebook for each core, one thread for each notebook
	$(BIN)/python -m pytest --ignore tests/test_export.py

test-slow: $(STAMP)
	$(BIN)/nbdev-test --timing --flags slow --n-workers 1 --cell-timeout 3600

test-browser: $(STAMP)
	$(BIN)/python -m pytest -m browser -rs

outputs: $(STAMP)
	$(BIN)/mnist-basics data --source mnist
	$(BIN)/python -c 'from mnist_basics import data, playground; playground.trained_rungs(data.mnist_sample("mnist"))'
	$(BIN)/python -m nbconvert --to notebook --execute --inplace --log-level ERROR \
		--ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec \
		--ClearMetadataPreprocessor.preserve_cell_metadata_mask=jupyter nbs/*.ipynb
	$(BIN)/nbdev-clean
	$(BIN)/mnist-basics ladder --source mnist --out build/ladder
	cp build/ladder/ladder.png nbs/ladder.png

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache mnist_basics/__pycache__ mnist_basics/exercises/__pycache__ tests/__pycache__

$(STAMP): settings.ini setup.py pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "mnist_basics needs Python 3.11 or newer; name one like this: make run PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv, once: PyTorch and its companions are about 6 GB, which takes some minutes."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@
