"""Drift of inputs: today's scoring features against the champion's training, and against the previous published run.

An alert needs a distance that is beyond chance, beyond what landmark dates of the training differ by themselves, and large enough to matter.
Features of the calendar and those built from dated events follow the time by themselves: shown, never an alert.

Belongs here: the figures per column. Does not belong here: where the features come from (`monitor`), scores (`scores`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sales_pipeline.features.catalogue import FEATURES
from sales_pipeline.models.matrix import Indices, Matrix, SourceColumn
from sales_pipeline.monitoring.distributions import effective_size, share_error, shift
from sales_pipeline.monitoring.figure import Figure
from sales_pipeline.monitoring.params import MonitoringParams
from sales_pipeline.monitoring.reference import ColumnReference, Reference, account_of

CALENDAR_FAMILY = "season"
MOST_NAMED = 5


def follows_time(column: SourceColumn) -> bool:
    """Whether the column's values move with the time by themselves."""
    if column.is_date:
        return True
    return any(one.name == column.name and (one.is_dated or one.family == CALENDAR_FAMILY) for one in FEATURES)


def input_figures(
    today: Matrix,
    absent: Sequence[str],
    columns: Sequence[SourceColumn],
    reference: Reference,
    name: str,
    params: MonitoringParams,
) -> tuple[list[Figure], dict[str, dict[str, list[str]]]]:
    """Figures of every column against one reference, and by column the values that are `new` or have `vanished` (up to five each).

    `name` is that of the reference in MODEL_MONITORING: `training` or `previous_run`. The values themselves stay out of the figures: a published
    file does not repeat what people typed.
    """
    from scipy.stats import norm

    groups = account_of(today.keys)
    size = effective_size(groups)
    by_name = {column.name: column for column in columns}
    rate = params.alarm_rate / max(1, len(reference.columns))
    z = float(norm.isf(rate / 2))
    figures: list[Figure] = []
    named: dict[str, dict[str, list[str]]] = {}
    for before in reference.columns:
        comparison = _Comparison(by_name[before.name], before, today, groups, size, name, params, rate, z)
        figures += comparison.figures()
        if values := comparison.named():
            named[before.name] = values
    figures += _comings_and_goings(absent, reference, by_name, name)
    return figures, named


class _Comparison:
    """One column today against its reference."""

    def __init__(
        self,
        column: SourceColumn,
        before: ColumnReference,
        today: Matrix,
        groups: Indices,
        size: float,
        name: str,
        params: MonitoringParams,
        rate: float,
        z: float,
    ) -> None:
        self._before = before
        self._name = name
        self._params = params
        self._rate = rate
        self._z = z
        values = today.frame[column.name]
        self._rows = len(values)
        self._missing = values.isna().to_numpy()
        self._size = size
        self._filled_size = effective_size(groups[~self._missing])
        self._counts = before.bins.counts(values)
        # Only where every value of the reference has a bin of its own is any other one new.
        self._new = before.bins.others(values) if before.bins.is_category and before.bins.is_complete else None
        self._moves = follows_time(column)

    def figures(self) -> Iterator[Figure]:
        before, params = self._before, self._params
        if min(before.rows, self._rows) < params.min_rows:
            yield self._figure("psi", None, f"fewer than {params.min_rows} rows on one side: not compared", None)
            return
        yield self._missing_share()
        if min(before.counts.sum(), self._counts.sum()) < params.min_rows:
            detail = f"fewer than {params.min_rows} values on one side: not compared"
            yield self._figure("psi", None, detail, None)
            return
        found = shift(before.counts, self._counts, before.filled_size, self._filled_size)
        usual = max(found.by_chance, before.usual_psi)
        limit = max(found.beyond_chance(self._rate), usual + params.psi)
        detail = f"{found.bins} bins; by chance {found.by_chance:.3f}" + (
            f", between landmark dates up to {before.usual_psi:.3f}" if before.usual_psi else ""
        )
        yield self._figure("psi", found.psi, detail, limit)
        yield self._figure("jensen_shannon_distance", found.divergence, "base 2, 0 the same, 1 nothing in common", None)
        if self._new is not None:
            yield self._new_values(len(self._new))
            yield self._vanished_values()

    def named(self) -> dict[str, list[str]]:
        """The values behind new and vanished ones."""
        counts = self._new
        if counts is None:
            return {}
        lists = {
            "new": sorted(counts, key=lambda value: (-counts[value], value)),
            "vanished": [self._before.bins.levels[number] for number in self._gone()],
        }
        return {name: values[:MOST_NAMED] for name, values in lists.items() if values}

    def _figure(self, figure: str, value: float | None, detail: str, limit: float | None) -> Figure:
        if self._moves and limit is not None:
            detail, limit = f"{detail}; follows the time by itself: no limit", None
        return Figure(
            "input_drift",
            self._before.name,
            figure,
            self._name,
            value,
            detail,
            rows=self._rows,
            limit_high=limit,
        )

    def _missing_share(self) -> Figure:
        before, share = self._before, float(self._missing.mean())
        error = share_error(before.missing_share, before.size, share, self._size)
        width = max(self._z * error, before.usual_missing + self._params.missing_share)
        detail = f"{before.missing_share:.1%} in the reference"
        if share == 1.0 and before.missing_share < 1.0:
            detail = f"the column has vanished: it holds no value any more, {detail}"
        limits = (None, None) if self._moves else (before.missing_share - width, before.missing_share + width)
        return Figure(
            "input_drift", before.name, "missing_share", self._name, share, detail,
            rows=self._rows, limit_low=limits[0], limit_high=limits[1],
        )  # fmt: skip

    def _new_values(self, count: int) -> Figure:
        expected, filled = self._before.unseen_share, float(self._counts.sum())
        share = float(self._counts[-1]) / filled
        error = float(np.sqrt(expected * (1 - expected) / max(self._filled_size, 1.0)))
        detail = f"{count} values the reference has not seen; {expected:.2%} of the rows were to be expected"
        limit = max(expected + self._z * error, expected + self._params.value_share)
        return self._figure("new_value_share", share, detail, limit)

    def _vanished_values(self) -> Figure:
        gone = self._gone()
        share = float(self._before.counts[gone].sum() / self._before.counts.sum())
        detail = f"share of the reference rows whose value nobody has today; {len(gone)} values"
        return self._figure("vanished_value_share", share, detail, self._params.value_share)

    def _gone(self) -> list[int]:
        """Values of the reference nobody has today, where chance makes that unlikely."""
        bins, counts = self._before.bins, self._before.counts
        share = counts[: len(bins.levels)] / max(counts.sum(), 1.0)
        enough = -np.log(self._rate / max(1, len(bins.levels)))
        return [
            int(number)
            for number in np.flatnonzero((self._counts[: len(bins.levels)] == 0) & (share * self._filled_size > enough))
        ]


def _comings_and_goings(
    absent: Sequence[str], reference: Reference, columns: Mapping[str, SourceColumn], name: str
) -> Iterator[Figure]:
    """Features the data set has lost or gained since, by name; a lost one the model uses is an alert."""
    for feature in sorted(set(absent) - set(reference.absent)):
        used = feature in columns
        detail = "absent today, there in the reference" + ("" if used else "; the model does not use it")
        yield Figure("input_drift", feature, "is_present", name, 0.0, detail, limit_low=0.5 if used else None)
    for feature in sorted(set(reference.absent) - set(absent)):
        detail = "there today, absent in the reference: the model cannot use it before the next training"
        yield Figure("input_drift", feature, "is_present", name, 1.0, detail)
