# make sweep   the pocket layer-importance study, from nothing to figure
# make test    style, spelling, types and tests
# make bench   augmentations, input, training step, drawing and cohorts beside what a user would run, and how it grows; tables
# make faults  kills, full disks and absent servers, and what they cost: a quarter of an hour; table in benchmarks/
# make scale   5,000 trials that do nothing, through plan, Ray, MLflow and report; table in benchmarks/
PYTHON ?= python3
BIN := .venv/bin

.PHONY: sweep test lint bench faults scale clean

sweep: .venv/ready
	$(BIN)/python -m orchestrator.sweep layer_importance

test: lint
	$(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy orchestrator trainables datagen experiments benchmarks tests

bench: .venv/ready
	$(BIN)/python -m benchmarks.tables augmentations input train_step generate cohorts growth

faults: .venv/ready
	$(BIN)/python -m benchmarks.tables faults

scale: .venv/ready
	$(BIN)/python -m benchmarks.tables scale

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@echo 'Making the environment in .venv: about 7 GB, some minutes'
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	@echo 'Compiling what was installed'
	@# On all cores, where pip takes one: 34 s for 63 on two. A few files of packages are no Python of this version.
	@$(BIN)/python -m compileall -q -j 0 .venv/lib > .venv/compiled.log 2>&1 || true
	touch .venv/ready

clean:
	rm -rf .venv
