# Each command brings what it needs into .venv by itself. `make` alone lists them.

.DEFAULT_GOAL := help

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --use-pep517 --require-hashes
UV ?= uv
LOCK := $(UV) pip compile --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-header --quiet

# Tests and benchmarks start hundreds of processes: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

ARGS ?=
# Test processes at once: most tests wait for processes of their own.
JOBS ?= 4
# 1: the longest tests try all they can, not what shows each kind.
THOROUGH ?=
ONLY ?=
# Rounds of each benchmark that count; 3 if empty.
ROUNDS ?=
N ?=
MINUTES ?=
SEED ?=
CHANCE ?=
BROKER ?=

.PHONY: help up install install-dev test test-unit coverage check docs screenshots format bench chaos lock

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(VENV)/.runtime ## run everything on this machine and deliver a welcome notification
	@exec $(PY) -m config.up

install: $(VENV)/.runtime ## make .venv with the runtime packages, and nothing else

install-dev: $(VENV)/.dev ## make .venv with the packages of tests and checks, too

test: $(VENV)/.dev ## run every test, short chaos runs among them (ARGS='-k name' goes to pytest; THOROUGH=1)
	@THOROUGH=$(THOROUGH) $(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-unit: $(VENV)/.dev ## run the fast tests, without servers (ARGS=)
	@$(PY) -m pytest -n 2 --no-servers -m "not slow" tests/unit $(ARGS)

coverage: $(VENV)/.dev ## run the fast tests and print what they cover; fails below the floor in pyproject.toml
	@$(PY) -m coverage run -m pytest -q --no-servers -m "not slow" tests/unit
	@$(PY) -m coverage report

format: $(VENV)/.dev ## format the code, and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: $(VENV)/.dev ## run long under kill -9 and outages (N=notifications, MINUTES=, SEED=, BROKER=rabbitmq)
	@N=$(N) MINUTES=$(MINUTES) SEED=$(SEED) CHANCE=$(CHANCE) BROKER=$(BROKER) $(PY) -m tests.chaos.run

bench: $(VENV)/.dev ## run the benchmarks, each beside its floor (ONLY='name high_behind_*', ROUNDS=1)
	@ROUNDS=$(ROUNDS) $(PY) -m bench $(foreach name,$(ONLY),'$(name)')

# What `manage.py check --deploy` is asked about: a system as docker-compose.yml runs it.
PRODUCTION := DATABASE_URL=postgres://user@db/notifications BROKER_URL=redis://redis:6379/0 \
	EMAIL_URL=smtp://user:password@mail:587 EMAIL_FROM=notify@example.com ALLOWED_HOSTS=notifications.example.com \
	PUBLIC_URL=https://notifications.example.com PROXY_SSL_HEADER=X-Forwarded-Proto \
	SECRET_KEY=an-example-that-is-long-enough-to-pass-the-check-0123456789 \
	METRICS_TOKEN=an-example

check: $(VENV)/.dev ## lint, types, import contract, dead names, licences, migrations in step, deployment checks, known weaknesses
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(PY) -m tests.structure
	$(PY) -m tests.outgoing
	$(PY) -m tests.licences
	$(BIN)/deptry .
	$(PY) manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(PY) manage.py check --deploy --fail-level WARNING
	$(PY) -m tests.audit

docs: $(VENV)/.dev ## build the site of docs/ into var/site; a broken link fails
	@$(PY) -m sphinx -W --keep-going -q -b html docs var/site
	@echo "Read it: $(PY) -m http.server -d var/site -b 127.0.0.1 8001, then http://127.0.0.1:8001/"

screenshots: $(VENV)/.dev ## take the pictures of docs/images anew, from the browser tests of the flows
	@DOCS_IMAGES=docs/images $(PY) -m pytest -q tests/browser/test_flows.py

lock: ## renew both lock files (needs uv)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(LOCK) --all-extras pyproject.toml -o requirements.lock
	$(LOCK) --all-extras pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

# A stamp tells what .venv has, so that the second start does not ask pip.
$(VENV)/.runtime: deploy/make_venv.sh requirements.lock
	@sh deploy/make_venv.sh $(VENV) $(PYTHON)
	@echo "Installing requirements.lock into $(VENV) (about a minute, only when it changes)"
	@$(PIP) -r requirements.lock
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing requirements-dev.lock into $(VENV)"
	@$(PIP) -r requirements-dev.lock
	@touch $@
