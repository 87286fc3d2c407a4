# The same words here, on a laptop and in continuous integration. `make help` lists them.
#
# Every target brings what it needs: the first call makes an environment from $(PYTHON) and installs into it, later calls
# refresh it only when pyproject.toml changed. Nothing needs root, and nothing but the package index is asked.
#
# The first `make check` is quick as well: it installs only what its tools read, and `make test` adds the rest. pip leaves
# bytecode to the first import, which needs a tenth of the modules, so Python has to be allowed to write it.

PYTHON ?= python3
SCALE ?= 0.01
SOAK_ROUNDS ?= 5
DEMO ?=

# Two environments: developers get every extra and the tools; the demo gets exactly what a user gets, so that it proves
# that nothing is missing from the dependencies.
VENV := .venv
DEMO_VENV := .venv-demo
BIN := $(VENV)/bin
CHECKABLE := $(VENV)/.checkable
READY := $(VENV)/.ready
DEMO_READY := $(DEMO_VENV)/.ready

unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types architecture bench docs soak clean

help:
	@echo "make demo    the whole journey on demonstration data, in an environment of its own"
	@echo "make check   lint, format, types and architecture; under a minute once installed"
	@echo "make test    every test and every documented example, in random order"
	@echo "make bench   every benchmark at a small scale (SCALE=1 for the full one)"
	@echo "make docs    links, documented names and every example in the documents"
	@echo "make soak    the property tests with many more examples (SOAK_ROUNDS=5)"
	@echo "make clean   remove environments, caches and build products"
	@echo "PYTHON=python3.12 chooses the interpreter (3.11 or newer)."

# What an interpreter lacks is said before anything is installed with it.
define new_environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "tenure needs Python 3.11 or newer; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 | head -n 1)" >&2; \
  echo "Name another interpreter: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
  echo "'$(PYTHON)' cannot make environments: its venv module is missing." >&2; \
  echo "On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
$(PYTHON) -m venv $(1)
endef

# Without the optional packages that have no types: mypy learns nothing from them, and no rule of the code imports them.
$(CHECKABLE): pyproject.toml
	$(call new_environment,$(VENV))
	$(BIN)/python -m pip install --quiet --no-compile --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --no-compile --editable ".[kafka,lightgbm,polars,postgres,redis]" --group test --group lint
	@touch $@

$(READY): $(CHECKABLE)
	$(BIN)/python -m pip install --quiet --no-compile --editable ".[all]" --group dev
	@touch $@

$(DEMO_READY): pyproject.toml
	$(call new_environment,$(DEMO_VENV))
	$(DEMO_VENV)/bin/python -m pip install --quiet --no-compile --editable ".[demo]"
	@touch $@

demo: $(DEMO_READY)
	$(DEMO_VENV)/bin/tenure demo $(DEMO)

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile

check: $(CHECKABLE)
	@$(MAKE) --no-print-directory --keep-going -j 2 lint types architecture

lint: $(CHECKABLE)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(CHECKABLE)
	$(BIN)/mypy

architecture: $(CHECKABLE)
	$(BIN)/pytest --quiet tests/architecture

bench: $(READY)
	@set -e; for bench in bench/[!_]*.py; do \
	  test -e "$$bench" || { echo "There is no benchmark in bench/." >&2; exit 1; }; \
	  echo "== $$bench --scale $(SCALE)"; $(BIN)/python -m "bench.$$(basename "$$bench" .py)" --scale $(SCALE); \
	done

docs: $(READY)
	$(BIN)/pytest --quiet tests/architecture/test_docs.py src docs README.md

soak: $(READY)
	@set -e; for round in $$(seq $(SOAK_ROUNDS)); do \
	  echo "== round $$round of $(SOAK_ROUNDS)"; \
	  HYPOTHESIS_PROFILE=soak $(BIN)/pytest --quiet -n 2 --timeout 1800 -m hypothesis tests; \
	done
	TENURE_SOAK=1 $(BIN)/pytest --quiet tests/fault tests/source/test_log_kafka.py -k 'stream or asleep or forgotten'

clean:
	rm -rf $(VENV) $(DEMO_VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
