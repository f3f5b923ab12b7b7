"""What following the queue changes: held-out opportunities against all others that could have been queued, by randomisation.

Per opportunity, whether it was won and what amount was won within `horizon_days` of its assignment. The effect is the difference of means, queue minus
hold-out, as such and adjusted for what was predicted at assignment (win probability, expected value): Y - theta (X - mean X) with theta =
cov(Y, X) / var(X), which narrows the interval and moves nothing on average (CUPED: Deng, Xu, Kohavi and Walker, "Improving the Sensitivity of
Online Controlled Experiments by Utilizing Pre-Experiment Data", WSDM 2013). Intervals by Welch's t; an arm without any spread is given that of one more
win and one more loss (Agresti and Caffo, "Simple and Effective Confidence Intervals for Proportions and Differences", 2000).

It is the effect of being open to the queue, not of a follow-up done: most eligible opportunities wait for capacity, and sellers also act on their own.
Without enough matured opportunities nothing is claimed; the row then says what is missing.

Belongs here: the estimate and its words. Does not belong here: who takes part (`cohort`), the gains the queue is sorted by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import FEEDBACK_OUTCOMES
from sales_pipeline.contracts.published import QUEUE_EFFECT
from sales_pipeline.domain.time import AsOf
from sales_pipeline.follow_up.feedback import latest_statements
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.lake.tables import conform

Floats: TypeAlias = npt.NDArray[np.float64]
OUTCOME_COLUMNS = ("opportunity_id", "is_won", "closed_at", "won_amount")
"""Columns of OUTCOMES that are read."""
_LEVELS = ((0.8, "low_80", "high_80"), (0.9, "low_90", "high_90"))
_LEAST_WINS = 5
_NO_SPREAD = 1e-12


@dataclass(frozen=True)
class Arms:
    """Matured opportunities: outcome and prediction of those open to the queue and of those held out."""

    queue: Floats
    queue_predicted: Floats
    hold_out: Floats
    hold_out_predicted: Floats

    def adjusted(self) -> Arms:
        """Outcomes less what was predicted of them, about the common mean."""
        outcome = np.concatenate([self.queue, self.hold_out])
        predicted = np.concatenate([self.queue_predicted, self.hold_out_predicted])
        spread = float(np.var(predicted))
        theta = float(np.mean((outcome - outcome.mean()) * (predicted - predicted.mean()))) / spread if spread else 0.0
        mean = float(predicted.mean())
        return Arms(
            self.queue - theta * (self.queue_predicted - mean),
            self.queue_predicted,
            self.hold_out - theta * (self.hold_out_predicted - mean),
            self.hold_out_predicted,
        )


def queue_effect(
    cohort: pa.Table,
    outcomes: pa.Table,
    feedback: pa.Table | None,
    *,
    rates: Mapping[str, Decimal],
    params: FollowUpParams,
    as_of: AsOf,
    run_id: str,
) -> pa.Table:
    """QUEUE_EFFECT at as_of.

    `cohort` is COHORT of this run, `outcomes` OUTCOMES as known before as_of, `feedback` FEEDBACK or None. `rates` are units of a
    currency for one of the corporate currency, needed for won_value where the cohort has several.
    """
    rows = [
        *_effects("win_rate", *_won(cohort, outcomes, params, as_of), None, params),
        *_value_effects(cohort, outcomes, rates, params, as_of),
        *_feedback_shares(feedback, as_of),
    ]
    shared = {"as_of": as_of.instant, "run_id": run_id}
    return conform(
        pa.Table.from_pylist([_EMPTY | row | shared for row in rows], schema=arrow_schema(QUEUE_EFFECT)), QUEUE_EFFECT
    )


_EMPTY: dict[str, Any] = {
    **dict.fromkeys(("value", "low_80", "high_80", "low_90", "high_90", "queue_mean", "hold_out_mean")),
    **{"missing_rows": None, "currency": None},
    **dict.fromkeys(("queue_rows", "hold_out_rows", "maturing_rows", "horizon_days"), 0),
}


def _won(
    cohort: pa.Table,
    outcomes: pa.Table,
    params: FollowUpParams,
    as_of: AsOf,
    amounts: Mapping[str, float] | None = None,
) -> tuple[Arms, int]:
    """The arms of the matured, and how many still mature. With `amounts` (units of each currency for one of the common) the value won."""
    horizon = timedelta(days=params.effect.horizon_days)
    until = pa.scalar(as_of.instant - horizon, cohort.schema.field("assigned_at").type)
    matured = cohort.filter(pc.less_equal(cohort.column("assigned_at"), until))
    of_matured = pc.is_in(outcomes.column("opportunity_id"), value_set=matured.column("opportunity_id"))
    told = outcomes.filter(of_matured)
    known = {name: rest for name, *rest in zip(*(told.column(c).to_pylist() for c in OUTCOME_COLUMNS), strict=True)}
    sides: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    predicted_column = "win_probability" if amounts is None else "expected_value"
    names = ("opportunity_id", "assigned_at", "is_held_out", "currency", predicted_column)
    for opportunity_id, assigned_at, is_held_out, currency, predicted in zip(
        *(matured.column(name).to_pylist() for name in names), strict=True
    ):
        is_won, closed_at, amount = known.get(opportunity_id, (None, None, None))
        in_time = bool(is_won) and (closed_at is None or closed_at < assigned_at + horizon)
        if amounts is None:
            sides[is_held_out].append((float(in_time), float(predicted or 0.0)))
        else:
            rate = amounts[currency]
            won = float(amount or 0) / rate if in_time else 0.0
            sides[is_held_out].append((won, float(predicted or 0) / rate))
    queue, hold_out = (np.array(sides[side], dtype=np.float64).reshape(-1, 2) for side in (False, True))
    arms = Arms(queue[:, 0], queue[:, 1], hold_out[:, 0], hold_out[:, 1])
    return arms, cohort.num_rows - matured.num_rows


def _value_effects(
    cohort: pa.Table, outcomes: pa.Table, rates: Mapping[str, Decimal], params: FollowUpParams, as_of: AsOf
) -> Iterator[dict[str, Any]]:
    currencies = sorted(cohort.column("currency").unique().to_pylist())
    common = currencies[0] if len(currencies) == 1 else None
    unknown = [name for name in currencies if not rates.get(name)] if common is None else []
    if unknown:
        for method in ("difference", "adjusted"):
            detail = f"not computed: the cohort has {len(currencies)} currencies, and no rate is known for {', '.join(unknown)}"
            yield {
                "figure": "won_value",
                "method": method,
                "horizon_days": params.effect.horizon_days,
                "detail": detail,
            }
        return
    amounts = {name: 1.0 if common is not None else float(rates[name]) for name in currencies}
    yield from _effects("won_value", *_won(cohort, outcomes, params, as_of, amounts), common, params)


def _effects(
    figure: str, arms: Arms, maturing: int, currency: str | None, params: FollowUpParams
) -> Iterator[dict[str, Any]]:
    shared = {
        "figure": figure,
        "currency": currency,
        "horizon_days": params.effect.horizon_days,
        "queue_rows": len(arms.queue),
        "hold_out_rows": len(arms.hold_out),
        "queue_mean": float(arms.queue.mean()) if len(arms.queue) else None,
        "hold_out_mean": float(arms.hold_out.mean()) if len(arms.hold_out) else None,
        "maturing_rows": maturing,
    }
    for method in ("difference", "adjusted"):
        row: dict[str, Any] = shared | {"method": method}
        both = len(arms.queue) and len(arms.hold_out)
        judged = arms.adjusted() if method == "adjusted" and both else arms
        row["missing_rows"] = _missing(figure, arms, judged, params)
        spreads = _spreads(figure, arms, judged)
        lack = _lack(arms, params)
        if lack is None and spreads is None:
            lack = "the outcomes do not vary"
        if lack is None and spreads is not None:
            row |= _difference(judged, spreads)
            row["detail"] = _words(row)
        else:
            row["detail"] = f"no causal evidence yet: {lack}{_still_missing(row['missing_rows'], figure, params)}"
        yield row


def _lack(arms: Arms, params: FollowUpParams) -> str | None:
    least = params.effect.least_rows
    if params.hold_out_share == 0 and not len(arms.hold_out):
        return "nothing is held out (follow_up.hold_out_share is 0)"
    if min(len(arms.queue), len(arms.hold_out)) < least:
        return (
            f"{len(arms.hold_out)} held-out and {len(arms.queue)} other opportunities have matured "
            f"({params.effect.horizon_days} days), {least} of each are needed"
        )
    wins = int((arms.queue > 0).sum() + (arms.hold_out > 0).sum())
    return f"only {wins} of the matured opportunities were won" if wins < _LEAST_WINS else None


def _difference(arms: Arms, spreads: tuple[float, float]) -> dict[str, Any]:
    from scipy.stats import t

    parts = [spread / len(arm) for spread, arm in zip(spreads, (arms.queue, arms.hold_out), strict=True)]
    error = float(np.sqrt(sum(parts)))
    value = float(arms.queue.mean() - arms.hold_out.mean())
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(arm) - 1) for part, arm in zip(parts, (arms.queue, arms.hold_out), strict=True)
    )
    found: dict[str, Any] = {"value": value}
    for level, low, high in _LEVELS:
        half = float(t.isf((1 - level) / 2, freedom)) * error
        found |= {low: value - half, high: value + half}
    return found


def _spreads(figure: str, arms: Arms, judged: Arms) -> tuple[float, float] | None:
    """Variance of a single outcome in the two arms; None where nothing varies or an arm is too small to tell.

    An arm without spread has that of one more win and one more loss, or for values that of the other arm.
    """
    if min(len(arms.queue), len(arms.hold_out)) < 2:
        return None
    found = [float(np.var(arm, ddof=1)) for arm in (judged.queue, judged.hold_out)]
    for number, arm in enumerate((arms.queue, arms.hold_out)):
        if found[number] <= _NO_SPREAD:
            rate = (float(arm.sum()) + 1) / (len(arm) + 2)
            found[number] = rate * (1 - rate) if figure == "win_rate" else found[1 - number]
    return (found[0], found[1]) if min(found) > _NO_SPREAD else None


def _missing(figure: str, arms: Arms, judged: Arms, params: FollowUpParams) -> int | None:
    """More matured opportunities, at the present share of held-out ones, until the 90 % interval is as narrow as asked for."""
    from scipy.stats import norm

    rows = len(arms.queue) + len(arms.hold_out)
    share = len(arms.hold_out) / rows if len(arms.hold_out) and len(arms.queue) else params.hold_out_share
    if not 0 < share < 1:
        return None
    width = params.effect.win_rate_width
    spreads = _spreads(figure, arms, judged)
    if figure == "won_value":
        width = params.effect.won_value_share * float(arms.hold_out.mean()) if len(arms.hold_out) else 0.0
    elif spreads is None:
        spreads = 0.25, 0.25  # at most
    if width <= 0 or spreads is None:
        return None
    needed = (float(norm.isf(0.05)) / width) ** 2 * (spreads[0] / (1 - share) + spreads[1] / share)
    return max(0, int(np.ceil(needed)) - rows)


def _still_missing(missing: int | None, figure: str, params: FollowUpParams) -> str:
    if missing is None:
        return ""
    percent = f"{100 * params.effect.won_value_share:.0f} %"
    width = f"{100 * params.effect.win_rate_width:.0f} points" if figure == "win_rate" else percent
    return f"; about {missing:,} more matured opportunities give a 90 % interval of {width} either way"


def _words(row: Mapping[str, Any]) -> str:
    def shown(value: float) -> str:
        if row["figure"] == "win_rate":
            return f"{100 * value:.1f} points"
        return f"{value:,.2f}" + (f" {row['currency']}" if row["currency"] else "")

    verdict = "the interval includes no effect"
    if row["low_90"] > 0:
        verdict = "the queue helps"
    elif row["high_90"] < 0:
        verdict = "the queue harms"
    direction = "more" if row["value"] >= 0 else "less"
    return (
        f"{shown(abs(row['value']))} {direction} than held out (90 % interval {shown(row['low_90'])} to {shown(row['high_90'])}), "
        f"over {row['queue_rows']:,} and {row['hold_out_rows']:,} matured opportunities: {verdict}"
    )


def _feedback_shares(feedback: pa.Table | None, as_of: AsOf) -> Iterator[dict[str, Any]]:
    """Shares of done, skipped and wrong among the follow-ups dealt with; intervals by Wilson (1927)."""
    from scipy.stats import binomtest

    counts = Counter(row["outcome"] for row in latest_statements(feedback, as_of).values())
    total = sum(counts.values())
    for outcome in FEEDBACK_OUTCOMES:
        row: dict[str, Any] = {"figure": f"{outcome}_share", "method": "feedback", "queue_rows": total}
        if not total:
            yield row | {"detail": "no feedback yet: give it with `sales-pipeline feedback FILE`"}
            continue
        row["value"] = counts[outcome] / total
        for level, low, high in _LEVELS:
            interval = binomtest(counts[outcome], total).proportion_ci(level, method="wilson")
            row |= {low: float(interval.low), high: float(interval.high)}
        yield row | {"detail": f"{counts[outcome]} of {total} follow-ups dealt with were {outcome}"}
