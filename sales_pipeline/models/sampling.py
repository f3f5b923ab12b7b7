"""Which opportunities a training looks at where there are more landmark rows than fit: a time-stratified sample, its size chosen by a learning curve.

The curve is that of a cheap candidate, logistic regression, fitted on twice as many landmark rows from point to point and judged on the same later
validation window. It ends where doubling gains no more log loss than its standard error or a stated tolerance; then the smaller number is fitted on. Opportunities are
drawn whole, in every month of their last landmark alike, by a digest of a seed and their id: as many as hold the rows to be fitted, and enough of them
for the windows that judge and calibrate. Where all rows fit nothing is drawn.

Belongs here: the draw, the curve, what is said of both. Does not belong here: training (`train`), how a fit thins its rows (`splits`).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlglot import exp

from sales_pipeline.contracts.canonical import OPPORTUNITY_ATTRIBUTES
from sales_pipeline.contracts.internal import OUTCOMES, SPINE
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.engines.base import Engine
from sales_pipeline.engines.compiler import Scalar
from sales_pipeline.engines.machine import memory_bytes, one_core
from sales_pipeline.features.build import FeatureSet, find
from sales_pipeline.features.catalogue import FEATURE_TABLE
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef, read_table, table_ref
from sales_pipeline.models.candidates import WIN_CANDIDATES
from sales_pipeline.models.evaluation import clusters, is_possible, judged_rows, predict_rows, prepare
from sales_pipeline.models.matrix import Floats, Indices, Matrix, codes, known_kinds, load_matrix
from sales_pipeline.models.metrics import log_losses, paired_difference
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.splits import plan_windows

VERSION = 1
CANDIDATE, SETTING = "logistic_regression", {"C": 0.01}
WITHOUT_COLUMNS = "base_rate"
"""The candidate where no column tells the rows of a fit apart."""
CELL_BYTES = 40
"""Memory of one value of a matrix while models are trained: itself, what is taken and encoded of it; and the keys, spread over the columns."""
STRATA = "the month of the last landmark, and whether the outcome is known"
_MODEL = Path(__file__).parent / "sql" / "training_sample.sql"
_TABLES = {"spine": SPINE, "features": FEATURE_TABLE, "attributes": OPPORTUNITY_ATTRIBUTES, "outcomes": OUTCOMES}


@dataclass(frozen=True)
class Sample:
    """What a training looks at: the whole feature set (`facts` None), or the part of it that was drawn, and what is to be said of the draw.

    `facts`: seed, strata, opportunities and landmark_rows of the sample, of_opportunities and of_landmark_rows there are, fitted_rows, curve (points of
    rows, opportunities, log_loss, and against the point before gain and standard_error), why.
    """

    features: FeatureSet
    facts: Mapping[str, Any] | None

    def params(self, params: TrainingParams) -> TrainingParams:
        """The parameters with as many rows to fit as the curve asked for."""
        return params if self.facts is None else fitting(params, self.facts)


def fitting(params: TrainingParams, facts: Mapping[str, Any]) -> TrainingParams:
    """The parameters with as many rows to fit as a sample's facts say."""
    return params.model_copy(update={"max_training_rows": int(facts["fitted_rows"])})


def rows_that_fit(columns: int) -> int:
    """Landmark rows of that many columns in a quarter of the machine's (or container's) memory."""
    return memory_bytes() // (CELL_BYTES * max(columns, 1))


def training_sample(
    lake: Lake, features: FeatureSet, ledger: TableRef, params: TrainingParams, engine: Engine
) -> Sample:
    """What a training on this feature set looks at; drawn once and kept in the lake as a feature set of its own.

    Everything where `params.sample_above_rows` are not exceeded and memory (or `params.max_sample_rows`) holds it.
    """
    usable = [row["column"] for row in read_table(ledger).to_pylist() if row["is_used"]]
    limit = params.max_sample_rows or rows_that_fit(len(usable))
    if features.spine.rows <= min(params.sample_above_rows, limit):
        return Sample(features, None)
    key = digest_of("training_sample", VERSION, features.key, usable, params.model_dump(), limit)

    def make(folder: Path) -> dict[str, Any]:
        refs, facts = _Curve(features, usable, params, engine, folder, limit).end()
        return {
            "mode": features.mode,
            "absent": features.absent,
            "versioned": features.versioned,
            "tables": {name: ref.to_dict() | {"path": Path(ref.path).name} for name, ref in refs.items()},
            "sample": facts,
        }

    _, facts = lake.step("features", key, make)
    found = find(lake, key, features.as_of, features.purpose)
    assert found is not None
    return Sample(found, facts["sample"])


@dataclass(frozen=True)
class _Draw:
    """A drawn part of a feature set, at rest, and how many opportunities it has."""

    features: FeatureSet
    opportunities: int


@dataclass(frozen=True)
class _Window:
    """The validation window every point is judged on: its rows with known outcomes, and the instant before which a fit may know."""

    rows: Matrix
    won: Floats
    groups: npt.NDArray[Any]
    from_us: float
    share_before: float

    @classmethod
    def of(cls, matrix: Matrix, as_of_us: float, params: TrainingParams) -> _Window | None:
        """The last validation window of a training; None where there is none."""
        plan = plan_windows(matrix.keys, as_of_us, params)
        if not plan.folds or not plan.is_time_ordered:
            return None
        fold = plan.folds[-1]
        [(rows, won)] = judged_rows(matrix, [fold], "win")
        groups = clusters(matrix.keys)[rows]
        return cls(matrix.take(rows), won, groups, fold.from_us, len(fold.train) / len(matrix))

    def loss(self, matrix: Matrix, rows: int, params: TrainingParams) -> Floats:
        """Log loss of the window's rows by the candidate fitted on so many rows from before it."""
        chosen = params.model_copy(update={"max_training_rows": rows})
        prepared = prepare(matrix, self._before(matrix), "win", chosen, self.from_us)
        candidate, setting = WIN_CANDIDATES[CANDIDATE], SETTING
        if not is_possible(candidate, prepared.sample):
            candidate, setting = WIN_CANDIDATES[WITHOUT_COLUMNS], {}
        later = prepared.encoding.encode(self.rows)
        return log_losses(self.won, predict_rows("win", candidate, setting, prepared, later, chosen))

    def _before(self, matrix: Matrix) -> Indices:
        """Rows a fit may see, in time order."""
        landmark = matrix.keys["as_of_us"].to_numpy(dtype=np.float64)
        kinds = known_kinds(matrix.keys)
        found = np.flatnonzero((landmark < self.from_us) & matrix.keys["kind"].isin(kinds).to_numpy())
        number = codes(matrix.keys["opportunity_id"])
        return found[np.lexsort((number[found], landmark[found]))].astype(np.int64)


class _Curve:
    """Draws and fits, from fewer rows to more."""

    def __init__(
        self,
        features: FeatureSet,
        usable: Sequence[str],
        params: TrainingParams,
        engine: Engine,
        folder: Path,
        limit: int,
    ) -> None:
        self.features = features
        self.usable = usable
        self.params = params
        self.engine = engine
        self.folder = folder
        self.limit = limit
        self.total = features.spine.rows
        self.opportunities = _count(engine, features.spine)

    @one_core()
    def end(self) -> tuple[dict[str, TableRef], dict[str, Any]]:
        """The tables of the sample the curve ends with, in the folder, and its facts."""
        fitted = self.params.max_training_rows
        share = min(
            1.0,
            max(self.params.min_sample_opportunities / self.opportunities, 2 * fitted / self.total),
            self.limit / self.total,
        )
        draw = self._draw(share, 0)
        matrix = load_matrix(draw.features, self.usable)
        window = _Window.of(matrix, self.features.as_of.instant.timestamp() * 1e6, self.params)
        if window is None:
            return self._result(
                draw, fitted, [], "the history is too short for a validation window to choose a size on"
            )
        points = [self._point(fitted, draw)]
        loss = window.loss(matrix, fitted, self.params)
        points[0]["log_loss"] = round(float(loss.mean()), 6)
        while True:
            # As many rows as are fitted must stand before the window.
            needed = 1.1 * 2 * fitted / (window.share_before * self.total)
            larger = draw
            if needed > share:
                if share >= 1.0:
                    return self._result(draw, fitted, points, "there are no more rows to double it")
                share = min(1.0, max(needed, min(2 * share, self.limit / self.total)))
                if share * self.total > self.limit:
                    return self._result(draw, fitted, points, f"memory holds {self.limit:,} landmark rows")
                del matrix
                larger = self._draw(share, len(points))
                matrix = load_matrix(larger.features, self.usable)
            doubled = window.loss(matrix, 2 * fitted, self.params)
            gain, error = paired_difference(loss, doubled, window.groups)
            points.append(self._point(2 * fitted, larger) | _figures(doubled, gain, error))
            if gain <= max(error, self.params.sample_tolerance):
                bound = "its standard error" if gain <= error else f"{self.params.sample_tolerance:g}"
                why = f"twice as many gained {gain:.5f} log loss on later opportunities, no more than {bound}"
                return self._result(draw, fitted, points, why)
            draw, fitted, loss = larger, 2 * fitted, doubled

    def _draw(self, share: float, number: int) -> _Draw:
        """About that share of the opportunities, in a folder of its own."""
        folder = self.folder / f"_{number}"
        inputs = {"spine": self.features.spine, "outcomes": self.features.outcomes}
        parameters: dict[str, Scalar] = {"share": share, "seed": str(self.params.seed)}
        drawn = self.engine.run(
            _MODEL, inputs, folder / "drawn.parquet", parameters=parameters, order_by=("opportunity_id",)
        )

        def part(name: str) -> TableRef:
            source = {"whole": getattr(self.features, name), "drawn": drawn}
            return self.engine.run(_of_drawn(), source, folder / f"{name}.parquet", contract=_TABLES[name])

        features = replace(
            self.features,
            spine=part("spine"),
            features=part("features"),
            attributes=part("attributes"),
            outcomes=part("outcomes"),
        )
        return _Draw(features, drawn.rows)

    def _point(self, rows: int, draw: _Draw) -> dict[str, Any]:
        return {"rows": rows, "opportunities": draw.opportunities, "landmark_rows": draw.features.spine.rows}

    def _result(
        self, draw: _Draw, fitted: int, points: list[dict[str, Any]], why: str
    ) -> tuple[dict[str, TableRef], dict[str, Any]]:
        refs: dict[str, TableRef] = {}
        for name in _TABLES:
            path = Path(getattr(draw.features, name).path)
            path.rename(self.folder / path.name)
            refs[name] = table_ref(name, self.folder / path.name)
        for folder in self.folder.glob("_*"):
            shutil.rmtree(folder)
        facts = {
            "seed": self.params.seed,
            "strata": STRATA,
            "opportunities": draw.opportunities,
            "landmark_rows": draw.features.spine.rows,
            "of_opportunities": self.opportunities,
            "of_landmark_rows": self.total,
            "fitted_rows": fitted,
            "candidate": f"{CANDIDATE} ({', '.join(f'{name}={value:g}' for name, value in SETTING.items())})",
            "curve": points,
            "why": why,
        }
        return refs, facts


def _figures(loss: Floats, gain: float, error: float) -> dict[str, float]:
    return {
        "log_loss": round(float(loss.mean()), 6),
        "gain": round(gain, 6),
        "standard_error": round(error, 6),
    }


def _of_drawn() -> exp.Select:
    """The rows of a table whose opportunity is drawn."""
    return (
        exp.select("whole.*")
        .from_("whole")
        .join("drawn", on=exp.column("opportunity_id", table="drawn").eq(exp.column("opportunity_id", table="whole")))
    )


def _count(engine: Engine, spine: TableRef) -> int:
    count = exp.alias_(exp.Count(this=exp.Distinct(expressions=[exp.column("opportunity_id")])), "count")
    return int(engine.query(exp.select(count).from_("spine"), {"spine": spine})["count"][0].as_py())
