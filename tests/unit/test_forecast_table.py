"""The forecast as a table, and bad input: each time a sensible result and a note that says what is missing."""

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.forecast import REVENUE_FORECAST
from sales_pipeline.contracts.management import UNASSIGNED
from sales_pipeline.delivery.audit import audit
from sales_pipeline.domain.time import AsOf
from sales_pipeline.sales_management.soundness import broken_intervals, broken_sums
from tests.support.forecast_rows import (
    PARAMS,
    days_before,
    deal,
    history,
    make_forecast,
    owner,
    past,
    quota,
    rate,
    rows_by,
    scored,
)

COMPANY = ("company", "company")
OPEN: tuple[tuple[str, float | None, dict[str, Any]], ...] = (
    ("a", 0.8, {"owner_id": "seller-1", "predicted_close_date": date(2026, 8, 10)}),
    ("b", 0.5, {"owner_id": "seller-2", "predicted_close_date": date(2026, 8, 20)}),
    ("c", 0.2, {"owner_id": "seller-3", "predicted_close_date": date(2026, 8, 30)}),
)
QUARTER = (date(2026, 7, 1), date(2026, 10, 1))


def told(rows: Any = OPEN, of: Any = None, **arguments: Any) -> dict[tuple[str, str, str], dict[str, Any]]:
    table = make_forecast(scored(*rows), of if of is not None else past(history()), **arguments).table
    assert broken_sums(table) == []
    assert broken_intervals(table) == []
    assert audit({REVENUE_FORECAST.name: table}, "run-1") == []
    return rows_by(table)


def test_commit_and_best_case_go_by_chance_and_predicted_close_date() -> None:
    rows = told()
    august, september = rows[*COMPANY, "2026-08"], rows[*COMPANY, "2026-09"]
    assert (august["commit"], august["best_case"]) == (Decimal("1000.00"), Decimal("2000.00"))
    assert (august["open_value"], august["open_count"]) == (Decimal("3000.00"), 3)
    assert (september["commit"], september["open_count"]) == (Decimal("0.00"), 0)
    assert rows[*COMPANY, "2026-Q3"]["best_case"] == Decimal("2000.00")


def test_open_months_add_up_to_chance_times_amount_by_the_end() -> None:
    rows = told((("a", 0.8, {"win_probability_30d": 0.8, "win_probability_90d": 0.8}),))
    assert rows[*COMPANY, "2026-Q3"]["from_open"] == Decimal("800.00")
    assert rows[*COMPANY, "2026-Q4"]["from_open"] == Decimal("0.00")


def test_closed_is_what_was_won_in_the_period_before_the_as_of() -> None:
    as_of = AsOf.end_of_day(date(2026, 8, 14))
    deals = [
        deal("july", days_before(300, as_of), days_before(20, as_of)),
        deal("june", days_before(300, as_of), days_before(60, as_of)),
        deal("lost", days_before(300, as_of), days_before(20, as_of), is_won=False),
        deal("removed", days_before(300, as_of), days_before(20, as_of), removed_at=days_before(1, as_of)),
        deal("reopened", days_before(300, as_of), days_before(20, as_of), reopened_at=days_before(1, as_of)),
        deal("tomorrow", days_before(300, as_of), days_before(-1, as_of)),
    ]
    rows = rows_by(make_forecast(scored(("a", 0.5, {}), as_of=as_of), past(deals), as_of=as_of).table)
    assert rows[*COMPANY, "2026-Q3"]["closed"] == Decimal("1000.00")
    assert (*COMPANY, "2026-07") not in rows
    assert rows[*COMPANY, "2026-08"]["closed"] == Decimal("0.00")


def test_new_pipeline_is_told_apart_and_shared_by_who_creates() -> None:
    rows = told()
    later = rows[*COMPANY, "2027-Q1"]
    assert later["from_new"] > 10 * later["from_open"] > 0
    assert later["low"] < later["expected"] < later["high"]
    shares = [rows["owner", f"seller-{number}", "2027-Q1"]["from_new"] / later["from_new"] for number in (1, 2, 3)]
    assert all(float(share) == pytest.approx(1 / 3, abs=0.05) for share in shares)


def test_those_who_have_left_get_no_new_pipeline() -> None:
    people = [owner("seller-1", "North", is_active=False), owner("seller-2", "North"), owner("seller-3", "South")]
    rows = told(of=past(history(), owners=people))
    assert rows["owner", "seller-1", "2027-Q1"]["from_new"] == 0
    assert rows["owner", "seller-2", "2027-Q1"]["from_new"] > 0


def test_equal_inputs_give_equal_tables() -> None:
    first, again = (make_forecast(scored(*OPEN), past(history())).table for _ in range(2))
    assert first.equals(again)
    other = make_forecast(scored(*OPEN), past(history()), params=PARAMS.model_copy(update={"seed": 5})).table
    assert other.column("expected").equals(first.column("expected"))
    assert not other.column("high").equals(first.column("high"))


def test_no_opportunity_ever_closed() -> None:
    rows = told(of=past([deal("a", days_before(40))]))
    company = rows[*COMPANY, "2026-Q3"]
    assert (company["closed"], company["from_new"]) == (Decimal(0), Decimal(0))
    assert company["from_open"] > 0
    assert "nothing has been won with a known amount" in company["note"]
    assert "no new pipeline: too few past wins" in company["evidence"]


def test_nothing_at_all() -> None:
    rows = told((), past([]))
    assert {place[0] for place in rows} == {"company"}
    company = rows[*COMPANY, "2026-Q3"]
    assert (company["expected"], company["low"], company["currency"]) == (Decimal(0), None, "EUR")


def test_no_owners() -> None:
    nobody = tuple((name, p, {**values, "owner_id": None}) for name, p, values in OPEN)
    rows = told(nobody, past(history(owners=[None]), owners=[]))
    assert {place[:2] for place in rows} == {COMPANY, ("team", UNASSIGNED), ("owner", UNASSIGNED)}
    company, unassigned = rows[*COMPANY, "2026-Q3"], rows["owner", UNASSIGNED, "2026-Q3"]
    assert company["expected"] == unassigned["expected"] > 0
    assert (company["low"], company["high"]) == (unassigned["low"], unassigned["high"])
    assert "no owners are recorded" in company["note"].lower()


def test_one_owner_with_everything() -> None:
    mine = tuple((f"o{number}", 0.3, {"owner_id": "seller-1"}) for number in range(300))
    rows = told(mine, past(history(owners=["seller-1"]), owners=[owner("seller-1", "North")]))
    company, only = rows[*COMPANY, "2026-Q3"], rows["owner", "seller-1", "2026-Q3"]
    assert {name: company[name] for name in ("expected", "low", "high")} == {
        name: only[name] for name in ("expected", "low", "high")
    }


def test_abstained_scores_are_counted_in_the_note_and_never_replaced() -> None:
    rows = told((*OPEN, ("d", None, {"owner_id": "seller-1", "crm_probability": 0.9})))
    without = told()
    mine = rows["owner", "seller-1", "2026-Q3"]
    assert mine["expected"] == without["owner", "seller-1", "2026-Q3"]["expected"]
    assert mine["left_out_count"] == 1
    assert "1 open opportunity is without a win probability and not counted" in mine["note"]
    assert rows["owner", "seller-2", "2026-Q3"]["left_out_count"] == 0


def test_all_scores_abstained_and_nothing_known() -> None:
    rows = told((("a", None, {}),), past([]))
    company = rows[*COMPANY, "2026-Q3"]
    assert (company["expected"], company["low"], company["left_out_count"]) == (Decimal(0), None, 1)


def test_leads_bring_no_revenue_and_are_said_to_be_left_out() -> None:
    rows = told((*OPEN, ("lead", 0.9, {"kind": "lead"})))
    assert rows[*COMPANY, "2026-Q3"]["expected"] == told()[*COMPANY, "2026-Q3"]["expected"]
    assert "1 open lead is not counted" in rows[*COMPANY, "2026-Q3"]["note"]


def test_no_quota() -> None:
    company = told()[*COMPANY, "2026-Q3"]
    assert (company["quota"], company["coverage"], company["attainment"]) == (None, None, None)
    assert "no quotas in the exports" in company["note"].lower()


def test_quota_coverage_and_attainment() -> None:
    rows = told(of=past(history(), quotas=[quota("seller-1", *QUARTER, 5000), quota("seller-3", *QUARTER, 7000)]))
    mine, company = rows["owner", "seller-1", "2026-Q3"], rows[*COMPANY, "2026-Q3"]
    assert mine["quota"] == Decimal("5000.00")
    assert mine["coverage"] == pytest.approx(float(mine["open_value"] / (mine["quota"] - mine["closed"])), abs=1e-4)
    assert mine["attainment"] == pytest.approx(float(mine["expected"] / mine["quota"]), abs=1e-4)
    assert company["quota"] == Decimal("12000.00")
    assert rows["team", "South", "2026-Q3"]["quota"] == Decimal("7000.00")
    month = rows["owner", "seller-1", "2026-09"]["quota"]
    assert month == Decimal("1666.68")
    assert "no quota recorded for the whole period" in rows["owner", "seller-1", "2026-Q4"]["note"].lower()


def test_quota_in_another_currency_with_and_without_a_rate() -> None:
    quotas = [quota("seller-1", *QUARTER, 5000, "USD"), quota("seller-2", *QUARTER, 5000, "GBP")]
    rates = [rate("EUR", 1.0), rate("USD", 1.25)]
    rows = told(of=past(history(), quotas=quotas, rates=rates))
    assert rows["owner", "seller-1", "2026-Q3"]["quota"] == Decimal("4000.00")
    lacking = rows["owner", "seller-2", "2026-Q3"]
    assert lacking["quota"] is None
    assert "is in GBP, which has no exchange rate" in lacking["note"]


def test_a_quota_of_zero() -> None:
    mine = told(of=past(history(), quotas=[quota("seller-1", *QUARTER, 0)]))["owner", "seller-1", "2026-Q3"]
    assert (mine["quota"], mine["coverage"], mine["attainment"]) == (Decimal(0), None, None)
    assert "quota is zero" in mine["note"]


def test_a_managers_quota_is_not_added_to_those_of_the_people() -> None:
    people = [
        owner("seller-1", "North", manager_id="boss"),
        owner("seller-2", "North", manager_id="boss"),
        owner("boss", "North"),
    ]
    quotas = [quota(name, *QUARTER, amount) for name, amount in (("seller-1", 100), ("seller-2", 200), ("boss", 300))]
    rows = told((OPEN[0], OPEN[1]), past(history(owners=["seller-1", "seller-2"]), owners=people, quotas=quotas))
    assert rows[*COMPANY, "2026-Q3"]["quota"] == Decimal("300.00")
    assert rows["owner", "boss", "2026-Q3"]["quota"] == Decimal("300.00")
    assert "1 quota of a manager is taken for the team's and not added" in rows["team", "North", "2026-Q3"]["note"]


def test_currencies_are_brought_together_or_said_to_be_missing() -> None:
    mixed = (("a", 0.5, {"currency": "USD"}), ("b", 0.5, {"currency": "EUR"}), ("c", 0.5, {"currency": "GBP"}))
    deals = [
        *history(),
        deal("usd", days_before(90), days_before(30), currency="USD"),
        deal("gbp", days_before(90), days_before(30), currency="GBP"),
    ]
    rows = told(mixed, past(deals, rates=[rate("EUR", 1.0), rate("USD", 2.0)]))
    company = rows[*COMPANY, "2026-Q3"]
    assert company["currency"] == "EUR"
    assert company["open_value"] == Decimal("1500.00")
    assert "1 open opportunity is in a currency without an exchange rate and not counted" in company["note"].lower()
    assert "1 won opportunity is in a currency without an exchange rate" in company["note"]


def test_wins_without_amount_or_closing_time_are_said() -> None:
    deals = [
        *history(),
        deal("no-amount", days_before(90), days_before(30), amount=None),
        deal("no-time", days_before(90), is_won=True),
    ]
    note = told(of=past(deals))[*COMPANY, "2026-Q3"]["note"]
    assert "1 won opportunity is without an amount" in note
    assert "1 won opportunity is in no period" in note


def test_the_audit_refuses_an_interval_that_does_not_hold_what_is_expected() -> None:
    table = make_forecast(scored(*OPEN), past(history())).table
    index = table.column_names.index("low")
    wrong = table.set_column(index, table.schema.field(index), table["high"])
    (failure,) = audit({REVENUE_FORECAST.name: wrong}, "run-1")
    assert "revenue_forecast.low: is greater than expected" in failure


def _altered(table: pa.Table, row: int, name: str, amount: str) -> pa.Table:
    values = table.column(name).to_pylist()
    values[row] = Decimal(amount)
    return table.set_column(
        table.column_names.index(name), table.schema.field(name), pa.array(values, table.schema.field(name).type)
    )


def test_levels_that_do_not_add_up_are_told_with_both_totals() -> None:
    table = make_forecast(scored(*OPEN), past(history())).table
    row = next(n for n, one in enumerate(table.to_pylist()) if one["level"] == "owner")
    period, key, said = (table.column(name)[row].as_py() for name in ("period", "key", "expected"))
    company = rows_by(table)[*COMPANY, period]["expected"]
    off = _altered(table, row, "expected", str(said + 1))
    assert broken_sums(off) == [
        f"{period}: expected of level owner adds up to {company + 1}, the company's is {company}",
        f"{period} owner {key}: closed, from_open and from_new are not expected",
    ]


def test_an_interval_that_misses_what_is_expected_is_told() -> None:
    table = make_forecast(scored(*OPEN), past(history())).table
    row = table.slice(0, 1).to_pylist()[0]
    off = _altered(table, 0, "low", str(row["high"] + 1))
    assert broken_intervals(off) == [
        f"{row['period']} {row['level']} {row['key']}: {row['high'] + 1} to {row['high']} does not hold {row['expected']}"
    ]
    assert broken_intervals(make_forecast(scored(), past([])).table) == []
