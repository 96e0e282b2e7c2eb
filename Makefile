# Two commands from a fresh clone: `make demo` and `make test`. They need Python 3.11 to 3.13, pip and make.

PYTHON ?= python3
WORKERS ?= 2
TORCH ?=
export TORCH
# Compiled code is kept whatever the shell says: each process of the tests would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
EXTRAS := demo test docs dev
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-all check lint format-check types docstrings docs format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'
	@echo
	@echo "  PYTHON=python3.12    interpreter for a new $(VENV)"
	@echo "  TORCH='torch==2.8.0' torch to install instead of the CPU build"
	@echo "  WORKERS=4            processes for the tests"

demo: $(VENV)/.demo ## fine-tune a small model plainly and from a pretrained head, and compare
	@$(BIN)/headstart demo --overwrite

test: $(VENV)/.test ## run the tests, a few of each kind where many are alike
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not all"

test-all: $(VENV)/.test ## run every test, as continuous integration does
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

# Each of these is also a pre-commit hook; tests/test_tooling.py keeps the two lists equal.
check: lint format-check types docstrings docs ## everything that continuous integration checks beside the tests

lint: $(VENV)/.dev ## find mistakes (ruff)
	@$(BIN)/ruff check

format-check: $(VENV)/.dev ## see whether the code is formatted (ruff)
	@$(BIN)/ruff format --check

types: $(VENV)/.dev ## check the types (mypy, strict)
	@$(BIN)/mypy

docstrings: $(VENV)/.dev ## compare docstrings with signatures (pydoclint)
	@$(BIN)/pydoclint --quiet src

docs: $(VENV)/.docs ## build the documentation into site/ (mkdocs, strict)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(VENV)/.dev ## format the code, mend what can be mended, renew the tables in the documentation
	@$(BIN)/python scripts/docs_tables.py
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

clean: ## remove the virtual environment and everything generated
	rm -rf $(VENV) site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The environment is made once. A stamp is renewed when pyproject.toml changes.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else f"expected Python 3.11 or newer; found {v[0]}.{v[1]}. Run make with PYTHON=python3.12.")'
	@echo "== creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "expected the standard module venv; found none. On Debian and Ubuntu: apt install python3-venv." >&2; rm -rf $(VENV); exit 1; }
	@touch $@

# torch comes first: whatever is installed after it then takes this build and does not fetch another.
$(VENV)/.torch: $(VENV)/.created $(if $(strip $(TORCH)),asked)
	@$(BIN)/python scripts/install_torch.py
	@touch $@

.PHONY: asked
asked:

# `dev` holds the other extras, so its stamp is theirs too.
$(EXTRAS:%=$(VENV)/.%): $(VENV)/.%: $(VENV)/.torch pyproject.toml
	@echo "== installing headstart[$*]"
	@$(INSTALL) --editable '.[$*]'
	@touch $(if $(filter dev,$*),$(EXTRAS:%=$(VENV)/.%),$@)
