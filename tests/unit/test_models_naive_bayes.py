"""Frequency-table naive Bayes: the published figures as conformance tests, and the candidate family on landmark rows."""

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.matrix import Encoded
from sales_pipeline.models.naive_bayes import SMOOTHING, FrequencyTables, Lead, fit_frequencies, one_hot_blocks

STAGES = ("1", "2", "3", "won")
FIELDS = ("country", "region", "email", "phone", "source")


def _lead(team: str | None, country: int, region: int, source: int, stage: int) -> Lead:
    # E-mail and phone are empty, which counts as a value of theirs.
    values = (f"c{country}", f"r{region}", None, None, f"s{source}")
    return Lead(STAGES[stage], team, dict(zip(FIELDS, values, strict=True)))


def _leads(third_team: str | None) -> list[Lead]:
    """The fourteen leads of the published test: (country, region, source, stage) by team."""
    teams = ["A"] * 5 + ["B"] * 5 + [third_team] * 4
    numbers = [
        "0000",
        "1111",
        "2222",
        "0121",
        "1110",
        "0112",
        "0121",
        "0220",
        "0121",
        "1011",
        "1112",
        "0100",
        "1220",
        "0121",
    ]
    return [_lead(team, *map(int, row)) for team, row in zip(teams, numbers, strict=True)]


WON, LOST = (2, 7, 10), (0, 1, 5, 6, 11, 12)


def _tables(leads: list[Lead], won: tuple[int, ...] = WON, lost: tuple[int, ...] = LOST) -> FrequencyTables:
    at_close = [(Lead("won", leads[i].team, leads[i].fields, leads[i].tags), True) for i in won]
    return FrequencyTables.of(
        [*at_close, *((leads[i], False) for i in lost)],
        STAGES,
        won_stages=("won",),
        empty_counts=("email", "phone"),
    )


@pytest.mark.parametrize(
    ("third_team", "lead", "expected"),
    [("C", 3, 33.49), ("C", 8, 7.74), ("C", 13, 35.09), (None, 13, 35.19), (None, 3, 33.49), (None, 8, 7.74)],
)
def test_the_published_probabilities(third_team: str | None, lead: int, expected: float) -> None:
    leads = _leads(third_team)
    assert _tables(leads).probability(leads[lead]) == expected


def test_the_published_counts() -> None:
    tables = _tables(_leads(None)).tables
    assert tables["A"]["stage"]["1"] == pytest.approx((1.1, 2.1))
    assert tables["A"]["stage"]["won"] == pytest.approx((1.1, 0.1))
    assert tables["A"]["country"]["c1"] == pytest.approx((0.1, 1.1))
    assert tables["B"]["email"]["False"] == pytest.approx((1.1, 2.1))
    assert "c1" not in tables["B"]["country"]


def test_a_team_without_a_table_is_scored_by_all_teams() -> None:
    leads = _leads(None)
    tables = _tables(leads)
    other = Lead(leads[13].stage, "unknown", leads[13].fields)
    assert tables.probability(other) == tables.probability(leads[13]) == 35.19


def _tagged() -> tuple[list[Lead], tuple[int, ...], tuple[int, ...]]:
    tags = [("x",)] * 50 + [("y",)] * 50 + [("x", "y")] * 50
    leads = [Lead("1", "T", {"email": None, "phone": None}, tag) for tag in tags]
    won = (*range(31, 50), *range(91, 100), *range(136, 150))
    lost = (*range(30), *range(50, 90), *range(100, 135))
    return leads, won, lost


@pytest.mark.parametrize(("tags", "expected"), [(("x",), 33.69), (("y",), 23.51), (("x", "y"), 28.05), ((), 28.6)])
def test_the_published_probabilities_with_tags(tags: tuple[str, ...], expected: float) -> None:
    tables = _tables(*_tagged())
    assert tables.probability(Lead("1", "T", {"email": None, "phone": None}, tags)) == expected


def test_fewer_than_fifty_leads_make_no_tag_count() -> None:
    leads = [Lead("1", "T", {}, ("x",)) for _ in range(50)]
    enough = _tables(leads, (0, 1), tuple(range(2, 50)))
    assert enough.tables["T"]["tag"]["x"] == pytest.approx((2.1, 48.1))
    short = _tables(leads, (0, 1), tuple(range(2, 49)))
    assert short.tables["T"]["tag"] == {}
    assert short.probability(Lead("1", "T", {}, ("x",))) == short.probability(Lead("1", "T", {}))


@pytest.fixture(scope="module")
def tooltip() -> tuple[FrequencyTables, Lead]:
    def lead(country: str | None, region: str | None, phone: str | None, source: str | None, stage: str) -> Lead:
        return Lead(
            stage,
            "T",
            {"country": country, "region": region, "email": "correct", "phone": phone, "source": source},
        )

    leads = [
        lead("c0", "r0", "correct", "s1", "1"),
        lead("c1", "r0", "correct", None, "1"),
        lead(None, None, "incorrect", "s0", "1"),
        lead("c0", None, "incorrect", "s0", "1"),
        lead(None, "r1", "correct", None, "3"),
        lead("c0", "r0", "correct", "s0", "2"),
    ]
    return _tables(leads, (0, 1), (2, 3, 4)), leads[5]


def test_the_published_explanation(tooltip: tuple[FrequencyTables, Lead]) -> None:
    tables, lead = tooltip
    assert tables.probability(lead) == 74.30
    scores = {factor.name: factor.score for factor in tables.factors(lead)}
    expected = {"region": 0.92, "phone": 0.735, "stage": 0.645, "email": 0.5, "country": 0.353, "source": 0.08}
    assert list(scores) == list(expected)
    for name, score in expected.items():
        assert scores[name] == pytest.approx(score, abs=0.0055 if name in ("region", "source") else 0.0006)


def test_the_edges(tooltip: tuple[FrequencyTables, Lead]) -> None:
    tables, lead = tooltip
    assert tables.probability(Lead("won", "T")) == 100.0
    assert tables.probability(Lead(None, "T", lead.fields)) == 0.0
    assert FrequencyTables.of([], STAGES).probability(lead) is None
    unseen = Lead("2", "T", {"country": "never seen", "region": None})
    assert tables.probability(unseen) == tables.probability(Lead("2", "T"))
    # A team that never lost keeps its smoothed prior; close to certain is never certain.
    certain = _tables([Lead("1", "T", {f"f{i}": "a" for i in range(9)})] * 3000, tuple(range(3000)), ())
    assert certain.probability(Lead("1", "T")) == 99.99


def _encoded(values: list[str], opportunity: list[str]) -> Encoded:
    levels = sorted(set(values))
    x = np.array([[value == level for level in levels] for value in values], dtype=np.float64)
    number = np.random.default_rng(0).normal(size=(len(values), 1))
    keys = pd.DataFrame({"opportunity_id": np.array(opportunity, dtype=object)})
    return Encoded(np.hstack([number, x]), keys, np.array([0] + [1] * len(levels)))


def test_the_family_is_the_formula_on_categories() -> None:
    values = ["a", "a", "a", "b", "b", "b"]
    won = np.array([1.0, 1, 0, 0, 0, 1])
    rows = _encoded(values, [f"o{i}" for i in range(6)])
    model = fit_frequencies(rows, won, np.ones(6), smoothing=SMOOTHING)
    tables = FrequencyTables.of(
        [(Lead("1", None, {"f": v}), bool(w)) for v, w in zip(values, won, strict=True)], ("1",)
    )
    expected = [tables.probability(Lead("1", None, {"f": value})) for value in values]
    np.testing.assert_allclose(100 / (1 + np.exp(-model.score(rows))), expected, atol=0.006)
    assert model.coefficients[0] == 0.0  # the number takes no part


def test_an_opportunity_votes_once_per_value() -> None:
    once = fit_frequencies(_encoded(["a", "b", "a"], ["1", "2", "3"]), np.array([1.0, 0, 0]), np.ones(3), smoothing=0.1)
    rows = _encoded(["a", "a", "a", "a", "b", "a"], ["1", "1", "1", "1", "2", "3"])
    many = fit_frequencies(rows, np.array([1.0, 1, 1, 1, 0, 0]), np.ones(6), smoothing=0.1)
    np.testing.assert_allclose(many.coefficients, once.coefficients)
    weighted = fit_frequencies(rows, np.array([1.0, 1, 1, 1, 0, 0]), np.array([2.0, 2, 2, 2, 1, 1]), smoothing=0.1)
    assert weighted.coefficients[1] > many.coefficients[1]


def test_blocks_are_the_one_hot_groups_alone() -> None:
    rows = _encoded(["a", "b", "a"], ["1", "2", "3"])
    assert [block.tolist() for block in one_hot_blocks(rows)] == [[1, 2]]
    flagged = Encoded(np.array([[0.3, 1.0], [0.0, 0.0]]), rows.keys.iloc[:2], np.array([0, 0]))
    assert one_hot_blocks(flagged) == []
