"""Small tables of sales management under their contracts, for tests of what is made from them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.forecast import FORECAST_ACCURACY, FORECAST_CHANGES, FORECAST_HISTORY, REVENUE_FORECAST
from sales_pipeline.contracts.management import ACCOUNT_INSIGHTS, STAGE_TIMES, TEAM_PERFORMANCE
from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.published import QUEUE_EFFECT
from tests.support.scored_rows import AS_OF, rows_of

RUN = "run-1"
QUARTER = {
    "period": "2026-Q3",
    "period_kind": "quarter",
    "period_start": date(2026, 7, 1),
    "period_end": date(2026, 10, 1),
}
MONTH = {"period": "2026-07", "period_kind": "month", "period_start": date(2026, 7, 1), "period_end": date(2026, 8, 1)}
ZERO = {"amount": Decimal(0), "int64": 0, "float64": 0.0, "string": "x", "boolean": False, "date": date(2026, 7, 1)}


def filled(contract: Table, **values: Any) -> dict[str, Any]:
    """A row: what is given, zero where the contract asks for a value, else NULL."""
    row: dict[str, Any] = {
        column.name: AS_OF.instant if column.type == "timestamp" else (column.allowed or [ZERO[column.type]])[0]
        for column in contract.columns
        if column.required
    }
    return row | {"run_id": RUN} | values


def forecast_row(level: str = "company", key: str = "company", **values: Any) -> dict[str, Any]:
    amounts = {name: Decimal(value) for name, value in (("closed", 1000), ("commit", 3000), ("best_case", 5000))}
    amounts |= {"expected": Decimal(4000), "low": Decimal(2500), "high": Decimal(6000)}
    amounts |= {"from_open": Decimal(2000), "from_new": Decimal(1000)}
    return filled(REVENUE_FORECAST, level=level, key=key, currency="EUR", **(QUARTER | amounts | values))


def management_tables(*, has_quota: bool = True) -> dict[str, pa.Table]:
    """Forecast with bridge, history and accuracy, team table with stage times, account table, effect without evidence."""
    quota: dict[str, Any] = {"quota": Decimal(8000), "attainment": 0.5, "coverage": 1.5} if has_quota else {}
    team_quota: dict[str, Any] = (
        {"quota": Decimal(8000), "coverage": 1.5, "forecast_attainment": 0.5} if has_quota else {}
    )
    team_quota |= {"forecast_expected": Decimal(4000)}
    forecast = [
        forecast_row(**quota),
        forecast_row(**MONTH, **quota),
        forecast_row("team", "North"),
        forecast_row("owner", "seller-1"),
    ]
    bridge = filled(
        FORECAST_CHANGES,
        level="company",
        key="company",
        currency="EUR",
        previous_as_of=AS_OF.instant - timedelta(days=7),
        previous_expected=Decimal(3500),
        new=Decimal(900),
        lost=Decimal(-400),
        expected=Decimal(4000),
        **{name: QUARTER[name] for name in ("period", "period_kind")},
    )
    history = [
        filled(
            FORECAST_HISTORY,
            level="company",
            key="company",
            currency="EUR",
            source="run",
            said_at=AS_OF.instant - timedelta(days=days),
            expected=Decimal(3000 + days),
            low=Decimal(2000),
            high=Decimal(5000),
            **QUARTER,
        )
        for days in (14, 7, 0)
    ]
    accuracy = filled(
        FORECAST_ACCURACY,
        source="replay",
        periods_ahead=-1,
        method="forecast",
        forecasts=12,
        bias=-0.08,
        mean_absolute_error=Decimal(500),
        covered_share=0.8,
        currency="EUR",
    )
    rates = {"adjusted_win_rate": 0.3, "adjusted_win_rate_low": 0.2, "adjusted_win_rate_high": 0.4, "win_rate": 0.25}
    team = [
        filled(TEAM_PERFORMANCE, level=level, key=key, currency="EUR", closed_count=40, **(rates | values | team_quota))
        for level, key, values in (
            ("company", "company", {}),
            ("team", "North", {"win_rate_verdict": "above"}),
            ("owner", "seller-1", {"team": "North", "is_active": False, "win_rate_verdict": "not_told_apart"}),
        )
    ]
    account = filled(
        ACCOUNT_INSIGHTS,
        source_system="crm",
        account_id="account-a",
        currency="EUR",
        won_count=2,
        won_amount=Decimal(9000),
        days_since_last_win=400,
        open_count=1,
        open_value=Decimal(1000),
        open_value_share=1.0,
        segment="at_risk",
        silence_level="high",
        silence_risk=0.7,
        care_action="win_back",
        care_reason="The last win was 400 days ago.",
    )
    stage = filled(STAGE_TIMES, level="company", key="company", stage="Qualify", median_days=12.0, stay_count=30)
    effect = filled(
        QUEUE_EFFECT,
        figure="win_rate",
        method="difference",
        detail="no causal evidence yet: nothing has matured",
    )
    return {
        table.name: rows_of(table, rows)
        for table, rows in (
            (REVENUE_FORECAST, forecast),
            (FORECAST_CHANGES, [bridge]),
            (FORECAST_HISTORY, history),
            (FORECAST_ACCURACY, [accuracy]),
            (TEAM_PERFORMANCE, team),
            (STAGE_TIMES, [stage]),
            (ACCOUNT_INSIGHTS, [account]),
            (QUEUE_EFFECT, [effect]),
        )
    }
