"""Scoring against bare prediction by the same model: rows per CPU second and peak memory, at two sizes, by family.

    python -m tests.benchmarks.prediction [--opportunities 20000] [--sizes 50000,200000] [--seed 7] [--keep FOLDER] [--results FILE]

Models are trained on a simulated world by a fixed recipe; its open opportunities are repeated under new ids up to the rows asked for. Each line is a process
of its own, timed from the features at rest to its result at rest, imports apart:

- *scoring* is what a run does: probability with interval, dates, amount with interval, reasons, abstention (`models.predict.write_predictions`).
- *bare prediction* is what one would write with scikit-learn: features read into a frame, a pipeline of imputation with indicators, scaling and one-hot
  columns, the same family (trees of the same number, size and rate), `predict_proba`, probabilities written. It knows no attribute pivot, dates, amounts or reasons.
- *probabilities alone* is the part of scoring that bare prediction does too: our batches, encoding, estimator and calibrator, written.
- *encoded rows alone* is the estimator on a matrix that is encoded already: nothing read, nothing written.

Belongs here: the measurement. Does not belong here: how right the predictions are (`scores`).
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.aims import BARE, SCORING
from tests.benchmarks.bench import CONFIG, measured
from tests.benchmarks.lines import Line, Results, machine, working_folder

if TYPE_CHECKING:
    from sales_pipeline.features.build import FeatureSet

OURS, ENCODED = "probabilities alone", "encoded rows alone"
WAYS = (SCORING, BARE, OURS, ENCODED)
FAMILIES: dict[str, dict[str, Any]] = {
    "gradient_boosting": {"start": "base", "leaves": 7, "rate": 0.05},
    "logistic_regression": {"C": 0.01},
}
"""Families and settings of the search. The first stands for the aim: contributions of trees cost most."""
TAUGHT_ROWS = 30_000


def make_world(folder: Path) -> None:
    """Features of the folder's simulated export, a bundle and a scikit-learn pipeline per family, and where they are (`world.pickle`)."""
    from dagster_project.resources import open_engine
    from sales_pipeline.clean.prepare import prepare
    from sales_pipeline.domain.time import AsOf
    from sales_pipeline.features.build import build
    from sales_pipeline.features.leaks import leak_ledger
    from sales_pipeline.ingest.exports import collect, newest_recorded_instant, visible
    from sales_pipeline.lake.layout import Lake
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.matrix import align, load_matrix
    from sales_pipeline.models.predict import needed_columns
    from sales_pipeline.models.store import NullRecorder
    from sales_pipeline.models.train import train
    from sales_pipeline.models.win import Recipe
    from sales_pipeline.settings import load_settings

    settings = load_settings(folder / "pipeline.yaml")
    lake = Lake(settings.lake)
    with open_engine(settings) as engine:
        exports = collect(lake, settings.exports, settings.mapping, engine)
        as_of = AsOf.end_of_day(AsOf(newest_recorded_instant(exports)).day())
        canonical = prepare(lake, visible(exports, as_of), settings.mapping, settings.clean, engine)
        training, scoring = (
            build(lake, canonical, as_of, purpose=purpose, params=settings.features, engine=engine)
            for purpose in ("training", "scoring")
        )
        ledger = leak_ledger(lake, canonical, training, settings.mapping, engine)
    models = {}
    for family, setting in FAMILIES.items():
        recipe = Recipe(family, setting, ("ridge_regression", {"alpha": 1.0}))
        trained = train(
            training, ledger, settings.training, models=folder / "models", recorder=NullRecorder(), recipe=recipe
        )
        bundle = read_bundle(trained.path)
        assert bundle.win is not None
        columns = [column for column in needed_columns(bundle) if ":" not in column.name]
        matrix = align(load_matrix(training, [column.name for column in columns]), columns)
        won = matrix.keys["is_won"].to_numpy()
        pipeline = _pipeline(family, bundle.win.estimator, columns)
        rows = (won == won).nonzero()[0][:TAUGHT_ROWS]
        pipeline.fit(matrix.frame.iloc[rows], won[rows])
        models[family] = (trained.path, pipeline, [(column.name, column.kind) for column in columns])
    (folder / "world.pickle").write_bytes(pickle.dumps((scoring, models)))


def _pipeline(family: str, estimator: Any, columns: Any) -> Any:
    """What one would write by hand: the same family, of the bundle's size."""
    from lightgbm import LGBMClassifier
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [column.name for column in columns if column.kind != "category"]
    categories = [column.name for column in columns if column.kind == "category"]
    encoding = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
            ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=12), categories),
        ]
    )
    if family == "gradient_boosting":
        setting = FAMILIES[family]
        model: Any = LGBMClassifier(
            n_estimators=estimator._booster.num_trees(),
            num_leaves=setting["leaves"],
            learning_rate=setting["rate"],
            n_jobs=1,
            verbose=-1,
        )
    else:
        model = LogisticRegression(**FAMILIES[family], max_iter=1000)
    return make_pipeline(encoding, model)


def repeat_rows(folder: Path, rows: int) -> None:
    """The world's open opportunities under new ids, at least so many, as a feature set of its own (`rows.pickle`)."""
    from sqlglot import exp

    from sales_pipeline.contracts.canonical import OPPORTUNITY_ATTRIBUTES
    from sales_pipeline.contracts.internal import SPINE
    from sales_pipeline.engines.duckdb import DuckDBEngine
    from sales_pipeline.features.catalogue import FEATURE_TABLE

    scoring, _ = _world(folder)
    times = -(-rows // scoring.spine.rows)
    tables = {"spine": SPINE, "features": FEATURE_TABLE, "attributes": OPPORTUNITY_ATTRIBUTES}
    refs: dict[str, Any] = {}
    with DuckDBEngine(memory_limit="1GB", spill_directory=folder / "spill") as engine:
        for name, contract in tables.items():
            copies = ", ".join(f"({number})" for number in range(times))
            text = f"SELECT t.* REPLACE (t.opportunity_id || '-' || c.number AS opportunity_id) FROM t CROSS JOIN (VALUES {copies}) AS c(number)"
            tree = exp.maybe_parse(text, dialect="duckdb")
            assert isinstance(tree, exp.Query)
            output = folder / f"repeated_{rows}" / f"{name}.parquet"
            refs[name] = engine.run(tree, {"t": getattr(scoring, name)}, output, contract=contract)
    (folder / f"repeated_{rows}" / "rows.pickle").write_bytes(pickle.dumps(replace(scoring, **refs)))


def _world(folder: Path) -> tuple[FeatureSet, dict[str, Any]]:
    """What `make_world` made."""
    found: tuple[FeatureSet, dict[str, Any]] = pickle.loads((folder / "world.pickle").read_bytes())
    return found


def predict_one_way(folder: Path, rows: int, family: str, way: str) -> None:
    """One measured process: leaves rows, and the CPU and wall seconds from the features at rest to the result at rest, in `parts.json`."""
    features: FeatureSet = pickle.loads((folder / f"repeated_{rows}" / "rows.pickle").read_bytes())
    path, pipeline, columns = _world(folder)[1][family]
    run = {SCORING: _scoring, BARE: _bare, OURS: _ours, ENCODED: _encoded}[way](
        features, path, pipeline, columns, folder / "out"
    )
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    spent = {"seconds": time.process_time() - cpu, "wall": time.perf_counter() - wall, "rows": features.spine.rows}
    (folder / "parts.json").write_text(json.dumps(spent | {"start": cpu}), encoding="utf-8")


def _scoring(features: FeatureSet, path: Path, pipeline: Any, columns: Any, out: Path) -> Callable[[], Any]:
    from sales_pipeline.engines.duckdb import DuckDBEngine
    from sales_pipeline.models.predict import write_predictions

    engine = DuckDBEngine(memory_limit="1GB", spill_directory=out)
    return lambda: write_predictions(path, features, out, engine)


def _bare(features: FeatureSet, path: Path, pipeline: Any, columns: Any, out: Path) -> Callable[[], Any]:
    import pandas as pd

    def run() -> None:
        frame = pd.read_parquet(features.features.path, columns=["opportunity_id", *(name for name, _ in columns)])
        for name, kind in columns:
            frame[name] = frame[name].astype(object if kind == "category" else "float64")
            if kind == "category":
                frame[name] = frame[name].where(frame[name].notna(), None)
        probability = pipeline.predict_proba(frame.drop(columns="opportunity_id"))[:, 1]
        out.mkdir(exist_ok=True)
        pd.DataFrame({"opportunity_id": frame["opportunity_id"], "probability": probability}).to_parquet(
            out / "p.parquet"
        )

    return run


def _ours(features: FeatureSet, path: Path, pipeline: Any, columns: Any, out: Path) -> Callable[[], Any]:
    import pyarrow as pa

    from sales_pipeline.contracts.model import Column, Table
    from sales_pipeline.engines.duckdb import DuckDBEngine
    from sales_pipeline.engines.machine import one_core
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.matrix import joined_matrix
    from sales_pipeline.models.predict import win_probabilities
    from sales_pipeline.models.scoring_rows import CUT, found_columns, joined, scoring_inputs

    key = tuple(Column(name, kind, name, required=True) for name, kind in (("opportunity_id", "string"), ("as_of", "timestamp")))  # fmt: skip
    table = Table("probabilities", "one row per row", ("opportunity_id", "as_of"), (*key, Column("p", "float64", "p", null_means="none")))  # fmt: skip
    engine = DuckDBEngine(memory_limit="1GB", spill_directory=out)

    @one_core()
    def run() -> None:
        bundle = read_bundle(path)
        win = bundle.win
        assert win is not None
        wanted = win.encoding.columns
        found = found_columns(features, [column.name for column in wanted], engine)

        def batch(part: pa.Table, _: Any) -> pa.Table:
            p = win_probabilities(win, joined_matrix(part, found, wanted))
            return part.select(["opportunity_id", "as_of"]).append_column("p", pa.array(p))

        engine.apply_batches(joined(found), scoring_inputs(features), batch, None, out / "p.parquet", table, cut=CUT)

    return run


def _encoded(features: FeatureSet, path: Path, pipeline: Any, columns: Any, out: Path) -> Callable[[], Any]:
    from sales_pipeline.engines.machine import one_core
    from sales_pipeline.models.bundle import read_bundle
    from sales_pipeline.models.matrix import align, load_matrix

    win = read_bundle(path).win
    assert win is not None
    wanted = win.encoding.columns
    rows = win.encoding.encode(align(load_matrix(features, [column.name for column in wanted]), wanted))
    return one_core()(lambda: win.estimator.score(rows))


def _python(folder: Path, *arguments: str) -> Any:
    return measured([sys.executable, "-m", "tests.benchmarks.prediction", *arguments], folder)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opportunities", type=int, default=20_000)
    parser.add_argument("--sizes", default="50000,200000")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--step", help="of a measured process")
    given = parser.parse_args()
    if given.step:
        folder, (step, *rest) = Path(os.environ["BENCH_FOLDER"]), json.loads(given.step)
        {"world": make_world, "repeat": repeat_rows, "predict": predict_one_way}[step](folder, *rest)
        return
    results = Results(given.results)
    with working_folder(given.keep, "prediction") as folder:
        if not (folder / "world.pickle").exists():
            command = str(Path(sys.executable).parent / "sales-pipeline")
            size, seed = str(given.opportunities), str(given.seed)
            measured([command, "simulate", str(folder), "--opportunities", size, "--seed", seed], folder)
            (folder / "pipeline.yaml").write_text(CONFIG, encoding="utf-8")
            _python(folder, "--step", json.dumps(["world"]))
        print(f"{'rows':>9}  {'':<42}{'rows/CPU s':>11}{'against bare':>13}{'peak MB':>9}", flush=True)
        for size in (int(part) for part in given.sizes.split(",")):
            _python(folder, "--step", json.dumps(["repeat", size]))
            for family in FAMILIES:
                _measure(results, folder, size, family)


def _measure(results: Results, folder: Path, size: int, family: str) -> None:
    found: dict[str, tuple[float, Line]] = {}
    for way in WAYS:
        load = os.getloadavg()[0]
        figure = _python(folder, "--step", json.dumps(["predict", size, family, way]))
        parts = json.loads((folder / "parts.json").read_text(encoding="utf-8"))
        is_aim = family == next(iter(FAMILIES)) and way in (SCORING, BARE)
        stage = way if is_aim else f"{way}, {family}"
        line = Line(int(parts["rows"]), stage, figure.wall, figure.cpu, figure.peak_mb, parts=parts, machine=machine(), load=load)  # fmt: skip
        found[way] = (parts["rows"] / max(parts["seconds"], 1e-9), line)
    for way, (speed, line) in found.items():
        results.keep(line)
        print(
            f"{line.size:>9,}  {way + ', ' + family:<42}{speed:>11,.0f}{speed / found[BARE][0]:>13.2f}{line.peak_mb:>9.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
