"""The rule of promotion, on arrays: challenger against champion on the same rows.

A challenger passes when all of these hold:

- it tells opportunities apart: its probabilities are spread, and its log loss beats the best single rate (the rows' own, known only with
  hindsight) by more than `noise_z` standard errors. A constant model can never pass;
- it is better: the 80 % interval of the gain in log loss lies above 0. A refit of the champion's family on newer data, and a model in the place of
  rates, need only not be worse (the interval does not lie below 0): else no refit would ever take the place of an ageing model it cannot be told from;
- its calibration is no worse: the calibration error has not grown beyond noise by more than `CALIBRATION_TOLERANCE`;
- no main segment is clearly worse: its gain does not lie below 0 beyond noise, the limit raised for the number of segments looked at (Bonferroni).

Intervals come from a paired bootstrap over groups (accounts, else opportunities): both models are seen on the same resampled rows (Efron &
Tibshirani, An Introduction to the Bootstrap, 1993, ch. 8 and 16), seeded, so equal inputs give equal verdicts.

Belongs here: the rule and its figures. Does not belong here: where rows and probabilities come from (`promotion`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from sales_pipeline.models.matrix import Floats, Indices, codes
from sales_pipeline.models.metrics import calibration_error, log_losses, paired_difference, win_metrics
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.segments import shown

CALIBRATION_TOLERANCE = 0.01
"""Growth of the calibration error that is no objection even where it is beyond noise: half of what a calibration error may be at all (0.02)."""
SEGMENT_TOLERANCE = 0.01
"""Growth of a segment's log loss that is no objection even where it is beyond noise."""
MIN_SPREAD = 1e-3
"""Standard deviation of the probabilities below which a model counts as constant."""
MIN_SEGMENT_GROUPS = 30
MIN_SEGMENT_SHARE = 0.05
"""Of the rows' weight: smaller segments are shown, but do not object."""
MIN_GROUPS = 10
"""Groups below which nothing is compared."""


@dataclass(frozen=True)
class Verdict:
    """What the comparison says.

    `objections` are the reasons against (empty: it passes), `reasons` all that was looked at, objections first. `is_constant` says that the
    challenger does not tell opportunities apart at all: such a model is not promoted by force either. `figures` holds `champion` and
    `challenger` (win_metrics each; champion absent where there is none), `gain` with interval, `gain_over_base`, `calibration_increase`.
    `segments`: one row per segment, JSON-able.
    """

    objections: tuple[str, ...]
    reasons: tuple[str, ...]
    is_constant: bool
    figures: dict[str, Any]
    segments: tuple[dict[str, Any], ...] = ()

    @property
    def is_promoted(self) -> bool:
        """Whether nothing stands against the challenger."""
        return not self.objections

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "is_promoted": self.is_promoted,
            "is_constant": self.is_constant,
            "objections": list(self.objections),
            "reasons": list(self.reasons),
            "figures": self.figures,
            "segments": list(self.segments),
        }


def verdict(
    champion_p: Floats | None,
    challenger_p: Floats,
    won: Floats,
    weight: Floats,
    groups: npt.NDArray[Any],
    segments: Mapping[str, npt.NDArray[Any]],
    params: TrainingParams,
    *,
    must_gain: bool = True,
) -> Verdict:
    """Judge a challenger on rows with known outcomes.

    Parameters
    ----------
    champion_p, challenger_p
        Probabilities out of time, one per row; NaN: abstained. Rows on which either abstains, or whose outcome is unknown or weight 0, are left out.
        Without a champion only the first condition is asked.
    won, weight
        1 or 0, between them what is to be expected of a row still open; how much a row counts.
    groups
        Rows of one group (an account's) are dependent.
    segments
        Per kind of segment one text per row.
    must_gain
        Whether the challenger must be better; else it must not be worse.
    """
    known = np.isfinite(won) & np.isfinite(challenger_p) & (weight > 0)
    if champion_p is not None:
        known &= np.isfinite(champion_p)
    rows = np.flatnonzero(known)
    q, y, w = challenger_p[rows], won[rows], weight[rows]
    number = codes(groups[rows])
    count = int(number.max(initial=-1)) + 1
    figures: dict[str, Any] = {"rows": len(rows), "rows_left_out": len(won) - len(rows), "groups": count}
    spread = float(np.sqrt(np.average((q - np.average(q, weights=w)) ** 2, weights=w))) if len(rows) else 0.0
    rate = float(np.average(y, weights=w)) if len(rows) else float("nan")
    if count < MIN_GROUPS or not 0 < rate < 1:
        text = f"too little to judge by: {len(rows)} rows of {count} accounts, win rate {rate:.0%}"
        return Verdict((text,), (text,), len(rows) > 0 and spread < MIN_SPREAD, figures)
    loss = log_losses(y, q)
    over_base, over_base_error = paired_difference(log_losses(y, np.full(len(y), rate)), loss, number, w)
    figures |= {
        "challenger": win_metrics(y, q, groups[rows], w),
        "spread": spread,
        "gain_over_base": over_base,
        "gain_over_base_error": over_base_error,
    }
    bad: list[str] = []
    good: list[str] = []
    says = f"{over_base:+.4f} log loss on the rows' own win rate, standard error {over_base_error:.4f}"
    tells_apart = spread >= MIN_SPREAD and over_base > params.noise_z * over_base_error
    (good if tells_apart else bad).append(
        f"{'tells opportunities apart' if tells_apart else 'does not tell opportunities apart beyond noise'} (gains {says})"
    )
    is_constant = spread < MIN_SPREAD or over_base <= 0
    parts: list[dict[str, Any]] = []
    champion_loss: Floats | None = None
    if champion_p is not None:
        # What sums in another order differ by is no difference.
        p = np.where(np.isclose(champion_p[rows], q, rtol=1e-9, atol=0.0), q, champion_p[rows])
        champion_loss = log_losses(y, p)
        figures["champion"] = win_metrics(y, p, groups[rows], w)
        figures |= _bootstrap(y, p, q, w, number, count, params)
        _judge_gain(figures, bad, good, must_gain=must_gain)
        _judge_calibration(figures, bad, good)
    parts = _segment_rows(y, q, champion_loss, loss, w, number, {k: v[rows] for k, v in segments.items()})
    if champion_loss is not None:
        _judge_segments(parts, bad, good)
    return Verdict(tuple(bad), (*bad, *good), is_constant, figures, tuple(parts))


def _bootstrap(
    won: Floats, p: Floats, q: Floats, weight: Floats, number: Indices, count: int, params: TrainingParams
) -> dict[str, Any]:
    """Gain in log loss (champion less challenger) and increase of the calibration error, each with its 80 % interval."""
    difference = log_losses(won, p) - log_losses(won, q)
    gain, error = paired_difference(difference, np.zeros(len(won)), number, weight)
    random = np.random.default_rng(params.seed)
    sums, mass = np.bincount(number, weights=weight * difference), np.bincount(number, weights=weight)
    gains: list[float] = []
    increases: list[float] = []
    for _ in range(params.bootstrap_rounds):
        drawn = np.bincount(random.integers(0, count, count), minlength=count).astype(np.float64)
        gains.append(float(drawn @ sums / max(float(drawn @ mass), 1e-12)))
        again = weight * drawn[number]
        increases.append(calibration_error(won, q, weight=again) - calibration_error(won, p, weight=again))
    low, high = np.quantile(gains, (0.1, 0.9))
    increase_low, increase_high = np.nanquantile(increases, (0.1, 0.9))
    before, after = calibration_error(won, p, weight=weight), calibration_error(won, q, weight=weight)
    return {
        "gain": gain,
        "gain_error": error,
        "gain_low": float(low),
        "gain_high": float(high),
        "better_share": float(np.mean(np.array(gains) > 0)),
        "calibration_increase": after - before,
        "calibration_increase_low": float(increase_low),
        "calibration_increase_high": float(increase_high),
    }


def _judge_gain(figures: Mapping[str, Any], bad: list[str], good: list[str], *, must_gain: bool) -> None:
    says = (
        f"log loss {'lower' if figures['gain'] >= 0 else 'higher'} by {abs(figures['gain']):.4f} than the champion's (80 % interval of the gain "
        f"{figures['gain_low']:.4f} to {figures['gain_high']:.4f}, better in {figures['better_share']:.0%} of resamples of {figures['groups']} accounts)"
    )
    if figures["gain_low"] > 0:
        good.append(f"better: {says}")
    elif figures["gain_high"] < 0:
        bad.append(f"worse: {says}")
    elif must_gain:
        bad.append(f"not better beyond noise: {says}")
    else:
        good.append(f"not worse: {says}")


def _judge_calibration(figures: Mapping[str, Any], bad: list[str], good: list[str]) -> None:
    says = (
        f"calibration error {figures['challenger']['calibration_error']:.4f} against {figures['champion']['calibration_error']:.4f} "
        f"(increase {figures['calibration_increase']:.4f}, 80 % interval {figures['calibration_increase_low']:.4f} to "
        f"{figures['calibration_increase_high']:.4f})"
    )
    worse = figures["calibration_increase_low"] > 0 and figures["calibration_increase"] > CALIBRATION_TOLERANCE
    (bad if worse else good).append(f"calibration {'is' if worse else 'no'} worse: {says}")


def _judge_segments(parts: list[dict[str, Any]], bad: list[str], good: list[str]) -> None:
    main = [part for part in parts if part["is_main"]]
    limit = float(norm.isf(0.1 / max(1, len(main))))
    for part in main:
        part["is_worse"] = part["gain"] < -SEGMENT_TOLERANCE and part["gain"] < -limit * part["gain_error"]
    worse = [part for part in main if part["is_worse"]]
    if worse:
        names = ", ".join(f"{part['kind']} {part['segment']} (log loss {-part['gain']:+.4f})" for part in worse)
        bad.append(f"clearly worse in {len(worse)} of {len(main)} main segments: {names}")
    else:
        good.append(f"clearly worse in none of {len(main)} main segments")


def _segment_rows(
    won: Floats,
    q: Floats,
    champion_loss: Floats | None,
    loss: Floats,
    weight: Floats,
    number: Indices,
    segments: Mapping[str, npt.NDArray[Any]],
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    total = float(weight.sum())
    for kind, given in segments.items():
        texts, order = shown(kind, given, weight)
        for name in order:
            part = np.flatnonzero(texts == name)
            w, mass = weight[part], float(weight[part].sum())
            if not mass:
                continue
            groups = len(np.unique(number[part]))
            row: dict[str, Any] = {
                "kind": kind,
                "segment": name,
                "rows": len(part),
                "groups": groups,
                "share": mass / total,
                "win_rate": float(w @ won[part]) / mass,
                "predicted": float(w @ q[part]) / mass,
                "log_loss": float(w @ loss[part]) / mass,
                "is_main": groups >= MIN_SEGMENT_GROUPS and mass >= MIN_SEGMENT_SHARE * total,
            }
            if champion_loss is not None:
                gain, error = paired_difference(champion_loss[part], loss[part], number[part], w)
                row |= {"champion_log_loss": float(w @ champion_loss[part]) / mass, "gain": gain, "gain_error": error}
                row["is_worse"] = False
            found.append(row)
    return found
