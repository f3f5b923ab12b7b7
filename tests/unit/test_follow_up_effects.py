from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from sales_pipeline.follow_up.causal import (
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
from sales_pipeline.follow_up.effects import ADJUSTED, NONE, PROXIMAL, EffectModel, code_digest, learn_effects
from sales_pipeline.follow_up.signs import learn_levels, modifiers
from sales_pipeline.follow_up.weeks import to_weeks
from tests.support.planted_effects import AS_OF, planted_weeks, true_effect

PARAMS = ContactEffectParams(min_rows=1000, folds=3, max_index_rows=4000)


@pytest.fixture(scope="module")
def confounded() -> EffectModel:
    """Sellers contact warm customers, and contacts work."""
    return learn_effects(planted_weeks(lift=0.3, confounding=2.0), AS_OF, PARAMS)


@pytest.fixture(scope="module")
def at_random() -> EffectModel:
    """Contacts work, and sellers contact whom they please."""
    return learn_effects(planted_weeks(lift=0.4, opportunities=2000), AS_OF, PARAMS)


def test_contacts_by_chance_are_judged_doubly_robust(at_random: EffectModel) -> None:
    assert at_random.method == ADJUSTED
    placebo, average = at_random.facts["placebo_replies_before"], at_random.facts["average_effect"]
    assert abs(placebo["value"]) < 1.96 * placebo["error"]
    assert average["low"] > 0
    # Signs four weeks later show a part of the effect: never more than there is, beyond noise.
    assert average["low"] < true_effect(lift=0.4)


def test_hidden_warmth_that_fools_a_naive_comparison_is_told_by_the_placebo(confounded: EffectModel) -> None:
    facts = confounded.facts
    placebo = facts["placebo_replies_before"]
    assert placebo["value"] > 5 * placebo["error"]
    assert confounded.method == PROXIMAL
    assert facts["first_stage_f"] > PARAMS.min_first_stage
    assert facts["average_effect"]["low"] < true_effect(lift=0.3, confounding=2.0) < facts["average_effect"]["high"]
    assert "replies stand for hidden warmth" in confounded.why


def test_no_effect_under_confounding_is_not_claimed() -> None:
    model = learn_effects(planted_weeks(lift=0.0, confounding=2.0), AS_OF, PARAMS)
    assert (model.method, model.why) == (NONE, "no effect rises above the noise")
    assert model.facts["adjusted_effect"]["low"] > 0, "the comparison that is not believed would have claimed one"
    assert model.estimate(planted_weeks(lift=0.0), AS_OF) == {}


def test_no_overlap_is_said() -> None:
    model = learn_effects(planted_weeks(certain=True), AS_OF, PARAMS)
    assert model.method == NONE
    assert model.why.startswith("no overlap")
    assert model.facts["overlap_and_balance"]["beyond_trim_share"] > PARAMS.max_beyond_trim


def test_too_little_is_said() -> None:
    few = learn_effects(planted_weeks(opportunities=60), AS_OF, PARAMS)
    assert (few.method, few.why.split(" ", 1)[1]) == (NONE, "opportunities of the rarer outcome, 100 needed")
    table = planted_weeks()
    short = learn_effects(table, AS_OF, PARAMS.model_copy(update={"min_rows": 10**6}))
    assert short.why.endswith("weeks to learn from, 1000000 needed")
    nil = pa.array(np.zeros(table.num_rows), pa.int64())
    for name in ("call_count", "email_count"):
        table = table.set_column(table.column_names.index(name), name, nil)
    silent = learn_effects(table, AS_OF, PARAMS)
    assert silent.why == "contacts in 0.0% of the weeks: too alike to learn from"
    empty = learn_effects(table.slice(0, 0), AS_OF, PARAMS)
    assert empty.method == NONE


def test_proxies_that_say_too_little_or_contradict_each_other_are_not_believed() -> None:
    table = planted_weeks(lift=0.3, confounding=2.0, opportunities=800)
    weak = learn_effects(table, AS_OF, PARAMS.model_copy(update={"min_first_stage": 1e9}))
    assert "too little" in weak.why
    at_odds = learn_effects(table, AS_OF, PARAMS.model_copy(update={"most_disagreement": 1e-9}))
    assert "different effects" in at_odds.why


def test_the_same_weeks_give_the_same_model_and_it_is_plain_json(confounded: EffectModel) -> None:
    again = learn_effects(planted_weeks(lift=0.3, confounding=2.0), AS_OF, PARAMS)
    text = json.dumps(again.to_dict(), sort_keys=True)
    assert text == json.dumps(confounded.to_dict(), sort_keys=True)
    table = planted_weeks(lift=0.3, confounding=2.0)
    restored = EffectModel.from_dict(json.loads(text))
    assert restored.estimate(table, AS_OF) == confounded.estimate(table, AS_OF)
    assert len(code_digest()) == 16


def test_every_open_opportunity_gets_an_effect_within_its_interval(confounded: EffectModel) -> None:
    table = planted_weeks(lift=0.3, confounding=2.0)
    now = table.filter(pa.compute.equal(table.column("as_of"), pa.scalar(AS_OF.instant)))
    found = confounded.estimate(table, AS_OF)
    assert set(found) == set(now.column("opportunity_id").to_pylist())
    assert all(one.low <= one.log_odds <= one.high for one in found.values())


def test_the_facts_say_assumptions_overlap_balance_and_placebo(confounded: EffectModel) -> None:
    facts = confounded.facts
    assert "not an experiment" in facts["assumptions"]
    balance = facts["overlap_and_balance"]
    assert balance["largest_difference_after"] < balance["largest_difference_before"]
    assert {row["modifier"] for row in facts["modifiers"]} >= {"lead_source web", "replied in 4 weeks"}


def test_replies_of_the_last_weeks_modify_what_is_said_of_an_opportunity() -> None:
    weeks = to_weeks(planted_weeks(opportunities=200), AS_OF)
    levels, cuts = learn_levels(weeks)
    assert cuts == ()
    columns, names = modifiers(weeks, levels, cuts)
    replied = columns[:, names.index("replied in 4 weeks")]
    row = int(np.flatnonzero(weeks.week == 0)[0])
    mine = (weeks.opportunity == weeks.opportunity[row]) & (weeks.week < 0) & (weeks.week >= -4)
    assert replied[row] == float(weeks.replies[mine].sum() > 0)


def test_a_known_effect_is_recovered_where_columns_hold_the_confounding() -> None:
    rng = np.random.default_rng(3)
    count = 6000
    x = np.column_stack([np.ones(count), rng.normal(size=(count, 2))])
    treated = (rng.random(count) < 1 / (1 + np.exp(-x[:, 1]))).astype(float)
    y = 0.5 * treated + x @ np.array([0.0, 1.0, -1.0]) + rng.normal(size=count)
    groups = np.arange(count)
    folds = folds_of(groups, 3, 1)
    found, facts = doubly_robust(y, treated, x, groups, folds)
    naive = float(y[treated == 1].mean() - y[treated == 0].mean())
    assert naive > 1.0
    assert abs(found.value[0] - 0.5) < 3 * found.error[0] < 0.15
    assert facts["largest_difference_after"] < 0.1 < facts["largest_difference_before"]


def test_instruments_recover_what_a_noisy_proxy_hides() -> None:
    rng = np.random.default_rng(4)
    count = 20_000
    hidden = rng.normal(size=count)
    treated = hidden + rng.normal(size=count)
    proxy, earlier = hidden + rng.normal(size=count), hidden[:, None] + rng.normal(size=(count, 2))
    y = 0.3 * treated + hidden + rng.normal(size=count)
    groups = np.arange(count)
    regressors = np.column_stack([treated, proxy])
    naive, _, _ = instrumented(y, regressors, regressors, groups)
    found, statistic, spare = instrumented(y, regressors, np.column_stack([treated, earlier]), groups)
    assert naive.value[0] > 0.5
    assert abs(found.value[0] - 0.3) < 3 * found.error[0]
    assert (spare, statistic < 15) == (1, True)
    assert strength(proxy[:, None], treated[:, None], earlier, groups) > 100


def test_residuals_leave_nothing_that_the_controls_say() -> None:
    rng = np.random.default_rng(5)
    x = np.column_stack([np.ones(900), rng.normal(size=900)])
    y = 2 * x[:, 1] + rng.normal(size=900)
    left = residuals(y, x, folds_of(np.arange(900), 3, 1))
    assert abs(float(np.corrcoef(left, x[:, 1])[0, 1])) < 0.1


def test_differences_are_shrunken_to_nil_unless_the_data_speak() -> None:
    noise = Estimates(np.array([0.1, -0.1, 0.05]), 0.01 * np.eye(3))
    nothing, none = shrink(noise, 1.0)
    assert (nothing.value.tolist(), none) == ([0.0, 0.0, 0.0], 0.0)
    assert (nothing.error > 0).all(), "what was not found may still be there"
    assert (nothing.error < noise.error).all()
    clear = Estimates(np.array([1.0, -1.0, 0.5]), 0.01 * np.eye(3))
    posterior, spread = shrink(clear, 1.0)
    assert spread > 0.3
    assert 0.9 < posterior.value[0] < 1.0
    assert shrink(clear, 0.0)[1] == 0.0
    assert wald(noise)[1] > 0.1 > wald(clear)[1]
