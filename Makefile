# make sweep   the pocket layer-importance study, from nothing to figure
# make test    lint, types and tests
PYTHON ?= python3
BIN := .venv/bin

.PHONY: sweep test lint bench clean

sweep: .venv/ready
	$(BIN)/python -m orchestrator.sweep layer_importance

test: lint
	$(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy orchestrator trainables datagen experiments benchmarks

bench: .venv/ready
	$(BIN)/python -m benchmarks.sweep

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo 'Making the environment in .venv: about 7 GB, some minutes'
	$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready

clean:
	rm -rf .venv
