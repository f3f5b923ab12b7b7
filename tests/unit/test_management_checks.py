"""Each check of the team table, the stage times and the account table, failing where it should; and the audit that blocks on them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.management import ACCOUNT_INSIGHTS, STAGE_TIMES, TEAM_PERFORMANCE
from sales_pipeline.delivery.audit import audit
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.sales_management.checks import check_accounts, check_stage_times, check_team
from tests.support.managed import Company, change, opportunity
from tests.support.published_run import changed

TEAM, STAGES, ACCOUNTS = TEAM_PERFORMANCE.name, STAGE_TIMES.name, ACCOUNT_INSIGHTS.name


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, pa.Table]]:
    folder: Path = tmp_path_factory.mktemp("company")
    with DuckDBEngine(threads=1) as engine:
        company = Company(
            folder,
            engine,
            versioned=("stage",),
            opportunities=[
                opportunity("o"),
                opportunity("p", 50, 20, "won", account_id="b", owner_id="v"),
                opportunity("q", 50, 20, "lost"),
            ],
            opportunity_changes=[change("o", 60, "A", is_creation=True), change("o", 40, "B")],
        )
        yield {
            "scored_opportunities": company.scored,
            TEAM: company.tables.performance,
            STAGES: company.tables.stage_times,
            ACCOUNTS: company.account_table(),
        }


def failures(tables: dict[str, pa.Table]) -> list[str]:
    scored = tables["scored_opportunities"]
    verdicts = [
        *check_team(tables[TEAM], scored),
        *check_stage_times(tables[STAGES]),
        *check_accounts(tables[ACCOUNTS], scored),
    ]
    return [f"{verdict.name}: {verdict.message}" for verdict in verdicts if not verdict.passed]


def test_sound_tables_pass_checks_and_audit(tables: dict[str, pa.Table]) -> None:
    assert failures(tables) == []
    assert audit(tables, "run-1") == []


@pytest.mark.parametrize(
    ("table", "row", "values", "failure"),
    [
        (
            TEAM,
            1,
            {"open_value": Decimal("99.00")},
            "levels_add_up: open_value: the owner rows add up to 99.00, the company's is 100.00",
        ),
        (TEAM, 1, {"closed_count": 7}, "levels_add_up: closed_count"),
        (TEAM, 0, {"open_count": 2}, "open_ones_are_the_scored: 1 opportunities are scored, 2 are counted as open"),
        (
            TEAM,
            0,
            {"expected_value": Decimal("1.00")},
            "open_ones_are_the_scored: expected_value: 500.00 in the scored table, 1.00",
        ),
        (TEAM, 0, {"key": "us"}, "open_ones_are_the_scored: expected one row of the company, found 1"),
        (
            TEAM,
            2,
            {"adjusted_win_rate": 0.99},
            "intervals_hold_their_estimate: owner v: 0.99 lies outside its interval",
        ),
        (TEAM, 2, {"adjusted_win_rate": None}, "an adjusted win rate stands exactly where something has closed"),
        (TEAM, 2, {"win_rate_verdict": "above"}, "the verdict is above, the interval"),
        (STAGES, 0, {"stay_count": 9}, "stay_count of A: the owner rows add up to 1, the company's is 9"),
        (
            ACCOUNTS,
            0,
            {"account_id": "z"},
            "scored_accounts_have_a_row: 1 accounts of scored opportunities have no row, first a",
        ),
        (
            ACCOUNTS,
            0,
            {"open_count": 3},
            "scored_accounts_have_a_row: 1 accounts count other open ones than are scored, first a: 3, not 1",
        ),
        (ACCOUNTS, 1, {"open_count": 1}, "1 accounts count other open ones than are scored, first b: 1, not 0"),
        (ACCOUNTS, 1, {"segment": "prospect"}, "figures_agree: account b: segment prospect with 1 wins"),
        (ACCOUNTS, 1, {"won_count": 0, "segment": "prospect"}, "account b: nothing open and nothing won"),
        (ACCOUNTS, 1, {"p_alive": 0.5}, "account b: p_alive stands exactly where repeat_basis is bg_nbd"),
        (
            ACCOUNTS,
            0,
            {"next_product_id": "p", "next_product_because": "p"},
            "account a: next_product_id has been bought",
        ),
        (ACCOUNTS, 0, {"care_action": "offer_product"}, "account a: a product is to be offered and none is named"),
    ],
)
def test_what_is_wrong_is_named_and_blocks(
    tables: dict[str, pa.Table], table: str, row: int, values: dict[str, Any], failure: str
) -> None:
    wrong = changed(tables, table, row, **values)
    assert any(failure in found for found in failures(wrong)), failures(wrong)
    name = failure.split(":")[0].split(" ")[0]
    assert any(
        found.startswith(f"{table}: ") and (name in found or failure in found) for found in audit(wrong, "run-1")
    )


@pytest.mark.parametrize(
    ("table", "row", "values", "failure"),
    [
        (TEAM, 0, {"won_count": 5}, "team_performance.won_count: is greater than closed_count"),
        (
            TEAM,
            2,
            {"adjusted_win_rate_low": 1.0},
            "team_performance.adjusted_win_rate_low: is greater than adjusted_win_rate",
        ),
        (STAGES, 0, {"left_count": 5}, "stage_times.left_count: is greater than stay_count"),
        (ACCOUNTS, 1, {"purchase_days": 5}, "account_insights.purchase_days: is greater than won_count"),
        (ACCOUNTS, 0, {"care_reason": "Call +49 30 901820"}, "care_reason: holds a phone number"),
        (ACCOUNTS, 0, {"care_reason": "- call"}, "care_reason: begins like a spreadsheet formula"),
    ],
)
def test_the_audit_looks_at_cells_too(
    tables: dict[str, pa.Table], table: str, row: int, values: dict[str, Any], failure: str
) -> None:
    found = audit(changed(tables, table, row, **values), "run-1")
    assert any(failure in one for one in found), found
