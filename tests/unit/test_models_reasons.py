"""Contributions add up, reasons agree with their sign, and sensitive fields stay out of them."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sales_pipeline.features.terms import NOT_SHOWN
from sales_pipeline.models.bundle import WinModel
from sales_pipeline.models.contributions import Contributions, contributions
from sales_pipeline.models.estimators import logit
from sales_pipeline.models.matrix import Matrix
from sales_pipeline.models.params import WIN_FAMILIES
from sales_pipeline.models.predict import win_probabilities
from sales_pipeline.models.reasons import LEAST_WEIGHT, MOST, _rounded, add_up, all_reasons, rank_reasons, tell
from sales_pipeline.models.wording import ENGLISH, Wording
from tests.support.explained import COLUMNS, column, fit_model, make_matrix

MATRIX, WON = make_matrix()
FAMILIES = tuple(name for name in WIN_FAMILIES if name != "base_rate")


@cache
def fitted(family: str, calibrator: str = "logistic") -> WinModel:
    return fit_model(family, MATRIX, WON, calibrator=calibrator)


def parts_of(
    *values: float, names: tuple[str, ...] = ("activity_count_30d", "days_since_last_activity", "age_days")
) -> Contributions:
    """One row with those contributions, value 7 each."""
    columns = tuple(column(name) for name in names)
    return Contributions(
        0.0,
        np.array([values]),
        columns,
        {name: np.array([7.0]) for name in names},
        {},
        dict.fromkeys(names, 10.0),
    )


@pytest.mark.parametrize("calibrator", ["logistic", "isotonic"])
@pytest.mark.parametrize("family", FAMILIES)
def test_contributions_add_up_to_the_score_less_the_base(family: str, calibrator: str) -> None:
    win = fitted(family, calibrator)
    parts = contributions(win, MATRIX)
    log_odds = logit(win_probabilities(win, MATRIX))
    np.testing.assert_allclose(parts.base + parts.effects.sum(axis=1), log_odds, atol=1e-6)
    terms = add_up(parts)
    np.testing.assert_allclose(terms.weights.sum(axis=1), log_odds - parts.base, atol=1e-6)
    assert sorted(int(i) for members in terms.members for i in members) == list(range(len(parts.columns)))


@pytest.mark.parametrize("family", ["logistic_regression", "decision_tree", "gradient_boosting"])
def test_probabilities_at_the_edge_still_add_up(family: str) -> None:
    """Probabilities are held off 0 and 1; the contributions follow them."""
    win = fitted(family)
    steep = WinModel(**{**win.__dict__, "calibrator": type(win.calibrator)(slope=60.0, intercept=3.0)})
    parts = contributions(steep, MATRIX)
    log_odds = logit(win_probabilities(steep, MATRIX))
    assert np.abs(log_odds).max() > 13
    np.testing.assert_allclose(parts.log_odds, log_odds, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_row_is_explained_like_many(family: str) -> None:
    many, one = contributions(fitted(family), MATRIX), contributions(fitted(family), MATRIX.take(np.array([3])))
    assert one.base == pytest.approx(many.base, abs=1e-6)
    np.testing.assert_allclose(one.effects[0], many.effects[3], atol=1e-6)


def test_no_rows_have_no_reasons() -> None:
    nothing = contributions(fitted("logistic_regression"), MATRIX.take(np.zeros(0, dtype=np.int64)))
    assert [side.to_pylist() for side in rank_reasons(nothing)] == [[], []]


def told_one_by_one(parts: Contributions, wording: Wording) -> tuple[list[list[dict[str, Any]]], ...]:
    """What `rank_reasons` gives, row by row as its docstring says it."""
    terms = add_up(parts, wording)
    sides: tuple[list[list[dict[str, Any]]], ...] = ([], [])
    for row in range(len(terms.weights)):
        ranked = np.argsort(-terms.weights[row], kind="stable")
        for sign, side, order in ((1, sides[0], ranked[:MOST]), (-1, sides[1], ranked[::-1][:MOST])):
            chosen = [int(i) for i in order if sign * terms.weights[row, i] >= LEAST_WEIGHT]
            found = [tell(parts, terms, row, i, wording) for i in chosen]
            side.append([reason | {"weight": round(reason["weight"], 6)} for reason in found])
    return sides


@pytest.mark.parametrize("wording", [ENGLISH, Wording.of("zh", ("stage", "owner_win_rate"))])
@pytest.mark.parametrize("family", ["stage_rate", "logistic_regression", "decision_tree", "gradient_boosting"])
def test_many_rows_are_told_what_each_is_told(family: str, wording: Wording) -> None:
    parts = contributions(fitted(family), MATRIX)
    assert tuple(side.to_pylist() for side in rank_reasons(parts, wording)) == told_one_by_one(parts, wording)


def test_silent_rows_have_no_reasons() -> None:
    parts = contributions(fitted("logistic_regression"), MATRIX)
    silent = np.arange(len(MATRIX)) % 3 == 0
    for told, all_told in zip(rank_reasons(parts, silent=silent), rank_reasons(parts), strict=True):
        expected = [[] if flag else reasons for flag, reasons in zip(silent, all_told.to_pylist(), strict=True)]
        assert told.to_pylist() == expected


@given(
    st.lists(
        st.lists(st.sampled_from([-0.5, -0.004, 0.0, -0.0, 0.3, 0.3000005, 0.0050000001]), min_size=5, max_size=5)
    ),
    st.lists(st.sampled_from([0.0, -0.0, 7.0, 7.5, np.nan, -3.0, 1e6]), min_size=5, max_size=5),
)
def test_ties_signs_and_missing_values_are_told_alike(effects: list[list[float]], values: list[float]) -> None:
    names = ("activity_count_30d", "days_since_last_activity", "age_days", "days_to_crm_close_date", "amount")
    rows = len(effects)
    parts = Contributions(
        0.0,
        np.array(effects).reshape(rows, 5),
        tuple(column(name) for name in names),
        {name: np.full(rows, value) for name, value in zip(names, values, strict=True)},
        {},
        dict.fromkeys(names, 5.0),
    )
    assert tuple(side.to_pylist() for side in rank_reasons(parts)) == told_one_by_one(parts, ENGLISH)


@given(st.lists(st.one_of(st.floats(-20, 20), st.integers(-(10**7), 10**7).map(lambda n: (n + 0.5) / 1e6))))
def test_weights_are_rounded_as_python_rounds(weights: list[float]) -> None:
    assert _rounded(np.array(weights, dtype=np.float64)).tolist() == [round(weight, 6) for weight in weights]


@pytest.mark.parametrize("family", ["logistic_regression", "gradient_boosting"])
def test_reasons_are_signed_sorted_and_few(family: str) -> None:
    up, down = (side.to_pylist() for side in rank_reasons(contributions(fitted(family), MATRIX)))
    told = 0
    for sign, side in ((1, up), (-1, down)):
        for reasons in side:
            weights = [sign * reason["weight"] for reason in reasons]
            assert len(weights) <= 3
            assert all(weight >= LEAST_WEIGHT - 1e-6 for weight in weights)
            assert all(a >= b for a, b in pairwise(weights))
            assert len({reason["code"] for reason in reasons}) == len(reasons)
            told += len(reasons)
    assert told > len(MATRIX)


def test_features_of_one_term_are_one_reason_in_the_direction_of_their_sum() -> None:
    up, down = (side.to_pylist() for side in rank_reasons(parts_of(0.5, -0.2, -0.4)))
    assert [(reason["code"], reason["weight"]) for reason in up[0]] == [("engagement", 0.3)]
    assert [(reason["code"], reason["weight"]) for reason in down[0]] == [("time_open", -0.4)]
    assert up[0][0]["text"] == "activities in the last 30 days: 7"


@pytest.mark.parametrize(
    ("effects", "sign", "text"),
    [
        ((0.9, -1.0), -1, "last activity 7 days ago"),
        ((1.0, -0.9), 1, "activities in the last 30 days: 7"),
        ((-1.0, 0.9), -1, "only 7 activities in the last 30 days"),
        ((-0.9, 1.0), 1, "last activity 7 days ago"),
    ],
)
def test_a_term_is_worded_by_the_member_that_pulls_its_way(effects: tuple[float, float], sign: int, text: str) -> None:
    parts = parts_of(*effects, names=("activity_count_30d", "days_since_last_activity"))
    [reason] = all_reasons(parts, 0)
    assert np.sign(reason["weight"]) == sign
    assert reason["text"] == text
    assert reason["label"] == "contact with the customer"


def test_few_are_only_called_few_where_they_are() -> None:
    """`only 7 activities` against is true of less than usual; of more the value is stated alone."""
    parts = parts_of(-1.0, names=("activity_count_30d",))
    assert all_reasons(parts, 0)[0]["text"] == "only 7 activities in the last 30 days"
    many = Contributions(**{**parts.__dict__, "usual": {"activity_count_30d": 5.0}})
    assert all_reasons(many, 0)[0]["text"] == "activities in the last 30 days: 7"


def test_moving_a_column_moves_the_score_as_its_reason_says() -> None:
    win = fitted("logistic_regression")
    frame = MATRIX.frame.copy()
    frame["owner_win_rate"] = np.roll(frame["owner_win_rate"].to_numpy(), 1)
    moved = Matrix(frame, MATRIX.keys, MATRIX.columns)
    terms = [add_up(contributions(win, matrix)) for matrix in (MATRIX, moved)]
    owner = terms[0].codes.index("owner_record")
    promised = terms[1].weights[:, owner] - terms[0].weights[:, owner]
    found = logit(win_probabilities(win, moved)) - logit(win_probabilities(win, MATRIX))
    np.testing.assert_allclose(found, promised, atol=1e-9)


class TestSensitive:
    HIDDEN = ("attribute:Segment__c", "owner_win_rate", "stage")
    SECRETS = ("Segment", "Small", "Large", "owner", "win rate", "stage", "Prospecting", "Proposal", "Negotiation")

    @pytest.mark.parametrize("family", ["stage_rate", "logistic_regression", "decision_tree", "gradient_boosting"])
    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_neither_value_nor_name_is_quoted(self, family: str, language: str) -> None:
        wording = Wording.of(language, self.HIDDEN)  # type: ignore[arg-type]
        parts = contributions(fitted(family), MATRIX)
        found = [reason for row in range(60) for reason in all_reasons(parts, row, wording)]
        found += [reason for side in rank_reasons(parts, wording) for reasons in side.to_pylist() for reason in reasons]
        hidden = [reason for reason in found if reason["code"] == NOT_SHOWN]
        assert hidden
        for reason in found:
            told = " ".join(str(reason[name]) for name in ("code", "text", "label") if name in reason)
            assert not any(secret in told for secret in self.SECRETS), told
            assert not any(secret in told for secret in ("负责人", "赢单率", "阶段")), told

    def test_they_still_count(self) -> None:
        parts = contributions(fitted("logistic_regression"), MATRIX)
        wording = Wording.of("en", self.HIDDEN)
        shown, hidden = add_up(parts), add_up(parts, wording)
        np.testing.assert_allclose(hidden.weights.sum(axis=1), shown.weights.sum(axis=1), atol=1e-12)
        names = [found.name for found in COLUMNS if wording.hides(found.name)]
        assert set(names) == {*self.HIDDEN, "days_in_stage"}
        number = [found.name for found in parts.columns]
        expected = parts.effects[:, [number.index(name) for name in names]].sum(axis=1)
        np.testing.assert_allclose(hidden.weights[:, hidden.codes.index(NOT_SHOWN)], expected, atol=1e-12)

    def test_the_sentence_says_the_direction_alone(self) -> None:
        assert Wording.of("en", ("age_days",)).sentence(column("age_days"), 7.0, -1.0) == (
            "fields not shown here speak against it"
        )

    def test_a_key_is_hidden_with_the_feature_that_holds_the_same(self) -> None:
        assert Wording.of("en", ("product",)).hides("product_id")
        assert not ENGLISH.hides("product_id")

    @pytest.mark.parametrize(
        ("marked", "hidden", "shown"),
        [
            ("amount", ("amount", "amount_change_ratio"), ("account_won_amount",)),
            ("crm_close_date", ("days_to_crm_close_date", "close_date_month"), ("age_days",)),
            ("owner_id", ("owner_id", "owner_win_rate"), ("account_win_rate",)),
            ("engagement", ("call_count_30d", "contact_count"), ("planned_activity_count",)),
            ("product", ("product_id", "product_family"), ("stage",)),
            ("call_count_30d", ("call_count_30d",), ("call_count_90d", "activity_count")),
        ],
    )
    def test_a_field_is_hidden_with_what_is_derived_from_it(
        self, marked: str, hidden: tuple[str, ...], shown: tuple[str, ...]
    ) -> None:
        wording = Wording.of("en", (marked,))
        assert all(wording.hides(name) for name in hidden)
        assert not any(wording.hides(name) for name in shown)
