from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from sales_pipeline.contracts.internal import COHORT, FEEDBACK, OUTCOMES
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, LEFT_OUT
from sales_pipeline.follow_up.checks import check_effect
from sales_pipeline.follow_up.cohort import join_cohort
from sales_pipeline.follow_up.params import EffectParams, FollowUpParams
from sales_pipeline.follow_up.queue_effect import queue_effect
from tests.support.published_run import left_row, queue_row, run_tables
from tests.support.scored_rows import AS_OF, prediction_row, rows_of, scored_table, spine_row

PARAMS = FollowUpParams()
LONG_AGO = AS_OF.instant - timedelta(days=200)


def member(name: str, *, held_out: bool = False, days_ago: int = 200, **values: Any) -> dict[str, Any]:
    return {
        "source_system": "crm", "opportunity_id": name, "assigned_at": AS_OF.instant - timedelta(days=days_ago),
        "is_held_out": held_out, "win_probability": 0.5, "expected_value": Decimal("500.00"), "currency": "EUR",
    } | values  # fmt: skip


def outcome(name: str, won: bool | None, days_ago: int = 150, amount: float = 1000.0) -> dict[str, Any]:
    return {
        "opportunity_id": name, "is_won": won, "currency": "EUR",
        "closed_at": None if won is None else AS_OF.instant - timedelta(days=days_ago),
        "won_amount": Decimal(str(amount)) if won else None,
    }  # fmt: skip


def effects(
    cohort: list[dict[str, Any]],
    outcomes: list[dict[str, Any]],
    params: FollowUpParams = PARAMS,
    feedback: pa.Table | None = None,
    rates: dict[str, Decimal] | None = None,
) -> dict[tuple[str, str], dict[str, Any]]:
    found = queue_effect(
        rows_of(COHORT, cohort),
        rows_of(OUTCOMES, outcomes),
        feedback,
        rates=rates or {},
        params=params,
        as_of=AS_OF,
        run_id="run-1",
    )
    return {(row["figure"], row["method"]): row for row in found.to_pylist()}


def drawn(seed: int, rows: int = 2000, effect: float = 0.1) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A cohort whose chance of a win is the predicted one, and `effect` more where open to the queue."""
    draw = np.random.default_rng(seed)
    cohort, outcomes = [], []
    for number in range(rows):
        p, held_out = float(draw.uniform(0.05, 0.85)), bool(draw.random() < 0.2)
        won = bool(draw.random() < p + (0.0 if held_out else effect))
        cohort.append(
            member(f"o{number}", held_out=held_out, win_probability=p, expected_value=Decimal(str(round(1000 * p, 2))))
        )
        outcomes.append(outcome(f"o{number}", won))
    return cohort, outcomes


def test_the_true_effect_lies_in_the_interval_and_the_adjusted_one_is_narrower() -> None:
    covered = 0
    for seed in range(20):
        found = effects(*drawn(seed))
        plain, adjusted = found["win_rate", "difference"], found["win_rate", "adjusted"]
        covered += adjusted["low_90"] <= 0.1 <= adjusted["high_90"]
        assert adjusted["high_90"] - adjusted["low_90"] < 0.95 * (plain["high_90"] - plain["low_90"])
        assert adjusted["low_90"] < adjusted["low_80"] < adjusted["value"] < adjusted["high_80"] < adjusted["high_90"]
    assert covered >= 15
    value = found["won_value", "adjusted"]
    assert (value["currency"], value["queue_rows"] + value["hold_out_rows"]) == ("EUR", 2000)


def test_the_words_say_what_the_interval_says() -> None:
    cohort, outcomes = drawn(1, effect=0.3)
    assert effects(cohort, outcomes)["win_rate", "adjusted"]["detail"].endswith(
        "matured opportunities: the queue helps"
    )
    turned = [row | {"is_held_out": not row["is_held_out"]} for row in cohort]
    harm = effects(turned, outcomes)["win_rate", "adjusted"]
    assert harm["detail"].endswith("the queue harms")
    assert " less than held out" in harm["detail"]
    assert effects(*drawn(2, effect=0.0, rows=400))["win_rate", "adjusted"]["detail"].endswith(
        "the interval includes no effect"
    )


def test_a_harmful_queue_is_warned_of() -> None:
    cohort, outcomes = drawn(1, effect=0.3)
    turned = [row | {"is_held_out": not row["is_held_out"]} for row in cohort]
    rows = list(effects(turned, outcomes).values())
    (check,) = check_effect(pa.Table.from_pylist(rows))
    assert not check.passed
    assert "the queue harms" in check.message
    (fine,) = check_effect(pa.Table.from_pylist(list(effects(cohort, outcomes).values())))
    assert fine.passed


def test_without_enough_matured_opportunities_nothing_is_claimed_and_what_lacks_is_said() -> None:
    cohort = [member(f"o{n}", held_out=n % 10 == 0) for n in range(100)] + [member("young", days_ago=89)]
    row = effects(cohort, [outcome(f"o{n}", n % 2 == 0) for n in range(100)])["win_rate", "adjusted"]
    assert [row[name] for name in ("value", "low_80", "high_90")] == [None] * 3
    assert (row["queue_rows"], row["hold_out_rows"], row["maturing_rows"], row["queue_mean"]) == (
        90,
        10,
        1,
        pytest.approx(0.5, abs=0.1),
    )
    assert row["missing_rows"] > 1000
    assert row["detail"].startswith(
        "no causal evidence yet: 10 held-out and 90 other opportunities have matured (90 days), 30 of each are needed; about "
    )
    assert row["detail"].endswith("more matured opportunities give a 90 % interval of 5 points either way")


def test_nothing_held_out_is_no_evidence_ever() -> None:
    none = FollowUpParams(hold_out_share=0.0)
    row = effects([member(f"o{n}") for n in range(50)], [], none)["win_rate", "difference"]
    assert row["detail"] == "no causal evidence yet: nothing is held out (follow_up.hold_out_share is 0)"
    assert row["missing_rows"] is None


def test_a_few_wins_are_no_evidence() -> None:
    cohort = [member(f"o{n}", held_out=n % 2 == 0) for n in range(100)]
    row = effects(cohort, [outcome("o1", True)])["win_rate", "difference"]
    assert "only 1 of the matured opportunities were won" in row["detail"]


def test_only_wins_within_the_horizon_count_and_nothing_matures_before_its_end() -> None:
    params = FollowUpParams(effect=EffectParams(horizon_days=60, least_rows=2))
    cohort = [member(f"o{n}", held_out=n < 10) for n in range(20)]
    in_time = [outcome(f"o{n}", True, days_ago=141) for n in range(10)]
    too_late = [outcome(f"o{n}", True, days_ago=140) for n in range(10, 20)]
    row = effects(cohort, in_time + too_late, params)["win_rate", "difference"]
    assert (row["hold_out_mean"], row["queue_mean"], row["value"]) == (1.0, 0.0, -1.0)
    assert row["low_90"] < -1.0 < row["high_90"]  # an arm without spread claims no certainty


def test_several_currencies_need_rates() -> None:
    cohort = [member(f"o{n}", held_out=n % 2 == 0, currency="USD" if n % 3 else "EUR") for n in range(100)]
    outcomes = [outcome(f"o{n}", True) for n in range(100)]
    row = effects(cohort, outcomes)["won_value", "difference"]
    assert (row["value"], row["detail"]) == (
        None,
        "not computed: the cohort has 2 currencies, and no rate is known for EUR, USD",
    )
    rates = {"EUR": Decimal(1), "USD": Decimal(2)}
    rated = effects(cohort, outcomes, rates=rates)["won_value", "difference"]
    assert rated["currency"] is None
    assert rated["queue_mean"] == pytest.approx(670.0)  # 17 at 1000 and 33 at 500


def test_shares_of_feedback() -> None:
    known = {
        "source_system": "crm",
        "opportunity_id": "o",
        "action": "call",
        "origin": "file",
        "dealt_with_at": LONG_AGO,
    }
    said = rows_of(
        FEEDBACK, [known | {"queue_id": f"q{n}", "outcome": "wrong" if n == 0 else "done"} for n in range(4)]
    )
    found = effects([], [], feedback=said)
    row = found["wrong_share", "feedback"]
    assert (row["value"], row["queue_rows"], row["detail"]) == (0.25, 4, "1 of 4 follow-ups dealt with were wrong")
    assert 0 < row["low_90"] < row["low_80"] < 0.25 < row["high_80"] < row["high_90"] < 1
    nothing = effects([], [])
    assert nothing["done_share", "feedback"]["detail"].startswith("no feedback yet")
    assert nothing["win_rate", "difference"]["queue_mean"] is None


def test_the_cohort_keeps_the_side_and_the_prediction_of_the_first_day() -> None:
    tables = run_tables()  # a in the queue, b left out for capacity, c abstained
    args = (tables["follow_up_queue"], tables["left_out"], tables["scored_opportunities"])
    first = join_cohort(None, *args)
    assert {row["opportunity_id"]: row["is_held_out"] for row in first.to_pylist()} == {"a": False, "b": False}
    later = {"as_of": AS_OF.instant + timedelta(days=1)}
    scored = scored_table(
        [spine_row(n) for n in "abcde"], [prediction_row(n, 0.9, expected_amount_high=9e9) for n in "abcde"]
    )
    left = [
        left_row("b", **later),
        left_row("d", reason="hold_out", **later),
        left_row("e", reason="cool_down", **later),
    ]
    second = join_cohort(first, rows_of(FOLLOW_UP_QUEUE, [queue_row("a", **later)]), rows_of(LEFT_OUT, left), scored)
    rows = {row["opportunity_id"]: row for row in second.to_pylist()}
    assert set(rows) == {"a", "b", "d"}
    assert rows["a"] == first.to_pylist()[0]
    assert (rows["d"]["is_held_out"], rows["d"]["assigned_at"], rows["d"]["win_probability"]) == (
        True,
        later["as_of"],
        0.9,
    )
