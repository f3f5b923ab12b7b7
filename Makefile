# Everything a newcomer types. Python 3.11 or 3.12 and make are all it needs; set-up happens by itself.
unexport PYTHONDONTWRITEBYTECODE
unexport PYTHONPATH
export DAGSTER_DISABLE_TELEMETRY := yes
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export GX_ANALYTICS_ENABLED := false
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false

PYTHON ?= $(shell command -v python3.11 >/dev/null 2>&1 && python3.11 -c '' >/dev/null 2>&1 && echo python3.11 || echo python3)
BIN := .venv/bin
SPARK_BIN := .venv-spark/bin
CONFIG := data/pipeline.yaml
OPPORTUNITIES ?= 5000
SEED ?= 7
SCORES ?= --peer-seconds 240
FORECAST ?= --opportunities 2000 --dates 13
SIZES ?= 100000
RESULTS ?= data/bench.jsonl
POLICY ?= --opportunities 8000 --seeds 401:411
REPLAY ?= --from 2025-01-01 --every 8w
WEEK_BEFORE ?= 2026-06-23
SLOW := spark or postgres or tryton or browser or slow

.PHONY: help setup setup-slow run test test-all check dagster mlflow bench bench-scores bench-forecast bench-queue bench-delivery bench-scale bench-engines bench-peers scores-page report-picture sample format clean

help: ## what there is to type
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ –/'

setup: .venv/.ready ## the environment alone

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 12)))' || { echo "Python 3.11 or 3.12 is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 6; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "python3-venv is missing; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 6; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q -j 0 sales_pipeline dagster_project
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || { echo "LightGBM cannot load (libgomp missing?); on Debian and Ubuntu: sudo apt-get install libgomp1" >&2; exit 6; }
	@touch $@

.venv-spark/.ready: requirements-spark.lock pyproject.toml
	$(PYTHON) -m venv .venv-spark
	$(SPARK_BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-spark.lock
	$(SPARK_BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.venv-tryton/.ready: requirements-tryton.lock
	$(PYTHON) -m venv .venv-tryton
	.venv-tryton/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements-tryton.lock
	@touch $@

setup-slow: .venv/.ready .venv-spark/.ready .venv-tryton/.ready ## what the slow tests need on top

data/landing/.ready: .venv/.ready
	$(BIN)/sales-pipeline simulate data/landing --opportunities $(OPPORTUNITIES) --seed $(SEED)
	@touch $@

run: data/landing/.ready ## the main job on the sample export
	$(BIN)/sales-pipeline run -c $(CONFIG)

test: .venv/.ready ## all tests but the slow tiers
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not ($(SLOW))"

test-all: setup-slow ## the slow tiers too: Spark, PostgreSQL, Tryton, browser, long runs
	$(BIN)/python -m pytest -m "($(SLOW)) and not spark"
	$(SPARK_BIN)/python -m pytest -m spark

check: .venv/.ready ## ruff, mypy, import-linter, Dagster definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	SALES_PIPELINE_CONFIG=$(CONFIG) $(BIN)/dg check defs

dagster: .venv/.ready ## the Dagster UI on http://127.0.0.1:3000
	$(BIN)/sales-pipeline dagster -c $(CONFIG)

mlflow: .venv/.ready ## the MLflow UI on http://127.0.0.1:5000
	$(BIN)/sales-pipeline mlflow -c $(CONFIG)

bench: SIZES = 20000
bench: SCORES = --worlds 1 --opportunities 4000
bench: FORECAST = --worlds 1 --opportunities 1000 --dates 6
bench: QUEUE = --owners 200 --opportunities 40000
bench: DELIVERY = --rows 100000
bench: .venv/.ready ## every benchmark once at small sizes, some half an hour; at the end what was aimed at and what was reached, earlier figures in RESULTS too
	$(BIN)/python -m tests.benchmarks.cold --results $(RESULTS)
	$(BIN)/python -m tests.benchmarks.bench --sizes 5000
	$(BIN)/python -m tests.benchmarks.scale --sizes $(SIZES) --stages all --days --peers --results $(RESULTS)
	@test ! -e .venv-spark/.ready || $(BIN)/python -m tests.benchmarks.engines --sizes $(SIZES) --results $(RESULTS)
	$(BIN)/python -m tests.benchmarks.prediction --opportunities 10000 --results $(RESULTS)
	$(BIN)/python -m tests.benchmarks.scores $(SCORES)
	$(BIN)/python -m tests.benchmarks.forecast $(FORECAST)
	$(BIN)/python -m tests.benchmarks.team --opportunities 2000 --seeds 11
	$(BIN)/python -m tests.benchmarks.queue_scale $(QUEUE)
	$(BIN)/python -m tests.benchmarks.kits $(DELIVERY)
	$(BIN)/python -m tests.benchmarks.postgres $(DELIVERY)
	$(BIN)/python -m tests.benchmarks.aims $(RESULTS)

bench-delivery: .venv/.ready ## kits and PostgreSQL at 1,000,000 rows: time, memory, the delta of an unchanged day
	$(BIN)/python -m tests.benchmarks.kits $(DELIVERY)
	$(BIN)/python -m tests.benchmarks.postgres $(DELIVERY)

bench-scale: .venv/.ready ## from raw files to features at 100,000 opportunities (SIZES=...), against a floor and pandas; an unchanged and a new day; what was aimed at
	$(BIN)/python -m tests.benchmarks.scale --sizes $(SIZES) --days --peers --results $(RESULTS)
	$(BIN)/python -m tests.benchmarks.aims $(RESULTS)

bench-engines: .venv/.ready .venv-spark/.ready ## Spark on this machine against DuckDB, CPU, at SIZES opportunities
	$(BIN)/python -m tests.benchmarks.engines --sizes $(SIZES) --results $(RESULTS)
	$(BIN)/python -m tests.benchmarks.aims $(RESULTS)

bench-queue: .venv/.ready ## how long the queue of 1,000 owners takes, and how near it comes to the bound
	$(BIN)/python -m tests.benchmarks.queue_scale $(QUEUE)

bench-scores: .venv/.ready ## how right the scores are, beside the truth and other models
	$(BIN)/python -m tests.benchmarks.scores $(SCORES)

bench-forecast: .venv/.ready ## how right past forecasts of revenue were, beside two simple ones
	$(BIN)/python -m tests.benchmarks.forecast $(FORECAST)

.venv-peers/.ready: tests/benchmarks/requirements-peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --no-deps -r tests/benchmarks/requirements-peers.txt
	@touch $@

bench-peers: .venv-peers/.ready ## AutoGluon, in an environment of its own, to compare with

scores-page: data/landing/.ready ## run, replay, and fill docs/scores.md and its pictures with what came of it
	$(BIN)/sales-pipeline run -c $(CONFIG)
	$(BIN)/sales-pipeline replay -c $(CONFIG) $(REPLAY)
	$(BIN)/python -m tests.support.scores_page -c $(CONFIG)

report-picture: data/landing/.ready ## a run a week before the newest day, a replay, the newest day, and README's picture of its report (needs Chromium)
	$(BIN)/sales-pipeline run -c $(CONFIG) --as-of $(WEEK_BEFORE)
	$(BIN)/sales-pipeline replay -c $(CONFIG) $(REPLAY)
	$(BIN)/sales-pipeline run -c $(CONFIG)
	$(BIN)/python -m tests.support.report_picture -c $(CONFIG)

format: .venv/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## forget the sample's lake and exports
	rm -rf data/lake data/landing
