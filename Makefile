# One word runs everything; `make help` lists them.
PYTHON ?= python3.11
VENV ?= .venv
DATA ?= digits
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo up check format test test-fast chaos fuzz images openapi pictures screenshots bench clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "stepsize needs Python 3.11: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# The service alone, for the demo ...
$(VENV)/.embedded: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing stepsize into $(VENV) (torch is large: this takes a few minutes once)"
	@$(PIP_INSTALL) -e '.[embedded]'
	@touch $@

# ... and everything, to work on it.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing stepsize and its development tools into $(VENV) (a few minutes once)"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.embedded

setup: $(VENV)/.dev ## a virtual environment with everything in it

demo: $(VENV)/.embedded ## a range test and a training on real data (DATA=fashion-mnist, KEEP=1)
	@$(VENV)/bin/stepsize demo --data $(DATA) $(if $(KEEP),--keep)

up: $(VENV)/.embedded ## the whole service on this machine, until Ctrl-C
	@$(VENV)/bin/stepsize up

check: $(VENV)/.dev ## lint, types, layers, architecture
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/pytest -q tests/unit/test_architecture.py

format: $(VENV)/.dev ## put every file into its form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# Two at a time. Tests of processes share theirs within a file, and wait more than they compute.
FAST = -n 2 --dist worksteal tests/unit tests/store tests/api tests/worker
PROCESSES = -n 2 --dist loadfile tests/e2e tests/browser

test: check ## every check and every test, on both databases
	@failed=0; for tier in "$(FAST)" "$(PROCESSES)"; do \
		echo "pytest $$tier"; $(VENV)/bin/pytest --durations=15 $$tier || failed=1; \
	done; exit $$failed

test-fast: $(VENV)/.dev ## the tiers that need no processes
	$(VENV)/bin/pytest $(FAST)

chaos: $(VENV)/.dev ## a thousand jobs on each database while everything breaks (JOBS=, SEED=; about an hour)
	STEPSIZE_CHAOS_JOBS=$(or $(JOBS),1000) STEPSIZE_CHAOS_SEED=$(or $(SEED),$(shell date +%s)) \
		$(VENV)/bin/pytest -v tests/e2e/chaos

fuzz: $(VENV)/.dev ## thousands of requests made from the contract and at random (CASES= of each, SEED=)
	STEPSIZE_FUZZ_CASES=$(or $(CASES),500) STEPSIZE_FUZZ_SEED=$(or $(SEED),$(shell date +%s)) \
		$(VENV)/bin/pytest -v tests/api/test_contract.py tests/api/test_fuzz.py

images: $(VENV)/.dev ## build the images without an engine and run them (root, buildah, debootstrap; minutes)
	STEPSIZE_TEST_IMAGES=1 $(VENV)/bin/pytest -v tests/e2e/test_images.py

openapi: $(VENV)/.dev ## openapi.json, from the routes
	$(VENV)/bin/python docs/make_openapi.py

pictures: $(VENV)/.dev ## docs/schedules.md and its pictures, from the policies
	$(VENV)/bin/python docs/make_schedules.py

screenshots: $(VENV)/.dev ## every page of the dashboard in docs/dashboard, both themes (needs chromium)
	$(VENV)/bin/python docs/make_screenshots.py

# ... and the finders that are compared with. What fastai asks for would bring another torch.
$(VENV)/.bench: $(VENV)/.dev
	@$(PIP_INSTALL) -e '.[bench]'
	@$(PIP_INSTALL) --no-deps fastai==2.8.12
	@touch $@

bench: $(VENV)/.bench ## the tables of the documents, measured on this machine (hours; each script has --help)
	$(VENV)/bin/python benchmarks/engine_speed.py
	$(VENV)/bin/python benchmarks/engine_speed.py --precision bf16
	$(VENV)/bin/python benchmarks/engine_speed.py --mode epoch
	$(VENV)/bin/python benchmarks/limits.py
	$(VENV)/bin/python benchmarks/recording_cost.py
	$(VENV)/bin/python benchmarks/bookkeeping.py
	$(VENV)/bin/python benchmarks/bookkeeping.py --service
	$(VENV)/bin/python benchmarks/api_load.py --page
	$(VENV)/bin/python benchmarks/client_series.py
	$(VENV)/bin/python benchmarks/series_store.py $(if $(MLFLOW),--mlflow-python $(MLFLOW))
	$(VENV)/bin/python benchmarks/chart_libraries.py
	$(VENV)/bin/python benchmarks/dashboard_pages.py $(if $(MLFLOW),--mlflow-python $(MLFLOW))
	$(VENV)/bin/python benchmarks/populations.py
	$(VENV)/bin/python benchmarks/waiting_threads.py
	$(VENV)/bin/python benchmarks/compat_parity.py
	$(VENV)/bin/python benchmarks/check_agreement.py
	$(VENV)/bin/python benchmarks/suggestion_quality.py measure
	$(VENV)/bin/python benchmarks/suggestion_quality.py report
	$(VENV)/bin/python benchmarks/sweep_speed.py --page $(if $(RAY),--ray-python $(RAY))
	$(VENV)/bin/python benchmarks/cycle_end_stopping.py measure
	$(VENV)/bin/python benchmarks/cycle_end_stopping.py report
	$(VENV)/bin/python benchmarks/case_study.py measure
	$(VENV)/bin/python benchmarks/case_study.py report
	$(VENV)/bin/python benchmarks/recipe_study.py measure

clean: ## everything that can be made again
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output
