# make send    install the package into .venv and send the bundled photo over a noisy channel
# make test    install all extras and run the whole test suite
# make help    the rest

PYTHON   ?= python3
VENV     ?= .venv
# Further arguments for pip, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for the small CPU build of torch.
PIP_ARGS ?=
# Further arguments for pytest, e.g. TEST_ARGS="-m 'not slow' -k header".
TEST_ARGS ?=
# Test processes; each uses OMP_NUM_THREADS threads (1 unless set).
WORKERS  ?= 2

BIN   := $(VENV)/bin
PIP   := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
# Stamp files: a second make installs nothing as long as the two files on the right below have not changed.
CORE  := $(VENV)/.installed-core
ALL   := $(VENV)/.installed-all

.DEFAULT_GOAL := help
.PHONY: help send install test check results format clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 10
	@echo "Variables: PYTHON=$(PYTHON) VENV=$(VENV) WORKERS=$(WORKERS) PIP_ARGS=... TEST_ARGS=..."
	@echo "Tests that need data sets look for them in the folder that OPENJSCC_DATA names, and are skipped without."

send: $(CORE) ## send the bundled photo over AWGN at 10 dB, write received.png
	$(BIN)/openjscc send src/openjscc/data/samples/photo.webp --channel awgn --snr 10 -o received.png -f

install: $(ALL) ## install the package with all extras and the development tools

test: $(ALL) ## run the whole test suite
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TEST_ARGS)

results: $(ALL) ## make all pages and figures again from the records in results/
	$(BIN)/python scripts/results.py

check: $(ALL) ## lint, format, types, import layers, pages and figures of the records
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	@before=$$(git diff | sha256sum); $(BIN)/python scripts/results.py; test "$$before" = "$$(git diff | sha256sum)" || \
	  { echo "error: pages or figures were not those of the records; they are now: see git diff" >&2; exit 1; }

format: $(ALL) ## put the code into the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment, caches and build products (not your runs)
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache received*.png
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is missing or older than Python 3.11"; echo "hint: name another one, e.g. make send PYTHON=python3.12"; exit 1; } >&2
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "hint: on Debian and Ubuntu the command 'apt install python3-venv' is needed first"; exit 1; } >&2

# torch goes first, by its exact version, so that the build that this machine's index offers is settled before anything else asks for it.
$(CORE): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install $(PIP_ARGS) -c constraints.txt "$(TORCH)"
	$(PIP) install $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

$(ALL): $(CORE)
	$(PIP) install $(PIP_ARGS) -c constraints.txt -e ".[all,dev]"
	@touch $@
