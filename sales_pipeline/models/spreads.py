"""How won amounts lie around the prediction of their logarithm: smearing factors and conformal ends, by group of rows.

Amounts settle while an opportunity advances, and a record without an amount is far less certain: one residual distribution for all would cover
80 % on the whole and nowhere in particular. So groups have their own (Mondrian conformal prediction: Vovk, Lindsay, Nouretdinov & Gammerman, 2003;
split conformal: Lei et al., "Distribution-free predictive inference for regression", 2018; smearing: Duan, "Smearing estimate", 1983).

Belongs here: spreads and their use. Does not belong here: the predictions (`amounts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sales_pipeline.domain.money import LARGEST_AMOUNT
from sales_pipeline.models.calibration import SHARE
from sales_pipeline.models.matrix import Floats, Indices, Texts

MIN_GROUP = 30
"""Opportunities a group needs for a spread of its own."""
STATED, UNSTATED = "crm_amount", "no_crm_amount"
"""Groups of rows by whether the CRM states a positive amount; a stage of the former may have its own, `STATED`/stage."""


@dataclass(frozen=True)
class Spread:
    """The factor that turns exp(prediction) into an expectation, and the interval's ends as residuals of the logarithm."""

    smearing: float
    low: float
    high: float


def groups_of(keys: pd.DataFrame) -> tuple[npt.NDArray[np.bool_], npt.NDArray[Any]]:
    """Whether the CRM states a positive amount, and the group of the row's stage; per row."""
    stage = keys["stage"].astype(object)
    names = (STATED + "/" + stage.where(stage.notna(), "").astype(str)).to_numpy(dtype=object)
    return _is_stated(keys), names


def _is_stated(keys: pd.DataFrame) -> npt.NDArray[np.bool_]:
    amount = keys["amount"].to_numpy(dtype=np.float64)
    return np.asarray(np.isfinite(amount) & (amount > 0))


def spread_of(residual: Floats, opportunity: Indices) -> Spread:
    """The spread of residuals (logarithms), with evidence counted in opportunities, as their rows are dependent.

    Smearing: the mean of exp(residual), with the largest 1 % held back so that one outlier does not lift every expectation.
    """
    count = len(np.unique(opportunity))
    tail = (1 - SHARE) / 2 * (count + 1) / count - 1 / count
    low, high = np.quantile(residual, np.clip([tail, 1 - tail], 0.0, 1.0))
    held = np.clip(residual, *np.quantile(residual, [0.01, 0.99]))
    return Spread(float(np.exp(held).mean()), float(low), float(high))


def learn_spreads(residual: Floats, opportunity: Indices, keys: pd.DataFrame, taught: Floats) -> dict[str, Spread]:
    """Spread by group from out-of-time residuals; stages with few opportunities have none of their own.

    Few rows without a CRM amount: the spread of all won amounts (`taught`, logarithms) around their median, as if nothing else were known.
    """
    stated, stage = groups_of(keys)

    def own(inside: npt.NDArray[np.bool_]) -> Spread | None:
        enough = len(np.unique(opportunity[inside])) >= MIN_GROUP
        return spread_of(residual[inside], opportunity[inside]) if enough else None

    unknown = spread_of(taught - np.median(taught), np.arange(len(taught), dtype=np.int64))
    found = {STATED: own(stated) or spread_of(residual, opportunity), UNSTATED: own(~stated) or unknown}
    for name in sorted(set(stage[stated].tolist())):
        spread = own(stated & (stage == name))
        if spread is not None:
            found[name] = spread
    return found


def amounts_of(score: Floats, keys: pd.DataFrame, spreads: Mapping[str, Spread]) -> tuple[Floats, Floats, Floats]:
    """Expected amount, lower and upper end of predicted logarithms; the ends lie around the expectation.

    All are held within what an amount can be (`LARGEST_AMOUNT`): one typing error among the won amounts can put the ends anywhere.
    """
    stage = Texts.of(keys["stage"])
    chosen = [spreads.get(f"{STATED}/{name or ''}", spreads[STATED]) for name in stage.names]
    group = np.where(_is_stated(keys), stage.number, len(chosen))
    smearing, low, high = np.array([(s.smearing, s.low, s.high) for s in (*chosen, spreads[UNSTATED])]).T[:, group]
    expected, lower, upper = (
        np.minimum(values, LARGEST_AMOUNT)
        for values in (np.exp(score) * smearing, np.exp(score + low), np.exp(score + high))
    )
    return expected, np.minimum(lower, expected), np.maximum(upper, expected)
