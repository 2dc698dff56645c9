# Two commands do all the set-up: `make demo` and `make test`. They need Python 3.11 or later and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
COMPILED := build/compiled

.PHONY: demo test lint dev compiled bench up topics seed e2e chaos
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

dev: $(STAMP)  ## the environment, with git hooks
	$(BIN)/pre-commit install

demo: $(STAMP)  ## make a tape, replay it twice, show the proof and the tearsheet
	$(BIN)/alphapanda demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint  ## everything that must hold
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

compiled: $(STAMP)  ## a wheel whose hot rooms are compiled (a minute or two; needs a C compiler and Python's headers)
	rm -rf $(COMPILED)
	$(BIN)/python -m hatchling build --target sdist --directory $(COMPILED)
	CFLAGS="$(CFLAGS) -ffp-contract=off" HATCH_BUILD_HOOK_ENABLE_MYPYC=true \
		$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--wheel-dir $(COMPILED) $(COMPILED)/*.tar.gz
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $(COMPILED)/site $(COMPILED)/*.whl

bench: $(STAMP)  ## the speed figures of docs/figures.md
	$(BIN)/python -m tests.bench.run
	$(MAKE) compiled
	PYTHONSAFEPATH=1 PYTHONPATH=$(COMPILED)/site:. $(BIN)/python -m tests.bench.run
	$(BIN)/python -m tests.bench.orders
	$(BIN)/python -m tests.bench.log
	$(BIN)/python -m tests.bench.latency
	$(BIN)/python -m tests.bench.sweep

up:  ## broker, its console, Valkey and Postgres, once they are healthy (needs Docker)
	docker compose up --detach --wait

topics: $(STAMP)  ## the topics, on the broker that the settings name
	$(BIN)/alphapanda topics create

seed: $(STAMP)  ## the demo tape into topics of its own (prefix demo.), as fast as it goes
	test -d data/tapes/demo || $(BIN)/alphapanda tape make data/tapes/demo
	$(BIN)/alphapanda topics create --prefix demo. --old-times
	$(BIN)/alphapanda run market_feed replays/demo.toml --prefix demo. --speed 0 --until-end

e2e: $(STAMP)  ## 200,000 ticks through six processes, replays and one process: the same bytes, on the broker that the settings name
	ALPHAPANDA_E2E_TICKS=200000 $(BIN)/pytest --no-cov -s --durations=0 tests/e2e

chaos: $(STAMP)  ## a session of processes that are killed, stopped, doubled and robbed, held against the replay of its tape
	$(BIN)/python -m tests.chaos.run
