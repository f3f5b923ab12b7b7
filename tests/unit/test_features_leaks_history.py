"""What change history shows of a column, held against a plain loop over small histories; and the verdicts that rest on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.features.leak_gain import auc_with_and_without
from sales_pipeline.features.leak_history import DAY, Changes, Lives, Past, past_of
from sales_pipeline.features.leak_statistics import Rows, figures, levels, period_weights
from sales_pipeline.features.leak_verdicts import Candidate, Rules, judge
from sales_pipeline.features.leaks import ledger_for_frame
from sales_pipeline.features.params import LeakParams

PARAMS = LeakParams()
NO_RULES = Rules((), ())


def random_histories(seed: int) -> tuple[Changes, Lives, np.ndarray]:
    """Small whole-day histories, so that changes, closings and landmarks fall on the same instants; value codes 0–2, -1 for none."""
    rng = np.random.default_rng(seed)
    count = 40
    created = rng.integers(0, 20, count) * DAY
    closed = np.where(rng.random(count) < 0.7, created + rng.integers(1, 60, count) * DAY, np.nan)
    events: list[tuple[int, int, int, int]] = []
    has_value = np.zeros(count, dtype=bool)
    for number in range(count):
        value = int(rng.integers(-1, 3))
        end = closed[number] if not np.isnan(closed[number]) else 90 * DAY
        for at in np.sort(rng.integers(created[number] // DAY, end // DAY + 3, rng.integers(0, 4))) * DAY:
            new = int(rng.choice([other for other in (-1, 0, 1, 2) if other != value]))
            events.append((number, int(at), value, new))
            value = new
        has_value[number] = value != -1
    marks = [
        (number, int(at))
        for number in range(count)
        if not np.isnan(closed[number])
        for at in range(int(created[number]) + DAY, int(closed[number]), 14 * DAY)
    ]
    columns = [np.array(column, dtype=np.int64) for column in zip(*events, strict=True)]
    is_won = np.where(np.isnan(closed), np.nan, (rng.random(count) < 0.4).astype(float))
    lives = Lives(
        pd.Index([f"o{number}" for number in range(count)]),
        created.astype(float),
        closed,
        is_won,
        np.array([mark[0] for mark in marks]),
        np.array([mark[1] for mark in marks]),
    )
    return Changes(*columns), lives, has_value


def by_hand(changes: Changes, lives: Lives, has_value: np.ndarray, tracked_from: float) -> tuple[Any, ...]:
    """The same figures, one opportunity after the other."""
    of: dict[int, list[tuple[int, int, int]]] = {}
    for number, at, old, new in zip(changes.opportunity, changes.at_us, changes.old, changes.new, strict=True):
        of.setdefault(int(number), []).append((int(at), int(old), int(new)))
    known, before = 0, []
    for number in range(len(lives.ids)):
        created, closed = lives.created_us[number], lives.closed_us[number]
        if np.isnan(closed) or closed <= tracked_from + DAY or closed - created <= 2 * DAY:
            continue
        known += 1
        mine = of.get(number, [])
        if (mine and mine[0][1] != -1) or (not mine and has_value[number]):
            before.append(closed - created)
        else:
            rises = [at for at, old, new in mine if old == -1 and new != -1]
            before.extend([closed - rises[0]] if rises else [])
    changed = []
    for number, mark in zip(lives.landmark_of, lives.landmark_us, strict=True):
        if mark >= tracked_from:
            later = [entry for entry in of.get(int(number), []) if entry[0] >= mark]
            changed.append(bool(later) and later[0][1] != of[int(number)][-1][2])
    return known, np.median(before) / DAY, np.mean([gap <= DAY for gap in before]), len(changed), np.mean(changed)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tracked_from", [-np.inf, 25.0 * DAY])
def test_the_figures_are_those_of_a_plain_loop(seed: int, tracked_from: float) -> None:
    changes, lives, has_value = random_histories(seed)
    past = past_of(changes, lives, has_value, tracked_from, PARAMS)
    expected = by_hand(changes, lives, has_value, tracked_from)
    found = (
        past.known,
        past.first_filled_days_before_close,
        past.filled_at_close_share,
        past.landmarks,
        past.changed_share,
    )
    assert found == pytest.approx(expected)


def test_nothing_known_gives_no_figures() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    lives = Lives(pd.Index(["a"]), np.array([0.0]), np.array([np.nan]), np.array([np.nan]), nothing, nothing)
    past = past_of(Changes(nothing, nothing, nothing, nothing), lives, np.array([True]), -np.inf, PARAMS)
    assert past == Past(0, None, None, 0, None, None)


def rows_of(count: int = 600, seed: int = 3) -> Rows:
    rng = np.random.default_rng(seed)
    target = np.where(np.arange(count) < count // 3, np.nan, (rng.random(count) < 0.4).astype(float))
    return Rows(target, np.isnan(target), np.arange(count) % 5, True)


SHOWN = Past(400, 80.0, 0.0, 900, 0.004, 0.5)


@pytest.mark.parametrize(
    ("past", "verdict", "says"),
    [
        (SHOWN, "use", "99.6% of the landmarks"),
        (replace(SHOWN, filled_at_close_share=0.6), "leak", "filled at close: 60.0%"),
        (replace(SHOWN, changed_share=0.3), "leak", "another one stood at 30.0%"),
        (replace(SHOWN, changed_share=0.03), "use", "97.0% of the landmarks"),
        (replace(SHOWN, changed_share=0.03, changed_z=7.0), "leak", "with the outcome"),
        (replace(SHOWN, known=12), "suspect", "a fact of the closing"),
        (replace(SHOWN, landmarks=12), "suspect", "a fact of the closing"),
        (None, "suspect", "a fact of the closing"),
    ],
)
def test_history_speaks_before_the_name_does(past: Past | None, verdict: str, says: str) -> None:
    rows = rows_of()
    values = pd.Series(np.random.default_rng(1).normal(size=len(rows.target)))
    row = judge(Candidate("Discount__c", "a fact of the closing", past=past), values, rows, NO_RULES, PARAMS)
    assert row["verdict"] == verdict
    assert says in row["reason"]
    assert row["changed_since_landmark_share"] == (past.changed_share if past else None)


def test_what_history_shows_is_overruled_by_the_configuration_and_still_told() -> None:
    rows = rows_of()
    values = pd.Series(np.random.default_rng(1).normal(size=len(rows.target)))
    late = replace(SHOWN, changed_share=0.3)
    used = judge(Candidate("attribute:Level", None, past=late), values, rows, Rules((), ("level",)), PARAMS)
    assert (used["verdict"], used["is_used"]) == ("use_anyway", True)
    assert "another one stood at 30.0%" in used["reason"]
    never = judge(Candidate("attribute:Level", None, past=SHOWN), values, rows, Rules(("LEVEL",), ()), PARAMS)
    assert (never["verdict"], never["is_used"]) == ("never_use", False)


def test_a_feature_built_from_its_past_is_not_blamed_for_changing() -> None:
    rows = rows_of()
    values = pd.Series(np.random.default_rng(1).normal(size=len(rows.target)))
    candidate = Candidate("amount", None, past=replace(SHOWN, changed_share=0.9), is_last_seen=False)
    row = judge(candidate, values, rows, NO_RULES, PARAMS)
    assert (row["verdict"], row["changed_since_landmark_share"]) == ("use", 0.9)


def test_a_column_the_outcome_rewrites_is_no_mixture_of_won_and_lost_and_an_honest_one_is() -> None:
    rng = np.random.default_rng(8)
    won = rng.random(3000) < 0.4
    target = np.where(np.arange(3000) < 1000, np.nan, won.astype(float))
    frame = pd.DataFrame(
        {
            "honest": rng.normal(size=3000) + np.where(won, 0.6, -0.6),
            "rewritten": rng.normal(size=3000) + np.where(np.isnan(target), 0.0, np.where(won, 0.8, -0.8)),
        }
    )
    rows = {row["column"]: row for row in ledger_for_frame(frame, pd.Series(target)).to_pylist()}
    assert rows["honest"]["verdict"] == "use"
    assert (rows["rewritten"]["verdict"], rows["rewritten"]["basis"]) == ("suspect", "statistics")
    assert "no mixture" in rows["rewritten"]["reason"]
    assert min(rows["honest"]["auc_alone"], rows["rewritten"]["auc_alone"]) > PARAMS.mixture_auc


def test_what_changes_with_the_times_alone_is_not_held_against_a_column() -> None:
    rng = np.random.default_rng(9)
    count = 4000
    created = np.sort(rng.random(count)) * 1000
    opened = rng.random(count) < np.where(created > 700, 0.7, 0.02)
    target = np.where(opened, np.nan, (rng.random(count) < 0.4).astype(float))
    wave = pd.Series([f"wave {int(day // 100)}" for day in created], dtype="string")
    rows = Rows(target, opened, np.arange(count) % 5, True)
    assert figures(wave, rows, min_rows=30).psi > PARAMS.psi
    matched = replace(rows, period_weight=period_weights(created, opened))
    assert figures(wave, matched, min_rows=30).psi < 0.1


def test_period_weights_give_closed_rows_the_times_of_open_ones() -> None:
    created = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, np.nan, 9.0])
    opened = np.array([False, True, False, True, False, True, False, False])
    weight = period_weights(created, opened)
    assert weight[opened].tolist() == [1.0, 1.0, 1.0]
    # Before the first open row, after the last, and without a creation: no weight.
    assert weight[[0, 6, 7]].tolist() == [0.0, 0.0, 0.0]
    assert (weight[[2, 4]] > 0).all()
    assert period_weights(created, np.zeros(8, dtype=bool)).tolist() == [0.0] * 8


def test_the_worth_of_a_column_is_shown_beside_the_used_ones() -> None:
    rng = np.random.default_rng(10)
    won = (rng.random(2000) < 0.4).astype(float)
    fold = np.arange(2000) % 5
    used = [levels(pd.Series(won + rng.normal(size=2000))), levels(pd.Series(rng.normal(size=2000)))]
    left_out = {
        "sure": levels(pd.Series(won + rng.normal(size=2000) / 4)),
        "noise": levels(pd.Series(rng.normal(size=2000))),
    }
    without, beside = auc_with_and_without(used, left_out, won, fold)
    assert without == pytest.approx(0.75, abs=0.03)
    assert beside["sure"] > 0.95
    assert beside["noise"] == pytest.approx(without, abs=0.01)
    assert auc_with_and_without([], {"sure": left_out["sure"]}, won, fold)[0] == 0.5
    assert auc_with_and_without(used, left_out, np.zeros(2000), fold) == (None, {})


def test_only_what_is_left_out_as_leak_or_suspect_gets_a_worth() -> None:
    rng = np.random.default_rng(11)
    won = (rng.random(800) < 0.4).astype(float)
    frame = pd.DataFrame(
        {"honest": won + rng.normal(size=800), "Loss Score": won + rng.normal(size=800) / 2, "nothing": 1.0}
    )
    rows = {row["column"]: row for row in ledger_for_frame(frame, pd.Series(won)).to_pylist()}
    assert rows["Loss Score"]["auc_with"] > rows["Loss Score"]["auc_without"] > 0.7
    assert rows["honest"]["auc_with"] is rows["nothing"]["auc_with"] is None


def test_odd_columns_get_a_clear_verdict() -> None:
    rng = np.random.default_rng(12)
    count = 60_000
    target = pd.Series((rng.random(count) < 0.3).astype(float))
    frame = pd.DataFrame(
        {
            "many": pd.Series([f"v{number}" for number in rng.integers(0, 50_000, count)], dtype="string"),
            "once each": pd.Series([f"v{number}" for number in range(count)], dtype="string"),
            "constant": "same",
            "missing": pd.Series([None] * count, dtype="string"),
            "missing number": np.full(count, np.nan),
            "extreme": np.where(rng.random(count) < 0.001, 1e300, rng.random(count)),
            "endless": np.where(rng.random(count) < 0.01, np.inf, 1.0),
        }
    )
    rows = {row["column"]: row for row in ledger_for_frame(frame, target).to_pylist()}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "many": "use",
        "once each": "identifier",
        "constant": "constant",
        "missing": "constant",
        "missing number": "constant",
        "extreme": "use",
        "endless": "use",
    }
    assert rows["missing"]["reason"] == "no value at all"
    assert all(value == value for row in rows.values() for value in row.values()), "no figure is NaN"
