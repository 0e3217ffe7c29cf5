# The commands of the house. Each brings what it needs into .venv by itself.
#
#   make up       run everything on this machine and deliver a welcome notification
#   make test     every test, short chaos runs among them (ARGS='-k name' goes to pytest)
#   make check    lint, types, import contract, migrations in step, deployment checks
#   make bench    benchmarks, each beside its floor (ONLY=name for one of them)
#   make chaos    a long run under kill -9 (N=notifications, MINUTES=, SEED=, BROKER=rabbitmq)
#   make install  .venv with the runtime packages, and nothing else
#   make lock     renew both lock files (needs uv)

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
JOBS ?= 3
ONLY ?=
N ?=
MINUTES ?=
SEED ?=
CHANCE ?=
BROKER ?=

.PHONY: up install test check bench chaos lock
up: $(VENV)/.runtime
	@exec $(PY) -m config.up

install: $(VENV)/.runtime

test: $(VENV)/.dev
	@$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

chaos: $(VENV)/.dev
	@N=$(N) MINUTES=$(MINUTES) SEED=$(SEED) CHANCE=$(CHANCE) BROKER=$(BROKER) $(PY) -m tests.chaos.run

bench: $(VENV)/.dev
	@$(PY) -m bench $(ONLY)

# What `manage.py check --deploy` is asked about: a system as docker-compose.yml runs it.
PRODUCTION := DATABASE_URL=postgres://user@db/notifications BROKER_URL=redis://redis:6379/0 \
	EMAIL_URL=smtp://user:password@mail:587 ALLOWED_HOSTS=notifications.example.com \
	PUBLIC_URL=https://notifications.example.com \
	SECRET_KEY=an-example-that-is-long-enough-to-pass-the-check-0123456789

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(PY) manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(PY) manage.py check --deploy --fail-level WARNING

lock:
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(LOCK) pyproject.toml -o requirements.lock
	$(LOCK) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

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
