# Everything that a stranger types. `make help` lists it.

PYTHON ?= python3
ARGS ?=
SEEDS ?= 1000
RUNS ?= 10
FIRST ?= 0
STORE ?= both

VENV := .venv
BIN := $(VENV)/bin
# A stamp is named for what it installed: a changed pin means a new name, and so a new install.
LOCKED := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
LOCKED_BENCH := $(shell cat constraints-bench.txt | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.stamp-$(LOCKED)
STAMP_BENCH := $(VENV)/.stamp-bench-$(LOCKED_BENCH)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test unit slow sim chaos check fix bench lock clean distclean

help: ## list these targets
	@printf 'usage: make TARGET [PYTHON=python3.12] [ARGS="..."]\n\n'
	@awk -F ':[^#]*## ' '/^[a-z]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nThe first target that you run sets up $(VENV); ARGS goes to the program that a target runs.\n'

setup: $(STAMP) ## make .venv with the pinned dependencies (the others do it by themselves)

demo: $(STAMP) ## run the main job: TPC-H in, Delta out, numbers checked against DuckDB
	@$(BIN)/python examples/tpch_nightly.py $(ARGS)

test: $(STAMP) ## all tests but slow and chaos: unit, simulated, on a local Ray, on a real S3 server
	$(BIN)/python tests/side_by_side.py $(ARGS)

unit: $(STAMP) ## the tests that need no Ray, no network and no waiting
	$(BIN)/python -m pytest -m "not sim and not cluster and not e2e and not slow and not chaos" $(ARGS)

sim: $(STAMP) ## the whole control plane on a simulated clock, cluster and store (SEEDS=10000, FIRST=0)
	$(BIN)/rayorch simulate --seeds $(SEEDS) --first $(FIRST) $(ARGS)

slow: $(STAMP) ## the tests that `make test` leaves out
	$(BIN)/python -m pytest -m "slow or chaos" $(ARGS)

chaos: $(STAMP) ## hurt real clusters at random, and compare the data (RUNS=50, FIRST=0, STORE=local|s3|both)
	$(BIN)/python -m tests.chaos --runs $(RUNS) --first $(FIRST) --store $(STORE) $(ARGS)

check: $(STAMP) ## the gate before a commit: ruff, mypy strict, import-linter
	@# All of them, whatever the first one says: one look shows all that is wrong.
	@failed=; \
	for tool in "ruff check ." "ruff format --check ." "mypy" "lint-imports --no-logo"; do \
	  printf '\n%s\n' "-- $$tool"; $(BIN)/$$tool || failed="$$failed [$$tool]"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

fix: $(STAMP) ## let ruff repair and format what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) $(STAMP_BENCH) ## measure us against Ray Data, Daft, Dask, Polars, DuckDB (ARGS=--quick; else it takes hours)
	$(BIN)/rayorch bench run $(ARGS)

lock: $(STAMP) ## pin again what pyproject.toml asks for (ARGS=--upgrade for the newest versions)
	$(LOCK) $(ARGS) --extra dev --output-file constraints.txt
	@# One version serves every supported Python, so no line needs its environment marker.
	sed -i.bak 's/ ;.* \\$$/ \\/' constraints.txt
	$(LOCK) $(ARGS) --extra bench --constraint constraints.txt --output-file constraints-bench.txt
	sed -i.bak 's/ ;.* \\$$/ \\/' constraints-bench.txt
	rm -f constraints.txt.bak constraints-bench.txt.bak

clean: ## remove what the targets made, but for .venv
	rm -rf .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv too
	rm -rf $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "rayorch needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d. Name another one: make PYTHON=python3.12" % v)'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# uv takes seconds where pip takes a minute, but it does not read pip's settings: behind a mirror
# that only pip knows, pip does it. Both check every file against its pinned hash.
$(STAMP): | $(BIN)/python
	@echo "setting up $(VENV) (once; a few seconds to a minute) ..."
	@sed -n '/^uv==/,/[^\\]$$/p' constraints.txt > $(VENV)/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r constraints.txt \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@rm -f $(VENV)/.stamp-[0-9]*
	@touch $@

$(STAMP_BENCH): | $(STAMP)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r constraints-bench.txt \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints-bench.txt
	@rm -f $(VENV)/.stamp-bench-*
	@touch $@
