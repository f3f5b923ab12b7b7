"""What a contact now changes in the chance of winning, estimated from the weeks of past opportunities, or why that cannot be said.

A contact is one of ours within a week; the outcome is the chance of having won in the end that the customer's own signs speak of RECENT weeks
after it (`signs`), and the outcome itself where it closed by then: a surrogate index (Athey, Chetty, Imbens & Kang, "The surrogate index", 2019), which
takes most of the noise away. An opportunity that closes within the week of the contact says nothing: contact and closing cannot be told apart there.

Sellers contact warm customers, and no column holds all of that warmth. The adjusted estimate (doubly robust, `causal`) is believed only where its
placebo, the effect of a contact on the replies of the week before it, is nil. Else replies are taken as what they are, noisy proxies of the
warmth: those of the last week stand for it, those of earlier weeks are the instruments for them (proximal causal learning: Miao, Geng & Tchetgen
Tchetgen, 2018; Tchetgen Tchetgen et al., "An introduction to proximal causal learning", 2020; with cross-fitted partialling out as in
Chernozhukov et al., 2018), with a test of over-identification. Where neither stands, or no effect rises above the noise, nothing is claimed.

Effects are in log-odds, with differences by few columns as far as the data bear them out.

Belongs here: the order of these steps and their verdict. Does not belong here: formulas (`causal`), gains in money (`gain`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.machine import one_core
from sales_pipeline.follow_up.causal import (
    Z90,
    Estimates,
    doubly_robust,
    folds_of,
    instrumented,
    residuals,
    shrink,
    strength,
    wald,
)
from sales_pipeline.follow_up.effect_params import ContactEffectParams
from sales_pipeline.follow_up.signs import (
    RECENT,
    Signs,
    columns_now,
    learn_levels,
    learn_signs,
    modifiers,
    replies,
    standing,
)
from sales_pipeline.follow_up.weeks import KINDS, LAGS, Floats, Indices, Weeks, to_weeks

ADJUSTED, PROXIMAL, NONE = "doubly_robust", "proximal", "none"
FORMAT = 1
MODELS = ("chosen_facts", "contact_weeks")
_PROXY_LAGS = (2, 3, 4)
_FLAT = 0.02
"""A chance closer to 0 or 1 than this counts as so far from it: log-odds of the near certain are noise."""


@dataclass(frozen=True)
class ContactEffect:
    """The effect of a contact now on the log-odds of winning; `low` and `high` are its 90 % interval."""

    log_odds: float
    low: float
    high: float


@dataclass(frozen=True)
class EffectModel:
    """What was learnt. `method` is NONE where nothing is claimed; `why` says what decided, `facts` what it rests on (JSON-able).

    `effects` are log-odds: the average first, then differences per modifier column from its centre; `by_kind` relative effects of call, e-mail and meeting where the data tell them apart, else empty.
    """

    method: str
    why: str
    trained_through: str
    signs: Signs | None = None
    effects: Estimates | None = None
    centres: tuple[float, ...] = ()
    by_kind: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def estimate(self, table: pa.Table, as_of: AsOf) -> dict[str, ContactEffect]:
        """The effect by opportunity for the rows of CONTACT_WEEKS that start at `as_of`; nothing where nothing is claimed."""
        if self.signs is None or self.effects is None or not table.num_rows:
            return {}
        weeks = to_weeks(table, as_of)
        now = np.flatnonzero(weeks.week == 0)
        differing = modifiers(weeks, self.signs.levels, self.signs.size_cuts)[0][now] - np.array(self.centres)
        columns = np.column_stack([np.ones(len(now)), differing])
        value = columns @ self.effects.value
        error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", columns, self.effects.covariance, columns), 0.0))
        return {
            str(name): ContactEffect(round(float(v), 7), round(float(v - Z90 * s), 7), round(float(v + Z90 * s), 7))
            for name, v, s in zip(weeks.names[now], value, error, strict=True)
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "format": FORMAT,
            "method": self.method,
            "why": self.why,
            "trained_through": self.trained_through,
            "signs": None if self.signs is None else self.signs.to_dict(),
            "effects": None
            if self.effects is None
            else {"value": _rounded(self.effects.value), "covariance": _rounded(self.effects.covariance)},
            "centres": list(self.centres),
            "by_kind": dict(self.by_kind),
            "facts": dict(self.facts),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EffectModel:
        """The inverse of `to_dict`."""
        effects = data["effects"]
        return cls(
            method=data["method"],
            why=data["why"],
            trained_through=data["trained_through"],
            signs=None if data["signs"] is None else Signs.from_dict(data["signs"]),
            effects=None if effects is None else Estimates(np.array(effects["value"]), np.array(effects["covariance"])),
            centres=tuple(data["centres"]),
            by_kind=data["by_kind"],
            facts=data["facts"],
        )


@functools.cache
def code_digest() -> str:
    """A digest of the code and models an effect model depends on: a change of either makes a new one."""
    folder = Path(__file__).parent
    names = ("causal", "effect_params", "effects", "signs", "weeks")
    paths = [*(folder / f"{name}.py" for name in names), *(folder / "sql" / f"{name}.sql" for name in MODELS)]
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def nothing_claimed(why: str, as_of: AsOf, facts: Mapping[str, Any] | None = None) -> EffectModel:
    """A model that claims no effect."""
    return EffectModel(NONE, why, as_of.isoformat(), facts=facts or {})


@one_core()
def learn_effects(table: pa.Table, as_of: AsOf, params: ContactEffectParams) -> EffectModel:
    """The effect model of CONTACT_WEEKS made for `as_of`."""
    kinds = sorted({row for row in table.filter(table.column("is_won").is_valid()).column("kind").to_pylist() if row})
    weeks = to_weeks(table, as_of, kinds)
    problem = _too_little(weeks, params)
    if problem:
        return nothing_claimed(problem, as_of, {"rows": len(weeks)})
    return _learn(weeks, as_of, params)


def _too_little(weeks: Weeks, params: ContactEffectParams) -> str | None:
    closed = np.unique(weeks.opportunity[np.isfinite(weeks.won)])
    won = np.unique(weeks.opportunity[weeks.won == 1])
    least = min(len(won), len(closed) - len(won))
    if least < params.min_outcomes:
        return f"{least} opportunities of the rarer outcome, {params.min_outcomes} needed"
    contacted = float(weeks.is_contacted[weeks.week < 0].mean()) if (weeks.week < 0).any() else 0.0
    if not params.min_contact_share <= contacted <= 1 - params.min_contact_share:
        return f"contacts in {contacted:.1%} of the weeks: too alike to learn from"
    return None


@dataclass(frozen=True)
class _Sample:
    """Weeks to learn from: the outcome, who was contacted and what was known then. `spread` is p (1 - p) of the week before.

    The `_left` arrays are what the controls leave unexplained: outcome, contact, contact by kind, the proxy (alone and times spread), earlier replies.
    """

    y: Floats
    treated: Floats
    observed: Floats
    proxy: Floats
    earlier: Floats
    known_before: Floats
    spread: Floats
    modifiers: Floats
    account: Indices
    folds: Indices
    y_left: Floats
    treated_left: Floats
    kinds_left: Floats
    proxy_left: Floats
    earlier_left: Floats


def _learn(weeks: Weeks, as_of: AsOf, params: ContactEffectParams) -> EffectModel:
    folds = folds_of(weeks.account, params.folds, params.seed)
    outcome = _expected_outcome(weeks)
    levels, cuts = learn_levels(weeks)
    columns = columns_now(weeks, levels, cuts)
    known = np.flatnonzero(np.isfinite(outcome)).astype(np.int64)
    signs = learn_signs(columns, outcome, _evenly(known, params.max_index_rows), levels, cuts)
    warmth = np.empty(len(weeks))
    for fold in range(params.folds):
        # The index of each row by accounts other than its own.
        rows = _evenly(known[folds[known] != fold], params.max_index_rows)
        held = folds == fold
        warmth[held] = learn_signs(columns, outcome, rows, levels, cuts).chance(columns[held])
    sample = _sample(weeks, signs, warmth, folds, params)
    facts: dict[str, Any] = {
        "opportunities": len(np.unique(weeks.opportunity)),
        "rows": len(sample.y),
        "contact": "at least one call, e-mail or meeting of ours within a week",
        "outcome": f"chance of having won in the end, by the customer's signs {RECENT} weeks later",
        "assumptions": ASSUMPTIONS,
    }
    if len(sample.y) < params.min_rows:
        return nothing_claimed(f"{len(sample.y)} weeks to learn from, {params.min_rows} needed", as_of, facts)
    few = _evenly(np.arange(len(sample.y), dtype=np.int64), params.max_index_rows)
    adjusted, overlap = doubly_robust(
        sample.y[few], sample.treated[few], sample.observed[few], sample.account[few], sample.folds[few]
    )
    placebo = _placebo(sample)
    facts |= {
        "overlap_and_balance": overlap,
        "adjusted_effect": _figure(adjusted),
        "placebo_replies_before": _figure(placebo),
    }
    if overlap["beyond_trim_share"] > params.max_beyond_trim:
        return nothing_claimed("no overlap: who is contacted is all but settled by what is known of it", as_of, facts)
    if abs(placebo.value[0]) <= 1.96 * placebo.error[0]:
        method, why = ADJUSTED, "the placebo of the adjusted estimate is nil"
    else:
        method, why = PROXIMAL, "the placebo of the adjusted estimate is not nil: replies stand for hidden warmth"
    average, problem = _average(sample, method, facts, params)
    if problem:
        return nothing_claimed(problem, as_of, facts)
    if average.value[0] <= Z90 * average.error[0]:
        return nothing_claimed("no effect rises above the noise", as_of, facts)
    effects, centres = _effects(sample, method, average, facts, params)
    facts["modifiers"] = _named(modifiers(weeks, levels, cuts)[1], facts.pop("differences"), effects)
    by_kind = _by_kind(sample, method, facts)
    return EffectModel(method, why, as_of.isoformat(), signs, effects, centres, by_kind, facts)


def _effects(
    sample: _Sample, method: str, average: Estimates, facts: dict[str, Any], params: ContactEffectParams
) -> tuple[Estimates, tuple[float, ...]]:
    """Log-odds: the average effect spread as p (1 - p), then shrunken differences by the modifiers, centred."""
    scale = float(sample.spread.mean())
    weight = sample.spread / sample.spread.sum()
    centres = weight @ sample.modifiers
    centred = (sample.modifiers - centres) * sample.spread[:, None]
    raw = _fit(sample, np.hstack([sample.spread[:, None], centred]), method)[0]
    differences = Estimates(raw.value[1:], raw.covariance[1:, 1:])
    typical = max(float(average.value[0]), 0.0) / scale
    posterior, spread = shrink(differences, params.most_difference * typical)
    facts |= {"spread_of_differences": round(spread, 5), "differences": differences}
    count = len(differences.value)
    covariance = np.zeros((count + 1, count + 1))
    covariance[0, 0] = average.covariance[0, 0] / scale**2
    covariance[1:, 1:] = posterior.covariance
    value = np.concatenate([[average.value[0] / scale], posterior.value])
    # As stored, so that a model gives the same before and after.
    return Estimates(np.round(value, 10), np.round(covariance, 10)), tuple(
        round(float(centre), 10) for centre in centres
    )


ASSUMPTIONS = (
    "What decides on a contact beside chance is in the columns controlled for (doubly_robust), or is the customer's warmth, of which replies are "
    "proxies: warmth moves the chance and replies alike, and earlier replies say of later outcomes only what warmth says (proximal). "
    "The customer's signs weeks later carry the effect of the contact (surrogate index). An estimate, not an experiment: the queue's hold-out tests it."
)


def _expected_outcome(weeks: Weeks) -> Floats:
    """1 won, 0 lost; of open rows the share won among those that closed after having been open for as long; NaN where nothing had."""
    closed = np.isfinite(weeks.won)
    lasted = np.where(closed, weeks.closed_week - weeks.week, -weeks.week).astype(np.float64)
    result = weeks.won.copy()
    for row_edges in ((0, 4), (4, 8), (8, 16), (16, 32), (32, 1e9)):
        later = closed & (lasted >= row_edges[0])
        here = ~closed & (lasted >= row_edges[0]) & (lasted < row_edges[1])
        if later.any():
            result[here] = float(weeks.won[later].mean())
    return result


def _sample(weeks: Weeks, signs: Signs, warmth: Floats, folds: Indices, params: ContactEffectParams) -> _Sample:
    ahead = 1 + RECENT
    later, after = weeks.at(ahead), weeks.at(1)
    by_then = np.isfinite(weeks.won) & (weeks.closed_week < weeks.week + ahead)
    y = np.where(later >= 0, warmth[np.maximum(later, 0)], np.where(by_then, weeks.won, np.nan))
    use = np.flatnonzero((weeks.week + ahead <= 0) & (after >= 0) & np.isfinite(y))
    if len(use) > params.max_rows:
        use = use[np.isin(weeks.account[use], _some(np.unique(weeks.account[use]), params.max_rows / len(use)))]
    treated = weeks.is_contacted
    before = weeks.at(-1)
    base = np.where(before >= 0, warmth[np.maximum(before, 0)], float(warmth.mean()))
    spread = np.maximum(base * (1 - base), _FLAT * (1 - _FLAT))
    earlier_columns = modifiers(weeks, signs.levels, signs.size_cuts)[0]
    lagged = np.where(before[:, None] >= 0, earlier_columns[np.maximum(before, 0)], 0.0)
    held = np.minimum(weeks.replies, 2.0)
    proxy = weeks.look(held, -1)
    earlier = np.column_stack([weeks.look(held, -lag) for lag in _PROXY_LAGS])
    contacted = [weeks.look(treated, -lag) for lag in (1, 2, 3)]
    older = replies(weeks, max(_PROXY_LAGS), LAGS)
    habit = _habit(weeks)
    # Nothing here may tell of the replies that are the instruments.
    controls = np.hstack(
        [
            np.ones((len(weeks), 1)),
            standing(weeks, signs.levels, signs.size_cuts),
            np.column_stack([*contacted, contacted[0] * contacted[1], contacted[1] * contacted[2]]),
            np.column_stack([habit, habit**2, spread, spread * contacted[0], older, np.log1p(older)]),
        ]
    )[use]
    two = np.column_stack([np.ones(len(use)), spread[use]])
    ours = (weeks.contacts > 0).astype(np.float64)
    parts = [y[use, None], treated[use, None], ours[use], proxy[use, None] * two]
    parts += [earlier[use] * two[:, [k]] for k in range(2)]
    left = residuals(np.hstack(parts), controls, folds[use])
    return _Sample(
        y=y[use],
        treated=treated[use],
        observed=np.hstack([controls, proxy[use, None], earlier[use]]),
        proxy=proxy[use],
        earlier=earlier[use],
        known_before=np.hstack([controls, earlier[use]]),
        spread=spread[use],
        modifiers=lagged[use],
        account=weeks.account[use],
        folds=folds[use],
        y_left=left[:, 0],
        treated_left=left[:, 1],
        kinds_left=left[:, 2:5],
        proxy_left=left[:, 5:7],
        earlier_left=left[:, 7:],
    )


def _habit(weeks: Weeks) -> Floats:
    """How often the owner contacts other opportunities, as log-odds: what sellers differ in for reasons of their own."""
    past = (weeks.week < 0).astype(np.float64)
    done = weeks.is_contacted * past

    def totals(values: Floats, by: Indices) -> Floats:
        return np.asarray(np.bincount(by, weights=values)[by], dtype=np.float64)

    mine, all_mine = totals(done, weeks.opportunity), totals(past, weeks.opportunity)
    others, all_others = totals(done, weeks.owner) - mine, totals(past, weeks.owner) - all_mine
    share = (np.maximum(others, 0.0) + 1.0) / (np.maximum(all_others, 0.0) + 3.0)
    return np.log(share / (1.0 - np.minimum(share, 0.999)))


def _fit(sample: _Sample, modified: Floats, method: str, lags: Sequence[int] = ()) -> tuple[Estimates, float, int]:
    """Effects of the contact times `modified` on the outcome, with the over-identification statistic and its degrees of freedom.

    `lags` picks earlier replies by their place in _PROXY_LAGS; none given: all.
    """
    return _fit_columns(sample, sample.treated_left[:, None] * modified, method, lags)


def _fit_columns(
    sample: _Sample, effect: Floats, method: str, lags: Sequence[int] = ()
) -> tuple[Estimates, float, int]:
    count, all_lags = effect.shape[1], len(_PROXY_LAGS)
    places = [place + all_lags * k for k in range(2) for place in (lags or range(all_lags))]
    earlier = sample.earlier_left[:, places]
    if method == ADJUSTED:
        everything = np.hstack([effect, sample.proxy_left, earlier])
        found, _, _ = instrumented(sample.y_left, everything, everything, sample.account)
        return found.take(count), 0.0, 0
    regressors, instruments = np.hstack([effect, sample.proxy_left]), np.hstack([effect, earlier])
    found, statistic, spare = instrumented(sample.y_left, regressors, instruments, sample.account)
    return found.take(count), statistic, spare


def _average(
    sample: _Sample, method: str, facts: dict[str, Any], params: ContactEffectParams
) -> tuple[Estimates, str | None]:
    """The average effect on the chance of winning, and what speaks against believing it."""
    from scipy.stats import chi2

    one = np.ones((len(sample.y), 1))
    average, statistic, spare = _fit(sample, one, method)
    facts["average_effect"] = _figure(average)
    if method == ADJUSTED:
        return average, None
    first_stage = strength(
        sample.proxy_left[:, :1],
        sample.treated_left[:, None],
        sample.earlier_left[:, : len(_PROXY_LAGS)],
        sample.account,
    )
    newer, older = _fit(sample, one, method, (0,))[0], _fit(sample, one, method, (1, 2))[0]
    gap = abs(newer.value[0] - older.value[0]) / float(np.hypot(newer.error[0], older.error[0]))
    facts |= {
        "first_stage_f": round(first_stage, 1),
        "over_identification_p": round(float(chi2.sf(statistic, spare)), 6),
        "effect_by_newer_proxies": _figure(newer),
        "effect_by_older_proxies": _figure(older),
    }
    if first_stage < params.min_first_stage:
        return average, "earlier replies say too little of later ones to stand for hidden warmth"
    if gap > params.most_disagreement:
        return average, "newer and older replies give different effects: hidden warmth is not what replies show"
    return average, None


def _placebo(sample: _Sample) -> Estimates:
    """The effect of the contact on the replies of the week before it, other things known then held fixed: nil where nothing is hidden."""
    left = residuals(np.column_stack([sample.proxy, sample.treated]), sample.known_before, sample.folds)
    found, _, _ = instrumented(left[:, 0], left[:, 1:], left[:, 1:], sample.account)
    return found


def _by_kind(sample: _Sample, method: str, facts: dict[str, Any]) -> dict[str, float]:
    """Effects of call, e-mail and meeting relative to their mean where they differ beyond noise (1 %), else nothing."""
    used = [k for k in range(len(KINDS)) if float(sample.kinds_left[:, k].std()) > 0.05]
    if len(used) < 2:
        return {}
    found = _fit_columns(sample, sample.kinds_left[:, used], method)[0]
    contrast = np.hstack([-np.ones((len(used) - 1, 1)), np.eye(len(used) - 1)])
    _, p_value = wald(Estimates(contrast @ found.value, contrast @ found.covariance @ contrast.T))
    facts["by_kind"] = {
        KINDS[kind]: _figure(Estimates(found.value[k : k + 1], found.covariance[k : k + 1, k : k + 1]))
        for k, kind in enumerate(used)
    }
    facts["kinds_alike_p"] = round(p_value, 4)
    mean = float(found.value.mean())
    if p_value >= 0.01 or mean <= 0:
        return {}
    return {KINDS[kind]: round(max(float(found.value[k]), 0.0) / mean, 4) for k, kind in enumerate(used)}


def _evenly(rows: Indices, at_most: int) -> Indices:
    """Those rows, or so many of them, evenly spaced."""
    if len(rows) <= at_most:
        return rows.astype(np.int64)
    return rows[np.linspace(0, len(rows) - 1, at_most).astype(np.int64)].astype(np.int64)


def _some(values: Indices, share: float) -> Indices:
    number = np.arange(len(values))
    return np.asarray(values[np.floor(number * share) != np.floor((number - 1) * share)], dtype=np.int64)


def _figure(found: Estimates) -> dict[str, float]:
    value, error = float(found.value[0]), float(found.error[0])
    return {
        "value": round(value, 6),
        "error": round(error, 6),
        "low": round(value - Z90 * error, 6),
        "high": round(value + Z90 * error, 6),
    }


def _named(names: list[str], raw: Estimates, effects: Estimates) -> list[dict[str, Any]]:
    return [
        {
            "modifier": name,
            "estimate": round(float(raw.value[k]), 5),
            "error": round(float(raw.error[k]), 5),
            "shrunken": round(float(effects.value[k + 1]), 5),
        }
        for k, name in enumerate(names)
    ]


def _rounded(values: Floats) -> Any:
    return np.round(values, 10).tolist()
