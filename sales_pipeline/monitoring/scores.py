"""Drift of scores: today's win probabilities against those published before, and the share of records without one.

Between two runs news should cancel out: the probability given before is the expectation of what is said later, the outcome included (a martingale:
Foster & Vohra, "Asymptotic calibration", Biometrika 1998; Augenblick & Rabin, "Belief movement, uncertainty reduction, and rational updating", QJE
2021). A mean change that does not cancel out says that the probabilities were off, or are now, weeks before outcomes mature.

Belongs here: these figures. Does not belong here: past scores against matured outcomes (`outcomes`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from sales_pipeline.models.clustered import Z80
from sales_pipeline.models.matrix import Floats, Indices, codes
from sales_pipeline.models.metrics import paired_difference
from sales_pipeline.monitoring.distributions import Bins, effective_size, share_error, shift
from sales_pipeline.monitoring.figure import Figure
from sales_pipeline.monitoring.outcomes import Known
from sales_pipeline.monitoring.params import MonitoringParams
from sales_pipeline.monitoring.reference import grouped

SCORE = "win_probability"
PREVIOUS = "previous_run"
EARLIER = "earlier_runs"


def score_figures(
    today: pd.DataFrame, previous: pd.DataFrame | None, earlier: pd.DataFrame, known: Known, params: MonitoringParams
) -> list[Figure]:
    """Figures of today's scores. `previous` and `earlier` are past scores (`history.said`): the last run, and runs of the whole history."""
    if previous is None:
        detail = "no run was published before: nothing to compare with"
        return [
            Figure("score_drift", SCORE, "psi", PREVIOUS, None, detail, rows=len(today)),
            _abstaining_alone(today, detail),
        ]
    today, previous = grouped(today), grouped(previous)
    figures = list(_distance(today, previous, PREVIOUS, params))
    if earlier["as_of_us"].nunique() > 1:
        figures += _distance(today, grouped(earlier), EARLIER, params)
    figures.append(_mean_change(today, previous, known, params))
    figures.append(_abstaining(today, previous, params))
    return figures


def _replaced(today: pd.DataFrame, before: pd.DataFrame) -> str:
    models = before["model_version"].nunique()
    if models > 1:
        return f"; {models} models gave the earlier scores"
    same = set(today["model_version"].unique()) == set(before["model_version"].unique())
    return "; the same model" if same else "; the model was replaced in between"


def _distance(today: pd.DataFrame, before: pd.DataFrame, name: str, params: MonitoringParams) -> Iterator[Figure]:
    now, then = today[SCORE].to_numpy(dtype=np.float64), before[SCORE].to_numpy(dtype=np.float64)
    is_now, is_then = np.isfinite(now), np.isfinite(then)
    note = _replaced(today, before)
    if min(is_now.sum(), is_then.sum()) < params.min_rows:
        detail = f"fewer than {params.min_rows} probabilities on one side: not compared{note}"
        yield Figure("score_drift", SCORE, "psi", name, None, detail, rows=len(today))
        return
    bins = Bins.of(then, "number")
    size, size_now = effective_size(_groups(before)[is_then]), effective_size(_groups(today)[is_now])
    found = shift(bins.counts(then), bins.counts(now), size, size_now)
    limit = max(found.beyond_chance(params.alarm_rate), found.by_chance + params.psi)
    detail = f"{found.bins} bins; by chance {found.by_chance:.3f}{note}"
    rows = int(is_now.sum())
    yield Figure("score_drift", SCORE, "psi", name, found.psi, detail, rows=rows, limit_high=limit)
    difference = float(now[is_now].mean() - then[is_then].mean())
    detail = (
        f"mean {now[is_now].mean():.3f} today, {then[is_then].mean():.3f} before, over different opportunities{note}"
    )
    yield Figure("score_drift", SCORE, "mean_shift", name, difference, detail, rows=rows)


def _mean_change(today: pd.DataFrame, previous: pd.DataFrame, known: Known, params: MonitoringParams) -> Figure:
    """Of the opportunities scored in the previous run: what is said now (the outcome where it is known) less what was said then."""
    from scipy.stats import norm

    before = previous[np.isfinite(previous[SCORE].to_numpy(dtype=np.float64))]
    now = today.set_index("opportunity_id")[SCORE].reindex(before["opportunity_id"]).to_numpy(dtype=np.float64)
    won = known.of(before["opportunity_id"]).won
    latest: Floats = np.where(np.isfinite(won), won, now)
    use = np.isfinite(latest)
    rows = int(use.sum())
    if rows < params.min_rows:
        detail = f"fewer than {params.min_rows} opportunities scored in both runs or closed in between: not compared"
        return Figure("score_drift", SCORE, "mean_change", PREVIOUS, None, detail, rows=rows)
    said = before[SCORE].to_numpy(dtype=np.float64)[use]
    mean, error = paired_difference(latest[use], said, codes(_groups(before)[use]))
    width = max(float(norm.isf(params.alarm_rate / 2)) * error, params.mean_change)
    closed = int(np.isfinite(won[use]).sum())
    detail = (
        f"of {rows} opportunities, {closed} of them closed since; news should cancel out{_replaced(today, previous)}"
    )
    return Figure(
        "score_drift", SCORE, "mean_change", PREVIOUS, mean, detail, rows=rows,
        low=mean - Z80 * error, high=mean + Z80 * error, limit_low=-width, limit_high=width,
    )  # fmt: skip


def _groups(frame: pd.DataFrame) -> Indices:
    return frame["group"].to_numpy(dtype=np.int64)


def _share(frame: pd.DataFrame) -> float:
    return float(frame[SCORE].isna().mean()) if len(frame) else 0.0


def _abstaining_alone(today: pd.DataFrame, detail: str) -> Figure:
    return Figure("abstention", SCORE, "abstaining_share", PREVIOUS, _share(today), detail, rows=len(today))


def _abstaining(today: pd.DataFrame, previous: pd.DataFrame, params: MonitoringParams) -> Figure:
    from scipy.stats import norm

    before, share = _share(previous), _share(today)
    detail = f"{before:.1%} in the previous run{_replaced(today, previous)}"
    if min(len(today), len(previous)) < params.min_rows:
        return _abstaining_alone(today, f"{detail}; fewer than {params.min_rows} rows on one side: no limit")
    error = share_error(before, effective_size(_groups(previous)), share, effective_size(_groups(today)))
    limit = before + max(float(norm.isf(params.alarm_rate)) * error, params.abstaining_share)
    return Figure("abstention", SCORE, "abstaining_share", PREVIOUS, share, detail, rows=len(today), limit_high=limit)
