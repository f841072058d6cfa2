# `make` alone says what there is. PYTHON chooses the interpreter of a new environment, ARGS goes to the program that runs,
# WORKERS=0 has the tests run one after the other.

VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= auto

.PHONY: help serve test test-heavy lint format environment environment-dev clean

help:
	@echo 'presencedb: the store behind the green dot'
	@echo
	@echo '  make serve        start a node with its HTTP gateway; ends with Ctrl-C'
	@echo '  make test         check style and types, then run the tests'
	@echo '  make test-heavy   run the tests that take minutes'
	@echo '  make lint         check style and types only'
	@echo '  make format       put the source into shape'
	@echo '  make clean        remove the environment and all that was built'
	@echo
	@echo 'Each makes $(VENV) first if it is needed. More arguments go into ARGS, another interpreter into PYTHON:'
	@echo
	@echo '  make serve ARGS="--ttl 60 --http 127.0.0.1:8080"'
	@echo '  make test ARGS="tests/engine -k expiry"'
	@echo '  PYTHON=python3.12 make test'

serve: environment
	@exec $(BIN)/presencedb serve $(ARGS)

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses=4 --dist=worksteal $(ARGS)

test-heavy: environment-dev
	$(BIN)/python -m pytest -m heavy --hypothesis-profile=heavy --timeout=1800 -o faulthandler_timeout=1900 $(ARGS)

lint: environment-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: environment-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

environment:
	@.ci/environment $(VENV)

environment-dev:
	@.ci/environment $(VENV) dev

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find presencedb -name '*.so' -delete
	find . -name __pycache__ -prune -exec rm -rf {} +
