"""The bridge: every part under its name, and the parts add up to the change to the cent."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.forecast import FORECAST_CHANGES
from sales_pipeline.delivery.audit import audit
from sales_pipeline.domain.time import AsOf
from sales_pipeline.sales_management.changes import NO_EARLIER, NOT_FORECAST_THEN, PARTS, Earlier, changes
from sales_pipeline.sales_management.soundness import broken_bridges, broken_sums
from tests.support.forecast_rows import PARAMS, days_before, deal, history, make_forecast, past, rows_by, scored
from tests.support.scored_rows import AS_OF

THEN = AsOf(AS_OF.instant - timedelta(days=7))
SURE = {"win_probability_30d": 0.5, "win_probability_90d": 0.5}
"""Won within days, if at all."""
LATER = {"win_probability_30d": 0.0, "win_probability_90d": 0.5}
"""Won after a month, within three, if at all."""
COMPANY = ("company", "company", "2026-Q3")
Row = tuple[str, float | None, dict[str, Any]]


def bridge(
    then: list[Row], now: list[Row], deals: list[dict[str, Any]], then_deals: list[dict[str, Any]] | None = None
) -> Any:
    of, of_then = past(deals), past(then_deals if then_deals is not None else deals)
    before = make_forecast(scored(*then, as_of=THEN), of_then, as_of=THEN)
    today = make_forecast(scored(*now), of)
    earlier = Earlier("run-0", THEN.instant, scored(*then, as_of=THEN), before.table)
    table = changes(today, earlier, of.owners, PARAMS)
    assert broken_bridges(table) == []
    assert audit({FORECAST_CHANGES.name: table}, "run-1") == []
    return rows_by(table)


def parts(row: dict[str, Any]) -> dict[str, Decimal]:
    return {name: row[name] for name in PARTS if row[name]}


def test_what_is_new() -> None:
    found = bridge([], [("a", 0.5, SURE)], [deal("a", days_before(2))])
    assert parts(found[COMPANY]) == {"new": Decimal("500.00")}
    assert found[COMPANY]["previous_run_id"] == "run-0"


def test_what_was_won_elsewhere_and_what_was_lost() -> None:
    deals = [
        deal("a", days_before(100), days_before(0.2), amount=Decimal(900)),
        deal("b", days_before(100), days_before(1), is_won=False),
    ]
    row = bridge([("a", 0.5, LATER), ("b", 0.5, LATER)], [], deals)[COMPANY]
    # Won on the last day of June: what July to September had expected of it is gone.
    assert row["won"] == row["lost"] == -row["previous_expected"] / 2 < 0
    assert row["expected"] == 0


def test_what_was_won_within_the_period() -> None:
    as_of, then = AsOf.end_of_day(date(2026, 8, 14)), AsOf.end_of_day(date(2026, 8, 7))
    deals = [deal("a", days_before(100, as_of), days_before(3, as_of), amount=Decimal(900))]
    of = past(deals)
    before = make_forecast(scored(("a", 0.5, SURE), as_of=then), of, as_of=then)
    today = make_forecast(scored(as_of=as_of), of, as_of=as_of)
    table = changes(
        today, Earlier("run-0", then.instant, scored(("a", 0.5, SURE), as_of=then), before.table), of.owners, PARAMS
    )
    row = rows_by(table)[COMPANY]
    assert (
        row["won"]
        == Decimal(900)
        - before.table.filter(pa.compute.equal(before.table["period"], "2026-Q3"))["expected"][0].as_py()
    )
    assert broken_bridges(table) == []


def test_what_was_revalued_rescored_and_moved_in_time() -> None:
    deals = [deal(name, days_before(100)) for name in "abc"]
    then: list[Row] = [("a", 0.5, LATER), ("b", 0.5, LATER), ("c", 0.5, LATER)]
    now: list[Row] = [
        ("a", 0.5, {**LATER, "expected_amount": 2000.0, "expected_amount_high": 3000.0}),
        ("b", 0.25, {"win_probability_30d": 0.0, "win_probability_90d": 0.25}),
        ("c", 0.5, {"win_probability_30d": 0.0, "win_probability_90d": 0.0}),
    ]
    found = bridge(then, now, deals)[COMPANY]
    assert found["revalued"] > 400
    assert found["rescored"] < -200
    assert found["slipped"] < -400
    assert found["lost"] == found["won"] == found["new"] == 0


def test_what_went_to_another_owner_cancels_out_above() -> None:
    deals = [deal("a", days_before(100))]
    found = bridge([("a", 0.5, SURE)], [("a", 0.5, {**SURE, "owner_id": "seller-3"})], deals)
    gone, come = found["owner", "seller-1", "2026-Q3"], found["owner", "seller-3", "2026-Q3"]
    assert gone["reassigned"] == -come["reassigned"] < 0
    assert gone["expected"] == 0
    assert found["team", "North", "2026-Q3"]["reassigned"] == gone["reassigned"]
    assert found[COMPANY]["reassigned"] == 0


def test_what_is_no_longer_there_or_no_longer_counted() -> None:
    deals = [deal("a", days_before(100), removed_at=days_before(1)), deal("b", days_before(100))]
    found = bridge([("a", 0.5, SURE), ("b", 0.5, SURE)], [("b", None, {})], deals)
    assert found[COMPANY]["removed"] == -found[COMPANY]["previous_expected"] - found[COMPANY]["restated"] < 0
    assert set(parts(found[COMPANY])) <= {"removed", "restated"}


def test_a_score_that_came_is_rescored() -> None:
    found = bridge([("a", None, {})], [("a", 0.5, SURE)], [deal("a", days_before(100))])
    assert parts(found[COMPANY]) == {"rescored": Decimal("500.00")}


def test_records_corrected_since_are_restated() -> None:
    as_of, then = AsOf.end_of_day(date(2026, 8, 14)), AsOf.end_of_day(date(2026, 8, 7))
    won = deal("a", days_before(100, as_of), days_before(30, as_of))
    of, of_then = past([won | {"amount": Decimal(700)}]), past([won])
    before = make_forecast(scored(as_of=then), of_then, as_of=then)
    today = make_forecast(scored(as_of=as_of), of, as_of=as_of)
    table = changes(today, Earlier("run-0", then.instant, scored(as_of=then), before.table), of.owners, PARAMS)
    assert parts(rows_by(table)[COMPANY]) == {"restated": Decimal("-300.00")}


def test_a_reopened_win_is_taken_back() -> None:
    as_of, then = AsOf.end_of_day(date(2026, 8, 14)), AsOf.end_of_day(date(2026, 8, 7))
    of = past([deal("a", days_before(100, as_of), days_before(30, as_of), reopened_at=days_before(2, as_of))])
    before = make_forecast(scored(as_of=then), of, as_of=then)
    today = make_forecast(scored(("a", 0.5, SURE), as_of=as_of), of, as_of=as_of)
    table = changes(today, Earlier("run-0", then.instant, scored(as_of=then), before.table), of.owners, PARAMS)
    row = rows_by(table)[COMPANY]
    assert (row["revalued"], row["previous_expected"]) == (Decimal("-1000.00"), Decimal("1000.00"))
    assert row["new"] > 0
    assert broken_bridges(table) == []


def test_new_pipeline_changes_under_its_own_name_and_levels_add_up() -> None:
    deals = history()
    then: list[Row] = [(f"o{number}", 0.3, {"owner_id": f"seller-{number % 3 + 1}"}) for number in range(20)]
    now: list[Row] = [(name, 0.35, values) for name, _, values in then[3:]]
    found = bridge(then, now, deals)
    assert found[COMPANY]["not_yet_created"] != 0
    for name in ("previous_expected", *PARTS, "expected"):
        for level in ("team", "owner"):
            total = sum(row[name] for place, row in found.items() if place[0] == level and place[2] == "2026-Q3")
            assert total == found[COMPANY][name], (level, name)


def test_no_earlier_run_is_said() -> None:
    table = changes(make_forecast(scored(("a", 0.5, {})), past([])), None, past([]).owners, PARAMS)
    for row in table.to_pylist():
        assert row["note"] == NO_EARLIER
        assert all(row[name] is None for name in ("previous_expected", *PARTS))
        assert row["expected"] is not None


def test_a_period_the_earlier_run_did_not_forecast_is_said() -> None:
    as_of = AsOf.end_of_day(date(2026, 7, 7))
    of = past([deal("a", days_before(100))])
    before = make_forecast(scored(("a", 0.5, SURE), as_of=THEN), of, as_of=THEN)
    today = make_forecast(scored(("a", 0.5, SURE), as_of=as_of), of, as_of=as_of)
    table = changes(
        today, Earlier("run-0", THEN.instant, scored(("a", 0.5, SURE), as_of=THEN), before.table), of.owners, PARAMS
    )
    rows = rows_by(table)
    assert rows["company", "company", "2026-10"]["note"] == NOT_FORECAST_THEN
    assert rows["company", "company", "2026-08"]["previous_expected"] is not None


def test_another_currency_is_not_compared() -> None:
    of = past([deal("a", days_before(100))])
    before = make_forecast(scored(("a", 0.5, SURE), as_of=THEN), of, as_of=THEN)
    index = before.table.column_names.index("currency")
    other = before.table.set_column(index, before.table.schema.field(index), pa.array(["USD"] * before.table.num_rows))
    earlier = Earlier("run-0", THEN.instant, scored(("a", 0.5, SURE), as_of=THEN), other)
    table = changes(make_forecast(scored(("a", 0.5, SURE)), of), earlier, of.owners, PARAMS)
    assert {row["note"] for row in table.to_pylist()} == {"The earlier forecast is in USD: not comparable"}


def test_checks_find_what_does_not_add_up() -> None:
    table = make_forecast(scored(("a", 0.5, SURE)), past([deal("a", days_before(100))])).table
    assert broken_sums(table) == []
    rows = table.to_pylist()
    rows[0]["closed"] += 1
    found = broken_sums(pa.Table.from_pylist(rows, schema=table.schema))
    assert any("closed of level" in sentence for sentence in found)
    assert any("closed, from_open and from_new are not expected" in sentence for sentence in found)
    bridged = changes(make_forecast(scored(("a", 0.5, SURE)), past([])), None, past([]).owners, PARAMS).to_pylist()
    bridged[0] |= {name: Decimal(0) for name in PARTS} | {"previous_expected": Decimal(1)}
    sentences = broken_bridges(pa.Table.from_pylist(bridged, schema=None))
    assert "unexplained" in sentences[0]
