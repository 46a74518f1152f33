# `make` lists what there is. Everything is kept in this folder: Python packages in .venv, pipenv itself in .tools,
# data in instance/.

PIPENV_VERSION := 2026.10.3
CANDIDATES     := python3 python3.13 python3.12 python3.11 python3.10
ARGS           ?=

# What a person's own shell may set and what would send the packages, or the imports, somewhere else.
# A mirror of the package index is theirs to choose.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PIP_USER PIP_REQUIRE_VIRTUALENV
unexport $(filter-out PIPENV_PYPI_MIRROR,$(filter PIPENV_%,$(.VARIABLES)))

# Runs only with a Python of 3.10 or later that can make virtual environments.
SUITABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))
# Runs only inside a whole virtual environment of 3.10 or later.
HEALTHY  := import sys; sys.exit(sys.version_info < (3, 10) or sys.prefix == sys.base_prefix)

# The first suitable Python, as a full path; or fails in one line. PYTHON=... chooses another one.
find_python = for name in $(or $(PYTHON),$(CANDIDATES)); do \
		if $$name -c '$(SUITABLE)' >/dev/null 2>&1; then python=$$($$name -c 'import sys; print(sys.executable)'); break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "Ticksy needs Python 3.10 or later with its venv module; looked for: $(or $(PYTHON),$(CANDIDATES))" >&2; exit 1; \
	fi

PIPENV := PIPENV_VENV_IN_PROJECT=1 PIPENV_IGNORE_VIRTUALENVS=1 .tools/bin/python -m pipenv
TOOLS  := .tools/pipenv-$(PIPENV_VERSION)
# Written last, so an install that was interrupted is not mistaken for a finished one.
VENV   := .venv/.synced
# pip-audit, with packages of its own.
AUDIT         := .tools/audit
AUDIT_VERSION := 2.10.1
# What `make bench` measures against, and draws with.
BENCH         := .tools/bench
# There while an install runs: found at the start, it tells of one that never finished.
BEGUN  := .tools/.syncing

.DEFAULT_GOAL := help
.PHONY: help install run test fuzz browser postman test-redis audit chaos measure bench bench-short demo lint format check clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(VENV) ## Install what Pipfile.lock says into .venv

run: $(VENV) ## Run it all: database, API, worker and simulated M-PESA (Ctrl-C stops)
	@exec .venv/bin/python -m development

test: $(VENV) ## Run the tests (make test ARGS="-k orders")
	FLASK_ENV=testing .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)
	$(if $(ARGS),,FLASK_ENV=testing .venv/bin/python -m pytest -m alone)

fuzz: $(VENV) ## Thousands of requests made from the API's description, as every role; FUZZ_EXAMPLES=50 takes an hour
	FUZZ_EXAMPLES=$${FUZZ_EXAMPLES:-10} FUZZ_PHASES=examples,coverage,fuzzing,stateful FUZZ_SECONDS=3600 \
		FLASK_ENV=testing .venv/bin/python -m pytest -n 2 tests/test_fuzz.py $(ARGS)

browser: $(VENV) ## Try pages in Chromium, which is installed with apt-get where it is missing
	.venv/bin/python -m tests.browser $(ARGS)

postman: $(VENV) ## Run the Postman collection with newman against a server of its own (or POSTMAN_URL=...)
	@.venv/bin/python -m development.newman

test-redis: $(VENV) ## Several processes and a real Redis, which is installed with apt-get where it is missing
	.venv/bin/python -m tests.redis_server $(ARGS)

audit: $(VENV) ## Look up known weaknesses of the locked packages; fails where it cannot
	@[ -x $(AUDIT)/bin/pip-audit ] || .venv/bin/python -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install -q pip-audit==$(AUDIT_VERSION)
	@$(PIPENV) requirements --dev > $(AUDIT)/requirements.txt
	$(AUDIT)/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off -r $(AUDIT)/requirements.txt $(ARGS)

chaos: $(VENV) ## 2,000 purchases under faults and kills, with a referee; takes about ten minutes
	.venv/bin/python -m tests.chaos $(ARGS)

measure: $(VENV) ## Export 100,000 attendees and print time and memory
	FLASK_ENV=testing EXPORT_ROWS=100000 .venv/bin/python -m pytest tests/test_export_load.py -s -q $(ARGS)

bench: $(VENV) $(BENCH)/.synced ## How fast it is, in ratios to a plain Flask view; about twenty minutes on a machine left alone
	.venv/bin/python -m benchmarks $(ARGS)

bench-short: $(VENV) $(BENCH)/.synced ## The same, smaller, in about five
	.venv/bin/python -m benchmarks --short $(ARGS)

demo: $(VENV) ## Buy one ticket on the server that `make run` started
	@.venv/bin/python -m development.demo

lint: $(VENV) ## Check style and types
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m ruff check .
	.venv/bin/python -m mypy

format: $(VENV) ## Rewrite the code in the common style
	.venv/bin/python -m ruff check --fix .
	.venv/bin/python -m ruff format .

check: lint test ## All that must pass before a merge: style, types, tests

clean: ## Remove what was installed and cached; the data in instance/ stays
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BENCH)/.synced: benchmarks/requirements.txt $(VENV)
	@[ -x $(BENCH)/bin/python ] || .venv/bin/python -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install -q -r $<
	@touch $@

$(TOOLS):
	@if ! .tools/bin/python -m pipenv --version 2>/dev/null | grep -qF '$(PIPENV_VERSION)'; then \
		$(find_python); \
		echo "Installing pipenv $(PIPENV_VERSION) into .tools"; \
		rm -rf .tools && "$$python" -m venv .tools && .tools/bin/python -m pip install -q pipenv==$(PIPENV_VERSION); \
	fi
	@touch $@

$(VENV): Pipfile.lock $(TOOLS)
	@if [ -e $(BEGUN) ] || ! .venv/bin/python -c '$(HEALTHY)' 2>/dev/null; then rm -rf .venv; fi
	@touch $(BEGUN)
	@if [ -e .venv ]; then \
		$(PIPENV) sync --dev; \
	else \
		$(find_python); \
		$(PIPENV) --python "$$python" sync --dev; \
	fi
	@.tools/bin/python -m pip -q --python .venv/bin/python check
	@touch $@ && rm $(BEGUN)
