"""What our scores are compared with: the base rate, the stage's rate, the CRM's own probability, logistic regression, LightGBM and AutoGluon.

All learn from the same rows: the landmark rows of opportunities that closed before the as-of, with every column the leak ledger lets through (so they
profit from it too). Logistic regression and LightGBM run with their libraries' defaults.

Belongs here: fitting others. Does not belong here: our own model, judging.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.lake.tables import read_table, write_table
from sales_pipeline.models.matrix import align, load_matrix
from tests.benchmarks.judging import Floats, open_rows
from tests.benchmarks.worlds import World

ROOT = Path(__file__).parents[2]
PEER_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
REQUIREMENTS = Path(__file__).with_name("requirements-peers.txt")
NOT_INSTALLED = "not installed (make bench-peers installs it)"
MAX_LEVELS = 50
MIN_LEVEL_ROWS = 20


@dataclass(frozen=True)
class Peer:
    """One competitor's probabilities, in the order of its test rows; `probability` is None where it could not run, and `note` says why.

    `wall` and `cpu` are seconds.
    """

    name: str
    probability: Floats | None
    wall: float = 0.0
    cpu: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Rows:
    """Rows everyone learns from and is judged on: raw columns (NaN and None: missing), outcomes, and what rows belong together by.

    `stage` is that of the training rows; None for tables without one.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    won: Floats
    group: npt.NDArray[Any]
    test_group: npt.NDArray[Any]
    stage: npt.NDArray[Any] | None = None


def rows_of(world: World) -> Rows:
    """The world's closed landmark rows, and its open opportunities in the order of `judging.open_rows`."""
    used = [row["column"] for row in read_table(world.ledger).to_pylist() if row["is_used"]]
    everything = load_matrix(world.features_training, used)
    won = everything.keys["is_won"].to_numpy(dtype=np.float64)
    closed = np.flatnonzero(np.isfinite(won)).astype(np.int64)
    train = everything.take(closed)
    scoring = align(load_matrix(world.features_scoring, used), train.columns)
    judged = open_rows(world).index
    place = pd.Index(scoring.keys["opportunity_id"]).get_indexer(judged).astype(np.int64)
    return Rows(
        train=train.frame,
        test=scoring.take(place).frame,
        won=won[closed],
        group=train.keys["opportunity_id"].to_numpy(dtype=object),
        test_group=judged.to_numpy(dtype=object),
        stage=train.keys["stage"].to_numpy(dtype=object),
    )


def simple_peers(world: World, rows: Rows) -> list[Peer]:
    """The base rate and the stage's rate of the training rows, and what the CRM itself says (the base rate where it says nothing)."""
    base = float(rows.won.mean())
    told = open_rows(world)
    by_stage = pd.Series(rows.won).groupby(rows.stage).mean()
    stage = told["stage"].map(by_stage).to_numpy(dtype=np.float64)
    crm = told["crm_probability"].to_numpy(dtype=np.float64)
    return [
        Peer("base rate", np.full(len(told), base)),
        Peer("stage rate", np.where(np.isnan(stage), base, stage)),
        Peer("CRM probability", np.where(np.isnan(crm), base, crm)),
    ]


def library_peers(rows: Rows) -> list[Peer]:
    """Logistic regression (medians, standardised, one-hot) and LightGBM (one-hot), each with its library's default settings."""
    from lightgbm import LGBMClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = one_hot(rows.train, rows.test)
    models = {
        "logistic regression": make_pipeline(
            SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression(max_iter=2000)
        ),
        "LightGBM defaults": LGBMClassifier(n_jobs=2, verbosity=-1, random_state=0),
    }
    found = []
    for name, model in models.items():
        wall, cpu = time.perf_counter(), time.process_time()
        model.fit(train, rows.won)
        p = np.asarray(model.predict_proba(test)[:, 1], dtype=np.float64)
        found.append(Peer(name, p, time.perf_counter() - wall, time.process_time() - cpu))
    return found


def one_hot(train: pd.DataFrame, test: pd.DataFrame) -> tuple[Floats, Floats]:
    """Numbers as they are (NaN: missing), a column per frequent value of a category; columns empty or constant in training are left out."""
    parts: list[tuple[Floats, Floats]] = []
    for name in train:
        if train[name].dtype == np.float64:
            if train[name].nunique(dropna=False) > 1 and train[name].notna().any():
                parts.append((train[name].to_numpy()[:, None], test[name].to_numpy(dtype=np.float64)[:, None]))
            continue
        counts = train[name].value_counts()
        levels = [level for level, count in counts.items() if count >= MIN_LEVEL_ROWS][:MAX_LEVELS]
        first, second = (
            pd.Categorical(frame[name], categories=levels).codes[:, None] == np.arange(len(levels))[None, :]
            for frame in (train, test)
        )
        parts.append((first.astype(np.float64), second.astype(np.float64)))
    return np.hstack([part for part, _ in parts]), np.hstack([part for _, part in parts])


def autogluon(rows: Rows, keep: Path, seconds: float) -> Peer:
    """AutoGluon `best_quality` within a time limit, in its own environment; what it predicted for the same rows is kept and used again."""
    if not PEER_PYTHON.is_file():
        return Peer("AutoGluon", None, note=NOT_INSTALLED)
    train = _table(rows.train, {"group": rows.group, "label": rows.won.astype(np.int64)})
    test = _table(rows.test, {"group": rows.test_group})
    script = Path(__file__).with_name("peer_autogluon.py")
    new = keep / "_new"
    digests = [write_table(table, new / f"{name}.parquet").sha256 for name, table in (("train", train), ("test", test))]
    folder = keep / digest_of(digests, seconds, *(path.read_text(encoding="utf-8") for path in (REQUIREMENTS, script)))
    is_known = (folder / "facts.json").is_file()
    if is_known:
        shutil.rmtree(new)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            ended = subprocess.run(
                [str(PEER_PYTHON), str(script), str(folder), "--seconds", str(seconds), "--group", "group"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
                check=False,
            )
        if ended.returncode:
            sys.stderr.write((folder / "log.txt").read_text(encoding="utf-8")[-3000:])
            return Peer("AutoGluon", None, note=f"failed; see {folder / 'log.txt'}")
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    p = read_table(folder / "predicted.parquet").column("probability").to_numpy()
    note = f"{facts['version']}, best of {facts['models']} models{', from an earlier look' if is_known else ''}"
    return Peer(
        "AutoGluon", np.asarray(p, dtype=np.float64), float(facts["seconds"]), float(facts["cpu_seconds"]), note
    )


def _table(frame: pd.DataFrame, more: dict[str, npt.NDArray[Any]]) -> pa.Table:
    """A plain table, without the metadata of this environment's pandas."""
    columns = {str(name): frame[name].to_numpy() for name in frame} | more
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
