# The same verbs everywhere: demo test check fmt docs build
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check fmt docs build clean

demo: $(STAMP)
	$(BIN)/budwood demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fmt: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)
	$(BIN)/python -m pytest tests/guards -k "readme or docs"

build: $(STAMP)
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall --target dist/site dist/budwood-*.whl
	cd dist && PYTHONPATH=site ../$(BIN)/python -c "import budwood.recipe as r, pathlib; \
	  assert 'dist/site' in r.__file__, r.__file__; print(sorted(r.packaged_recipes()))"

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'Budwood needs Python 3.11 or newer'"
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache
