"""What an action is expected to bring: by the estimated effect of a contact where there is one, else by stated shares of the value at risk.

| gain_basis               | expected gain                                                                                     |
| ------------------------ | ------------------------------------------------------------------------------------------------- |
| estimated_effect         | change of the chance of winning by a contact now, as estimated, x the amount to be expected if won |
| value_at_risk_rules      | a stated share (`RiskShares`) of the expected value; no claim about an effect                      |

The effect is one of any contact; actions differ from it by what the data say (`EffectModel.by_kind`), else by stated relative shares
(`RelativeEffects`). Changes of the record (close date, close as lost) are no contacts and go by the rules always.

Belongs here: these formulas and how a row tells of them. Does not belong here: which action is possible (`rules`), the estimate (`effects`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sales_pipeline.domain.money import to_amount
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.follow_up.situation import Situation

VALUE_AT_RISK, ESTIMATED = "value_at_risk_rules", "estimated_effect"
GAIN_BASES = (VALUE_AT_RISK, ESTIMATED)
_KIND_OF_ACTION = {"call": "call", "ask_decision": "call", "email": "email", "re_engage": "email", "meeting": "meeting"}


@dataclass(frozen=True)
class Effect:
    """The estimated effect of a contact now on an opportunity's log-odds of winning, with its 90 % interval.

    `by_kind`: effects of call, e-mail and meeting relative to it where the data tell them apart, else empty.
    """

    log_odds: float
    low: float
    high: float
    by_kind: Mapping[str, float]


def typical_effect(effects: Iterable[Effect]) -> Effect | None:
    """The mean of several effects, with the mean bounds; None of none."""
    found = list(effects)
    if not found:
        return None
    log_odds, low, high = (
        math.fsum(getattr(one, name) for one in found) / len(found) for name in ("log_odds", "low", "high")
    )
    return Effect(log_odds, low, high, found[0].by_kind)


@dataclass(frozen=True)
class Gain:
    """`amount` in the record's currency (None: no amount known); `share` is the change of the chance of winning relative to that chance.

    `text` is the evidence, as a part of a sentence.
    """

    amount: Decimal | None
    share: float
    basis: str
    text: str


def gain_by_rule(situation: Situation, share: float) -> Gain:
    """A stated share of the value at stake."""
    amount = None if situation.value_at_stake is None else to_amount(situation.value_at_stake * Decimal(str(share)))
    return Gain(amount, share, VALUE_AT_RISK, f"of which {share:.0%} at risk")


def gain_of_contact(situation: Situation, action: str, effect: Effect, params: FollowUpParams) -> Gain:
    """The estimated effect of that action, negative where contacts put the customer off."""
    relative = effect.by_kind.get(_KIND_OF_ACTION[action], getattr(params.relative_effects, action))
    p = situation.owner_free_probability or 0.0
    change, low, high = (chance_change(p, relative * value) for value in (effect.log_odds, effect.low, effect.high))
    share = change / p if p > 0 else 0.0
    text = f"a contact now is estimated to change the chance of winning by {_points(change)} points (90 %: {_points(low)} to {_points(high)})"
    stake = situation.value_at_stake
    if stake is None or p <= 0:
        return Gain(None if stake is None else to_amount(Decimal(0)), share, ESTIMATED, text)
    amount, low_amount, high_amount = (
        to_amount(stake * Decimal(str(round(value / p, 9)))) for value in (change, low, high)
    )
    text += f", {amount} {situation.currency} ({low_amount} to {high_amount})"
    return Gain(amount, share, ESTIMATED, text)


def chance_change(p: float, log_odds: float) -> float:
    """By how much a probability changes when its log-odds do; nil for what is certain."""
    if not 0.0 < p < 1.0:
        return 0.0
    return 1.0 / (1.0 + (1.0 - p) / p * math.exp(-max(min(log_odds, 30.0), -30.0))) - p


def _points(change: float) -> str:
    return f"{100 * change:+.2f}"
