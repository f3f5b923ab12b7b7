"""The lower rungs of the evidence ladder: what is said when little or nothing has closed.

No closed opportunity: rules. Every opportunity starts from `PRIOR_RATE`, a guess that is stated as one; where the CRM states its own probability, a stage
stands halfway (in log-odds) between that guess and the CRM's mean probability of the stage. The guess is worth `PRIOR_DEALS` deals, so that
the interval is as wide as such knowledge is: Jeffreys' of a rate seen on that many. Some closed, or one outcome only: the rate seen, with the guess as
its prior (a beta prior, Gelman et al., "Bayesian Data Analysis", 2013, ch. 2), and what stages, products or owners add to it, shrunken.

Belongs here: models that need no search. Does not belong here: families and their choice (`candidates`, `win`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sales_pipeline.models.bundle import WinModel
from sales_pipeline.models.calibration import Calibrator, IntervalTable
from sales_pipeline.models.encoding import Encoding
from sales_pipeline.models.estimators import Rates, logit
from sales_pipeline.models.matrix import Floats, Matrix

PRIOR_RATE = 0.25
PRIOR_DEALS = 4.0
RULES_TEXT = f"no closed opportunity is known: documented rules ({PRIOR_RATE:.0%} to start with, halfway to the CRM's own probability of the stage where it states one)"


def rules_model(matrix: Matrix) -> WinModel:
    """The model of a company of which nothing has closed; `matrix` may have no rows."""
    guess = float(logit(np.array([PRIOR_RATE]))[0])
    stages: dict[str, float] = {}
    stated = matrix.keys[["stage", "crm_probability"]].dropna()
    for stage, mean in stated.groupby("stage")["crm_probability"].mean().sort_index().items():
        own = float(logit(np.clip(np.array([float(mean)]), 0.02, 0.98))[0])
        stages[str(stage)] = 0.5 * (own - guess)
    return _model("rules", "rules", Rates(base=guess, fields={"stage": stages} if stages else {}), PRIOR_DEALS)


def few_model(facts: Mapping[str, Any], rates: Rates) -> WinModel:
    """The model of a company of which little has closed, or with one outcome only: `rates` at the level of the rate seen with its prior.

    `facts` are `card.count_rows`.
    """
    won, closed = float(facts["won_opportunities"]), float(facts["closed_opportunities"])
    seen = (won + PRIOR_RATE * PRIOR_DEALS) / (closed + PRIOR_DEALS)
    base = float(logit(np.array([seen]))[0])
    fields = rates.fields if 0 < won < closed else {}
    return _model("shrunken_rates", "rates", Rates(base=base, fields=fields), closed + PRIOR_DEALS)


def _model(family: str, level: str, rates: Rates, deals: float) -> WinModel:
    grid: Floats = np.array([-6.0, 6.0])
    nearby = IntervalTable(tuple(grid.tolist()), (deals, deals))
    return WinModel(family, level, Encoding((), ()), rates, Calibrator(), nearby, needs_created_at=False)
