"""`fit FILE`: any flat table, the same ledger and selection, the same families side by side, out-of-sample figures.

With a time column the last fifth of the rows is the test and the fifth before it tunes. Without one, grouped random folds are used, and
said to be: their figures flatter wherever time matters. Every family is fitted without and with the ledger's suspects.

Belongs here: the walk over one table. Does not belong here: reading it (`flat_table`), the ledger (`features.leaks`), CRM exports (`train`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.engines.machine import one_core
from sales_pipeline.errors import InputRejected
from sales_pipeline.features.leaks import ledger_for_frame
from sales_pipeline.lake.tables import file_sha256
from sales_pipeline.models.candidates import Candidate, Sample, Setting
from sales_pipeline.models.encoding import learn_encoding
from sales_pipeline.models.estimators import expit
from sales_pipeline.models.evaluation import Task, candidates_of, fit, is_possible, judge, setting_text
from sales_pipeline.models.flat_table import MISSING_TOKENS, read_flat
from sales_pipeline.models.flat_target import FlatTask, find_column, guess_task, read_instants, read_target
from sales_pipeline.models.matrix import Encoded, Floats, Indices, Matrix, SourceColumn
from sales_pipeline.models.metrics import amount_metrics, win_metrics
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.selection import keep_columns
from sales_pipeline.models.splits import grouped_folds
from sales_pipeline.models.store import Recorder

NO_TIME = "no time column: grouped RANDOM folds were used; where the future differs from the past these figures flatter the models"
FOLDS = 5
MAX_ROWS_FOR_ALL_FOLDS = 5_000
MAX_TUNING_ROWS = 20_000


@dataclass(frozen=True)
class FlatResult:
    """One family on one set of columns (`without suspects`, `with suspects`; `all columns` where the ledger leaves none): setting and out-of-sample figures."""

    columns: str
    family: str
    setting: str
    note: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class FlatFit:
    """What `fit` found. `positive` is the class whose probability is judged (None: regression); `ledger` has LEAK_LEDGER's columns."""

    task: FlatTask
    target: str
    positive: str | None
    rows: int
    dropped_rows: int
    is_time_ordered: bool
    results: tuple[FlatResult, ...]
    ledger: tuple[dict[str, Any], ...]
    statements: tuple[str, ...]
    run_id: str | None


@dataclass(frozen=True)
class _Split:
    train: Indices
    tune: Indices
    test: Indices


@one_core()
def fit_flat(
    path: Path,
    *,
    target: str,
    params: TrainingParams,
    recorder: Recorder,
    task: FlatTask | None = None,
    time_column: str | None = None,
    never_use: Sequence[str] = (),
    use_anyway: Sequence[str] = (),
    missing: Sequence[str] = MISSING_TOKENS,
    tags: Mapping[str, str] | None = None,
) -> FlatFit:
    """Fit every family of the task on a flat table and judge it on rows it has not seen.

    A target of more than two numbers is regressed, one of two values is classified; `task` overrules. ConfigurationError for an unknown column or a
    target the task cannot use, InputRejected for a table that cannot be read or is too small.
    """
    frame = read_flat(path, missing=missing)
    target = find_column(frame, target, path)
    time_column = find_column(frame, time_column, path) if time_column is not None else None
    known = frame[target].notna().to_numpy()
    rows = frame[known].reset_index(drop=True)
    if len(rows) < 2 * FOLDS:
        raise InputRejected(
            "too few rows with a target",
            expected=f"at least {2 * FOLDS}",
            found=str(len(rows)),
            where=f"{path}, column {target}",
            fix="add records",
        )
    task = task or guess_task(rows[target])
    y, positive = read_target(rows[target], task, path)
    features = rows.drop(columns=[name for name in (target, time_column) if name is not None])
    ledger = ledger_for_frame(features, pd.Series(y), never_use=never_use, use_anyway=use_anyway).to_pylist()
    splits = _splits(rows, features, ledger, time_column, params, path)
    statements = [NO_TIME] if time_column is None else []
    allowed = {row["column"] for row in ledger if row["is_used"]}
    used = [name for name in features.columns if name in allowed]
    suspects = [row["column"] for row in ledger if row["verdict"] == "suspect" and not row["is_used"]]
    sets = {"without suspects": used}
    if suspects:
        sets["with suspects"] = [name for name in features.columns if name in {*used, *suspects}]
        statements.append(
            f"{len(suspects)} columns are suspects (nothing shows that they were filled in early) and left out unless said otherwise: "
            + ", ".join(suspects)
        )
    if not used:
        shapes = ("identifier", "constant", "never_use")
        judged_out = {row["column"] for row in ledger if row["verdict"] in shapes}
        sets = {"all columns": [name for name in features.columns if name not in judged_out]}
        statements.append(
            "The ledger leaves no column (each alone tells nearly all, or cannot be shown early): all of them were used, "
            "so the figures hold only if they are known before the target is."
        )
    results: list[FlatResult] = []
    for label, columns in sets.items():
        results.extend(_fit_set(label, _matrix(features, columns), y, task, splits, params))
    found = FlatFit(
        task=task,
        target=target,
        positive=positive,
        rows=len(rows),
        dropped_rows=int((~known).sum()),
        is_time_ordered=time_column is not None,
        results=tuple(results),
        ledger=tuple(ledger),
        statements=tuple(statements),
        run_id=None,
    )
    return replace(found, run_id=_record(found, path, recorder, list(features.columns), tags or {}))


def _matrix(features: pd.DataFrame, columns: Sequence[str]) -> Matrix:
    data: dict[str, npt.NDArray[Any]] = {}
    source: list[SourceColumn] = []
    for name in columns:
        is_number = features[name].dtype == np.float64
        source.append(SourceColumn(name, "number" if is_number else "category", name))
        values = features[name].to_numpy(dtype=np.float64 if is_number else object)
        data[name] = values if is_number else np.array([None if pd.isna(v) else v for v in values], dtype=object)
    keys = pd.DataFrame({"opportunity_id": np.arange(len(features)).astype(str).astype(object)})
    keys["amount"] = np.nan
    return Matrix(pd.DataFrame(data, index=range(len(features))), keys, tuple(source))


def _splits(
    rows: pd.DataFrame,
    features: pd.DataFrame,
    ledger: Sequence[Mapping[str, Any]],
    time_column: str | None,
    params: TrainingParams,
    path: Path,
) -> list[_Split]:
    if time_column is not None:
        order = np.argsort(read_instants(rows[time_column], path), kind="stable").astype(np.int64)
        tune, test = int(0.6 * len(order)), int(0.8 * len(order))
        return [_Split(order[:tune], order[tune:test], order[test:])]
    identifiers = [row["column"] for row in ledger if row["verdict"] == "identifier"]
    repeated = [name for name in identifiers if features[name].nunique() < len(features)]
    judged = features[repeated[:1]] if repeated else features.drop(columns=identifiers)
    groups = pd.util.hash_pandas_object(judged.astype(str), index=False).to_numpy()
    number = grouped_folds(groups, FOLDS, params.seed)
    tested = range(FOLDS) if len(rows) <= MAX_ROWS_FOR_ALL_FOLDS else range(1)

    def fold(test: int) -> _Split:
        tune = (test + 1) % FOLDS
        return _Split(
            np.flatnonzero((number != test) & (number != tune)).astype(np.int64),
            np.flatnonzero(number == tune).astype(np.int64),
            np.flatnonzero(number == test).astype(np.int64),
        )

    return [split for split in map(fold, tested) if len(split.train) and len(split.tune) and len(split.test)]


def _fit_set(
    label: str, matrix: Matrix, y: Floats, task: FlatTask, splits: Sequence[_Split], params: TrainingParams
) -> list[FlatResult]:
    kind: Task = "win" if task == "classify" else "amount"
    skipped = ("stage_rate", "crm_amount")
    families = [*params.win_families] if task == "classify" else [*params.amount_families]
    candidates = [c for c in candidates_of(kind, families) if c.name not in skipped and c.settings]
    parts: dict[str, list[tuple[Indices, Floats, Setting]]] = {candidate.name: [] for candidate in candidates}
    for split in splits:
        taught, tuned, tested = _encode(matrix, y, split, kind, params)
        for candidate in candidates:
            if not is_possible(candidate, taught) or (task == "classify" and len(np.unique(taught.y)) < 2):
                continue
            setting = _tuned_setting(candidate, taught, tuned, kind, params)
            parts[candidate.name].append(
                (split.test, _predict(candidate, setting, taught, tuned, tested, kind, params), setting)
            )
    results: list[FlatResult] = []
    for candidate in candidates:
        if not parts[candidate.name]:
            continue
        rows = np.concatenate([rows for rows, _, _ in parts[candidate.name]])
        predicted = np.concatenate([values for _, values, _ in parts[candidate.name]])
        if task == "classify":
            figures = win_metrics(y[rows], predicted) | {
                "accuracy": float(((predicted > 0.5) == (y[rows] > 0.5)).mean())
            }
        else:
            figures = amount_metrics(y[rows], predicted)
        settings = list(dict.fromkeys(setting_text(setting) for _, _, setting in parts[candidate.name]))
        results.append(FlatResult(label, candidate.name, " / ".join(settings), candidate.note, figures))
    return results


def _encode(
    matrix: Matrix, y: Floats, split: _Split, task: Task, params: TrainingParams
) -> tuple[Sample, Sample, Sample]:
    """Training, tuning and test rows under an encoding and selection learnt on the training rows alone."""
    part = matrix.take(split.train)
    encoding = learn_encoding(
        part.frame,
        keep_columns(part, y[split.train], task, params),
        max_categories=params.max_categories,
        min_category_rows=min(params.min_category_rows, max(1, len(part) // 50)),
    )
    return (
        Sample(encoding.encode(part), y[split.train]),
        Sample(encoding.encode(matrix.take(split.tune)), y[split.tune]),
        Sample(encoding.encode(matrix.take(split.test)), y[split.test]),
    )


def _tuned_setting(candidate: Candidate, taught: Sample, tuned: Sample, task: Task, params: TrainingParams) -> Setting:
    if len(candidate.settings) == 1:
        return candidate.settings[0]
    step = max(1, len(taught.y) // MAX_TUNING_ROWS)
    sample = taught.take(np.arange(0, len(taught.y), step, dtype=np.int64))
    losses = []
    for setting in candidate.settings:
        score = fit(candidate, setting, sample, params).score(tuned.rows)
        if task == "win":
            score = expit(score)
        losses.append(float(judge(task, tuned.y, score).mean()))
    return candidate.settings[int(np.argmin(losses))]


def _predict(
    candidate: Candidate,
    setting: Setting,
    taught: Sample,
    tuned: Sample,
    tested: Sample,
    task: Task,
    params: TrainingParams,
) -> Floats:
    """Test rows, by a fit on training and tuning rows."""
    both = Encoded(
        np.vstack([taught.x, tuned.x]),
        pd.concat([taught.rows.keys, tuned.rows.keys], ignore_index=True),
        taught.rows.groups,
    )
    score = fit(candidate, setting, Sample(both, np.concatenate([taught.y, tuned.y])), params).score(tested.rows)
    return expit(score) if task == "win" else score


def _record(found: FlatFit, path: Path, recorder: Recorder, columns: list[str], tags: Mapping[str, str]) -> str | None:
    digest = digest_of(file_sha256(path), found.target, found.task)
    with recorder.training(f"fit {path.name}", {"stage": "fit", "target": found.target, **tags}) as run:
        run.dataset(name=path.name, digest=digest, rows=found.rows, columns=columns)
        for result in found.results:
            with run.child(f"{result.family}, {result.columns}") as child:
                child.log(
                    params={
                        "family": result.family,
                        "setting": result.setting,
                        "columns": result.columns,
                        "task": found.task,
                    },
                    metrics=dict(result.figures),
                )
        run.log(
            params={"task": found.task, "target": found.target, "positive": found.positive or ""},
            tags={"time_ordered": str(found.is_time_ordered).lower()},
            tables={
                "results": [
                    {"columns": r.columns, "family": r.family, "setting": r.setting, **r.figures} for r in found.results
                ],
                "leak_ledger": list(found.ledger),
            },
            documents={"statements.json": list(found.statements)},
        )
        return run.run_id
