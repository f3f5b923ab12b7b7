"""Sizes of shocks: found again where they were put in, and the stated ones where there is no past."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy.special import ndtr

from sales_pipeline.sales_management.params import ShockParams
from sales_pipeline.sales_management.shocks import WINDOW_DAYS, estimate_shocks, stated
from tests.support.replay_rows import make_replay

PARAMS = ShockParams(strength=0.001)


def shocked(company: float, team: float, amount: float = 0.0, dates: int = 60, seed: int = 5) -> tuple[pa.Table, float]:
    """REPLAY rows whose wins within the window hang together by those correlations."""
    rows, _ = make_replay(opportunities=400, dates=2, seed=seed)
    one = rows.filter(pc.equal(rows.column("as_of"), rows.column("as_of")[0])).to_pylist()
    random = np.random.default_rng(seed)
    teams = sorted({row["owner_team"] or "" for row in one})
    found = []
    for number in range(dates):
        start = one[0]["as_of"] + timedelta(days=90 * number)
        common, of_team, paid = (
            random.normal(),
            dict(zip(teams, random.normal(size=len(teams)), strict=True)),
            random.normal(),
        )
        for row in one:
            p = float(np.clip(row["win_probability_90d"], 0.02, 0.9))
            hidden = np.sqrt(company) * common + np.sqrt(team) * of_team[row["owner_team"] or ""]
            hidden += np.sqrt(1 - company - team) * random.normal()
            won = ndtr(hidden) < p
            factor = np.exp(amount * paid + 0.2 * random.normal())
            found.append(
                row | {
                    "as_of": start, "win_probability_90d": p, "is_won": bool(won), "expected_amount": 100.0,
                    "closed_at": start + timedelta(days=30), "won_amount": round(100.0 * factor, 2) if won else None,
                }
            )  # fmt: skip
    table = pa.Table.from_pylist([{**row, "won_amount": None} for row in found], schema=rows.schema)
    amounts = pa.array([row["won_amount"] for row in found], pa.float64()).cast(
        rows.schema.field("won_amount").type, safe=False
    )
    table = table.set_column(table.column_names.index("won_amount"), "won_amount", amounts)
    return table, (found[-1]["as_of"].timestamp() + (WINDOW_DAYS + 1) * 86_400) * 1e6


def test_correlations_put_in_are_found_again() -> None:
    rows, known = shocked(0.05, 0.04, amount=0.3)
    found = estimate_shocks(rows, known, PARAMS)
    assert found.company == pytest.approx(0.05, abs=0.03)
    assert found.team == pytest.approx(0.04, abs=0.03)
    assert found.company_amount == pytest.approx(0.3, abs=0.1)
    assert found.windows == pytest.approx(60)
    assert "60.0 past windows" in found.basis


def test_independent_wins_have_no_correlation_beyond_noise() -> None:
    rows, known = shocked(0.0, 0.0)
    found = estimate_shocks(rows, known, PARAMS)
    assert found.company < 0.01
    assert found.team < 0.02


def test_windows_that_are_not_over_say_nothing() -> None:
    rows, known = shocked(0.05, 0.04, dates=2)
    assert estimate_shocks(rows, known - 200 * 86_400e6, PARAMS) == stated(PARAMS)
    assert estimate_shocks(None, known, PARAMS) == stated(PARAMS)
    assert stated(PARAMS).basis == "shared shocks of stated size"


def test_a_past_is_believed_by_the_windows_it_has() -> None:
    rows, known = shocked(0.2, 0.0, dates=4)
    little, much = (estimate_shocks(rows, known, ShockParams(strength=strength)) for strength in (1e6, 1e-6))
    assert little.company == pytest.approx(PARAMS.company_correlation, abs=1e-3)
    assert much.company > 0.05
