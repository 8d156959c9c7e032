# `make search` and `make test` each do everything on a machine that has Python 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# uv compiles no bytecode. Where the environment forbids Python to keep it too, as many images do,
# each process of the tests would compile torch, Ray and MLflow anew: 3 to 5 s of CPU time each.
export PYTHONDONTWRITEBYTECODE =

.PHONY: setup search test test-all check format docs gallery messages bench soak wheel lock clean

setup: $(READY)

$(READY): requirements.lock requirements-no-deps.lock requirements-vision.lock pyproject.toml deploy/install.py
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "hpsearch needs Python 3.11 or newer"'
	$(PYTHON) -m venv $(VENV)
	$(PYTHON) deploy/install.py $(VENV)
	touch $(READY)

search: setup
	$(BIN)/hpsearch run search_spaces/digits_mlp.yaml

# Two files at once: much of their time they wait for Ray, MLflow and timers.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# All but the proofs that take long, which test-all has too.
test: setup
	$(PYTEST) -m 'not long and not soak'

test-all: setup
	$(PYTEST)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m deploy.checks

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The site, in build/docs; docs/components.md is the page that is read in the repository.
docs: setup
	$(BIN)/hpsearch components --markdown > docs/components.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --config-file docs/site/mkdocs.yml

# What the specs of search_spaces/ find, and what the notebook shows: half an hour.
gallery: setup
	$(BIN)/python -m benchmarks.gallery
	$(BIN)/python -m docs.site.notebook

# All that hpsearch says to people, to be read from top to bottom.
messages: setup
	$(BIN)/python -m tests.support.messages

bench: setup
	$(BIN)/python -m benchmarks.startup
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.samplers
	$(BIN)/python -m benchmarks.quality
	$(BIN)/python -m benchmarks.fusion
	$(BIN)/python -m benchmarks.fused_search
	$(BIN)/python -m benchmarks.shared_order
	$(BIN)/python -m benchmarks.batch_parts
	$(BIN)/python -m benchmarks.width_padding
	$(BIN)/python -m benchmarks.recurrent
	$(BIN)/python -m benchmarks.activations
	$(BIN)/python -m benchmarks.proposals
	$(BIN)/python -m benchmarks.record
	$(BIN)/python -m benchmarks.driver
	PYTHONPATH=.venv/vision $(BIN)/python -m benchmarks.loading
	$(BIN)/python -m benchmarks.overhead
	$(BIN)/python -m benchmarks.diagnosis
	$(BIN)/python -m benchmarks.simulation
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.lr_range
	$(BIN)/python -m benchmarks.resume
	$(BIN)/python -m benchmarks.service
	$(BIN)/python -m benchmarks.hostile
	$(BIN)/python -m benchmarks.studies

# Searches that are broken again and again, for over an hour.
soak: setup
	$(BIN)/pytest tests/soak/searches.py tests/soak/team.py tests/soak/backup.py tests/soak/service.py tests/soak/examples.py \
		tests/soak/any_spec.py tests/soak/any_record.py tests/soak/lanes.py
	$(BIN)/pytest -m soak tests

wheel: setup
	rm -rf build/lib build/bdist.*
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

# A fresh resolution of pyproject's ranges; torch stays at the release that has a small CPU build.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check torch==2.13.0 'setuptools>=77'
	build/lock/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
	build/lock/bin/pip freeze --all --exclude-editable --exclude pip \
		| sed 's/^torch==.*/torch==2.13.0/; /^nvidia-/d' > requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
