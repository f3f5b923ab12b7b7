"""The estimators of sales management against values worked by hand, published ones, and worlds of known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from sales_pipeline.sales_management.co_purchase import next_product, rules
from sales_pipeline.sales_management.durations import median_times
from sales_pipeline.sales_management.params import AccountParams, TeamParams
from sales_pipeline.sales_management.repeat import BgNbd, Purchases, fit
from sales_pipeline.sales_management.win_rates import (
    Expected,
    adjusted_rates,
    expected_log_odds,
    fitted_log_odds,
    overall_rate,
    verdict,
)

CDNOW = BgNbd(r=0.243, alpha=4.414, a=0.793, b=2.426)
"""Fader, Hardie & Lee (2005), table 2: the estimates for 2,357 customers of CDNOW."""


def purchases(*rows: tuple[float, float, float]) -> Purchases:
    return Purchases(*(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)))


def median_time(lengths: np.ndarray, ended: np.ndarray, going: np.ndarray) -> float | None:
    (median,) = median_times(np.zeros(len(lengths), dtype=np.int64), lengths, ended, going)
    return None if np.isnan(median) else float(median)


def test_the_median_is_that_of_kaplan_and_meier() -> None:
    """Freireich's remission times under 6-MP (Kaplan–Meier median 23 weeks), as in Kalbfleisch & Prentice."""
    ended = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    going = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    lengths = np.array(ended + going, dtype=np.float64)
    is_ended = np.array([1] * len(ended) + [0] * len(going))
    assert median_time(lengths, is_ended, 1 - is_ended) == 23


def test_equal_times_may_come_as_counts() -> None:
    assert median_time(np.array([3.0, 1.0]), np.array([5, 5]), np.array([0, 0])) == 1.0
    assert median_time(np.array([1.0, 3.0]), np.array([3, 1]), np.array([0, 6])) is None


@pytest.mark.parametrize(("ended", "going"), [([0, 0], [3, 4]), ([1, 0], [0, 9])])
def test_there_is_no_median_where_fewer_than_half_have_ended(ended: list[int], going: list[int]) -> None:
    assert median_time(np.array([1.0, 2.0]), np.array(ended), np.array(going)) is None


def test_no_times_have_no_median() -> None:
    nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
    assert len(median_times(none, nothing, none, none)) == 0


def test_medians_of_groups_are_those_of_each_alone() -> None:
    random = np.random.default_rng(5)
    group = random.integers(0, 7, 200)
    lengths = random.integers(0, 9, 200).astype(np.float64)
    ended, going = random.integers(0, 4, (2, 200))
    together = median_times(group, lengths, ended, going)
    for number in range(7):
        mine = group == number
        alone = median_time(lengths[mine], ended[mine], going[mine])
        assert alone == (None if np.isnan(together[number]) else together[number])


def test_bg_nbd_gives_the_published_figures_of_a_cdnow_customer() -> None:
    """E(Y(39) | x = 2, t_x = 30.43, T = 38.86) = 1.226: Hardie's spreadsheet of the paper."""
    one = purchases((2, 30.43, 38.86))
    assert CDNOW.expected_purchases(one, 39)[0] == pytest.approx(1.226, abs=5e-4)
    assert CDNOW.p_alive(one)[0] == pytest.approx(0.7266, abs=5e-4)


def test_bg_nbd_knows_no_drop_out_before_a_second_purchase_and_less_hope_after_a_longer_silence() -> None:
    alive = CDNOW.p_alive(purchases((0, 0, 39), (2, 38, 39), (2, 10, 39)))
    assert alive[0] == 1.0
    assert alive[1] > alive[2] > 0.0
    silent = CDNOW.p_silent(purchases((0, 0, 39), (2, 38, 39), (2, 10, 39)), 52.0)
    assert silent[1] < silent[2]
    assert ((silent > 0) & (silent < 1)).all()


def test_expected_purchases_agree_with_the_chance_of_none_where_time_is_short() -> None:
    one = purchases((2, 30.43, 38.86))
    assert CDNOW.expected_purchases(one, 0.001)[0] == pytest.approx(1 - CDNOW.p_silent(one, 0.001)[0], rel=1e-3)


def test_expected_purchases_step_over_the_pole() -> None:
    one = purchases((2, 30.43, 38.86))
    near, at = (BgNbd(0.243, 4.414, a, 2.426).expected_purchases(one, 39)[0] for a in (1.001, 1.0))
    assert at == pytest.approx(near, rel=1e-2)


def simulated(model: BgNbd, count: int, seed: int, weeks: float) -> Purchases:
    random = np.random.default_rng(seed)
    rate = random.gamma(model.r, 1 / model.alpha, count)
    leaves = random.beta(model.a, model.b, count)
    age = random.uniform(weeks / 2, weeks, count)
    rows = []
    for number in range(count):
        at = last = 0.0
        repeats = 0
        while True:
            at += random.exponential(1 / rate[number])
            if at > age[number]:
                break
            repeats, last = repeats + 1, at
            if random.random() < leaves[number]:
                break
        rows.append((float(repeats), last, float(age[number])))
    return purchases(*rows)


def test_the_gradient_is_that_of_the_likelihood() -> None:
    seen = purchases((0, 0.0, 20.0), (0, 0.0, 70.0), (1, 3.0, 40.0), (4, 30.43, 38.86), (4, 0.5, 60.0))
    at = np.array([0.243, 4.414, 0.793, 2.426])
    _, gradient = BgNbd(*at).log_likelihood(seen)
    for place in range(4):
        step = np.where(np.arange(4) == place, 1e-5 * at, 0.0)
        above, below = (BgNbd(*values).log_likelihood(seen)[0] for values in (at + step, at - step))
        assert gradient[place] == pytest.approx((above - below) / (2 * step[place]), rel=1e-6)


def test_the_fit_finds_what_purchases_were_drawn_from() -> None:
    truth = BgNbd(r=0.8, alpha=6.0, a=0.8, b=2.5)
    seen = simulated(truth, 3_000, seed=1, weeks=78)
    found = fit(seen)
    assert found is not None
    assert found.log_likelihood(seen)[0] >= truth.log_likelihood(seen)[0]
    assert found.r / found.alpha == pytest.approx(truth.r / truth.alpha, rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(truth.a / (truth.a + truth.b), abs=0.05)
    for weeks in (13.0, 52.0):
        assert found.expected_purchases(seen, weeks).mean() == pytest.approx(
            truth.expected_purchases(seen, weeks).mean(), rel=0.1
        )


BASKETS = [frozenset(basket) for basket in ["ab"] * 6 + ["abc"] * 2 + ["c"] * 5 + ["d"] * 7]


def test_rules_count_accounts() -> None:
    known = rules(BASKETS, AccountParams(min_support=2, min_lift=0.0))
    rule = known["a"][0]
    assert (rule.product, rule.support) == ("b", 8)
    assert rule.confidence == 1.0
    assert rule.lift == pytest.approx(1.0 / (8 / 20))
    assert [rule.product for rule in known["c"]] == ["a", "b"]


def test_the_next_product_is_one_not_bought_with_support_and_lift() -> None:
    params = AccountParams(min_support=2, min_lift=0.0)
    known = rules(BASKETS, params)
    assert next_product(frozenset("a"), known).product == "b"  # type: ignore[union-attr]
    assert next_product(frozenset("ab"), known).product == "c"  # type: ignore[union-attr]
    assert next_product(frozenset("abc"), known) is None
    assert next_product(frozenset("d"), known) is None
    assert next_product(frozenset(), known) is None
    assert next_product(frozenset("a"), known, without=frozenset("b")).product == "c"  # type: ignore[union-attr]
    assert next_product(frozenset("ab"), rules(BASKETS, AccountParams(min_support=3, min_lift=0.0))) is None
    assert next_product(frozenset("ab"), rules(BASKETS, AccountParams(min_support=2, min_lift=2.0))) is None


def test_an_account_with_very_many_products_is_read_in_part() -> None:
    wide = frozenset(f"p{number:03d}" for number in range(300))
    known = rules([wide] * 5, AccountParams(min_lift=0.0, max_basket=10))
    assert len(known) == 10


def mix(count: int, seed: int = 0, **columns: object) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "fold_key": [f"a{number % 97}" for number in range(count)],
            "lead_source": random.choice(["web", "fair"], count),
            "opportunity_type": None,
            "product_id": None,
            "industry": None,
            "amount": np.nan,
            "employees": np.nan,
        }
    )
    chance = np.where(frame["lead_source"] == "web", 0.15, 0.45)
    drawn = {"is_won": (random.random(count) < chance).astype(np.float64)}
    return frame.assign(**{**drawn, **columns})


def chances(expected: Expected) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-expected.log_odds)))


def test_what_is_expected_follows_the_mix_and_adds_up_to_what_was_won() -> None:
    frame = mix(2_000)
    found = expected_log_odds(frame, TeamParams())
    assert found.basis == "mix_model"
    assert chances(found).sum() == pytest.approx(frame["is_won"].sum(), abs=1e-6)
    for source, truth in (("web", 0.15), ("fair", 0.45)):
        assert chances(found)[frame["lead_source"] == source].mean() == pytest.approx(truth, abs=0.04)


@pytest.mark.parametrize("frame", [mix(50), mix(500, is_won=1.0), mix(500, is_won=0.0), mix(0)])
def test_too_little_to_learn_from_is_expected_at_the_company_s_rate(frame: pd.DataFrame) -> None:
    found = expected_log_odds(frame, TeamParams())
    assert found.basis == "company_rate"
    assert len(set(found.log_odds.tolist())) <= 1
    assert np.isfinite(found.log_odds).all()


def test_patterns_with_their_counts_are_fitted_as_their_rows_are() -> None:
    features = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    wins, losses = np.array([5, 0, 9, 2]), np.array([7, 6, 0, 4])
    pattern = np.concatenate([np.repeat(np.arange(4), wins), np.repeat(np.arange(4), losses)])
    outcome = np.repeat([1.0, 0.0], [wins.sum(), losses.sum()])
    rows = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8).fit(features[pattern], outcome)
    found = fitted_log_odds(features, wins, losses, TeamParams())
    assert found == pytest.approx(rows.decision_function(features), abs=1e-8)


def test_rates_are_those_of_sums_over_the_grid_one_by_one() -> None:
    random = np.random.default_rng(4)
    groups = random.integers(0, 5, 300)
    log_odds = random.choice([-1.5, -0.5, 0.25], 300)
    won = (random.random(300) < 1 / (1 + np.exp(-log_odds - 0.3 * (groups - 2)))).astype(np.float64)
    grid, weights, posteriors = np.linspace(-3.0, 3.0, 121), [], []
    for spread in np.linspace(0.02, 1.6, 40):
        for centre in np.linspace(-0.6, 0.6, 13):
            prior = np.exp(-0.5 * ((grid - centre) / spread) ** 2)
            likelihood = np.array(
                [
                    np.prod(np.where(won[mine, None] == 1, p, 1 - p), axis=0)
                    for mine in (groups == number for number in range(5))
                    for p in [1 / (1 + np.exp(-(log_odds[mine, None] + grid[None, :])))]
                ]
            )
            joint = likelihood * prior / prior.sum()
            weights.append(joint.sum(axis=1).prod() * np.exp(-0.5 * (spread / TeamParams().spread_prior) ** 2))
            posteriors.append(joint / joint.sum(axis=1, keepdims=True))
    posterior = np.average(posteriors, axis=0, weights=weights)
    chance = (1 / (1 + np.exp(-(log_odds[:, None] + grid[None, :])))).mean(axis=0)
    found = adjusted_rates(groups, 5, won, Expected(log_odds, "mix_model"), TeamParams())
    for rate, mine in zip(found, posterior, strict=True):
        assert rate is not None
        wanted = np.interp([0.1, 0.5, 0.9], mine.cumsum() - mine / 2, chance)
        assert [rate.low, rate.value, rate.high] == pytest.approx(wanted, abs=1e-9)


def test_a_group_of_very_many_leaves_no_number_too_small() -> None:
    groups = np.repeat([0, 1], [200_000, 10])
    won = np.concatenate([np.repeat([1.0, 0.0], [160_000, 40_000]), np.repeat([1.0, 0.0], 5)])
    large, small = adjusted_rates(groups, 2, won, Expected(np.zeros(len(won)), "company_rate"), TeamParams())
    assert large is not None and small is not None
    assert large.value == pytest.approx(0.8, abs=0.01)
    assert 0.5 < small.value < 0.8


def test_a_seller_of_easy_opportunities_gets_no_credit_for_them() -> None:
    frame = mix(4_000, seed=3)
    seller = np.where(frame["lead_source"] == "web", 0, 1).astype(np.int64)
    rates = adjusted_rates(seller, 2, frame["is_won"].to_numpy(), expected_log_odds(frame, TeamParams()), TeamParams())
    company = float(frame["is_won"].mean())
    assert [verdict(rate, company) for rate in rates if rate] == ["not_told_apart", "not_told_apart"]
    assert [rate.expected < 0.2 for rate in rates if rate] == [True, False]


def test_few_rows_are_shrunken_more_than_many_and_no_row_has_no_rate() -> None:
    won = np.array([1.0] * 3 + [1.0] * 60 + [0.0] * 40 + [1.0] * 200 + [0.0] * 800)
    groups = np.array([0] * 3 + [1] * 100 + [2] * 1000)
    expected = expected_log_odds(mix(len(won), is_won=won, lead_source=None), TeamParams())
    few, many, rest, none = adjusted_rates(groups, 4, won, expected, TeamParams())
    assert none is None
    assert few is not None and many is not None and rest is not None
    company = float(won.mean())
    assert company < few.value < many.value < 0.62
    assert few.high - few.low > many.high - many.low
    assert verdict(many, company) == "above"
    for rate in (few, many, rest):
        assert rate.low <= rate.value <= rate.high


def test_intervals_cover_the_sellers_own_rate_about_as_often_as_they_say() -> None:
    random = np.random.default_rng(5)
    covered, told_apart_wrongly, count = 0, 0, 0
    for world in range(6):
        effects = random.normal(0.0, 0.4, 30)
        groups = np.repeat(np.arange(30), 40)
        won = (random.random(len(groups)) < 1 / (1 + np.exp(1.2 - effects[groups]))).astype(np.float64)
        expected = expected_log_odds(mix(len(won), seed=world, is_won=won, lead_source=None), TeamParams())
        company = float(won.mean())
        for effect, rate in zip(effects, adjusted_rates(groups, 30, won, expected, TeamParams()), strict=True):
            assert rate is not None
            truth = 1 / (1 + np.exp(1.2 - effect))
            covered += rate.low <= truth <= rate.high
            told_apart_wrongly += verdict(rate, company) == ("below" if truth > company else "above")
            count += 1
    assert 0.72 <= covered / count <= 0.88
    assert told_apart_wrongly / count <= 0.05


def test_without_a_spread_between_sellers_hardly_any_is_told_apart() -> None:
    random = np.random.default_rng(8)
    groups = np.repeat(np.arange(40), 50)
    won = (random.random(len(groups)) < 0.25).astype(np.float64)
    expected = expected_log_odds(mix(len(won), is_won=won, lead_source=None), TeamParams())
    told = [
        verdict(rate, float(won.mean())) for rate in adjusted_rates(groups, 40, won, expected, TeamParams()) if rate
    ]
    assert sum(one != "not_told_apart" for one in told) <= 2


@pytest.mark.parametrize(("won", "closed"), [(0, 7), (7, 7), (3, 10)])
def test_the_company_s_own_interval_holds_its_rate(won: int, closed: int) -> None:
    rate = overall_rate(won, closed)
    assert rate.low <= rate.value == won / closed <= rate.high
