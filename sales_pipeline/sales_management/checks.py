"""What must hold between the tables of sales management and the scored table, whatever the data.

Belongs here: checks that read published tables alone. Does not belong here: single cells against their contract (delivery's audit, `contracts`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.management import COMPANY, LEVELS

ADDS_UP = (
    "open_count",
    "open_value",
    "expected_value",
    "unvalued_count",
    "closed_count",
    "won_count",
    "cycle_count",
    "owner_count",
)
"""Figures of a level that are sums of the level below; the last of an owner is itself."""
TEAM_CHECKS = {
    "levels_add_up": "owners add up to teams and to the company: open, value, closed, won",
    "open_ones_are_the_scored": "the company's open count and value are those of the scored table",
    "intervals_hold_their_estimate": "every adjusted win rate lies in its interval, and its verdict is what the interval says",
}
STAGE_CHECKS = {"stays_add_up": "stays of owners add up to those of teams and of the company, by stage"}
ACCOUNT_CHECKS = {
    "scored_accounts_have_a_row": "every account of a scored opportunity has a row, with as many open ones",
    "figures_agree": "scores, segment, expectations and care agree with each other in every row",
}


@dataclass(frozen=True)
class Verdict:
    """One check: whether it holds, the figures looked at, and a sentence where it does not."""

    name: str
    passed: bool
    message: str
    figures: dict[str, Any] = field(default_factory=dict)


def check_team(performance: pa.Table, scored: pa.Table) -> list[Verdict]:
    """TEAM_CHECKS on TEAM_PERFORMANCE beside SCORED_OPPORTUNITIES of its run."""
    return [
        _verdict("levels_add_up", [performance.num_rows], list(_sums_differ(performance, ADDS_UP))),
        _verdict("open_ones_are_the_scored", [scored.num_rows], list(_not_the_scored(performance, scored))),
        _verdict("intervals_hold_their_estimate", [performance.num_rows], list(_odd_rates(performance))),
    ]


def check_stage_times(stage_times: pa.Table) -> list[Verdict]:
    """STAGE_CHECKS on STAGE_TIMES."""
    return [
        _verdict(
            "stays_add_up",
            [stage_times.num_rows],
            list(_sums_differ(stage_times, ("stay_count", "left_count"), "stage")),
        )
    ]


def check_accounts(accounts: pa.Table, scored: pa.Table) -> list[Verdict]:
    """ACCOUNT_CHECKS on ACCOUNT_INSIGHTS beside SCORED_OPPORTUNITIES of its run."""
    return [
        _verdict("scored_accounts_have_a_row", [accounts.num_rows], list(_missing_accounts(accounts, scored))),
        _verdict("figures_agree", [accounts.num_rows], list(_odd_accounts(accounts))),
    ]


def _verdict(name: str, rows: list[int], failures: list[str]) -> Verdict:
    return Verdict(name, not failures, "; ".join(failures[:5]), {"rows": rows[0], "failures": len(failures)})


def _sums_differ(table: pa.Table, names: Sequence[str], *group: str) -> Iterator[str]:
    sums = table.group_by(["level", *group]).aggregate([(name, "sum") for name in names]).to_pylist()
    found = {(row["level"], *(row[part] for part in group)): row for row in sums}
    for part in sorted({key[1:] for key in found}):
        company = found.get((LEVELS[0], *part), {})
        for level in LEVELS[1:]:
            row = found.get((level, *part), {})
            for name in names:
                told, whole = (one.get(f"{name}_sum") or 0 for one in (row, company))
                if told != whole:
                    where = f" of {', '.join(part)}" if part else ""
                    yield f"{name}{where}: the {level} rows add up to {told}, the company's is {whole}"


def _not_the_scored(performance: pa.Table, scored: pa.Table) -> Iterator[str]:
    rows = [row for row in performance.to_pylist() if row["level"] == LEVELS[0]]
    if [row["key"] for row in rows] != [COMPANY]:
        yield f"expected one row of the company, found {len(rows)}"
        return
    (company,) = rows
    if company["open_count"] != scored.num_rows:
        yield f"{scored.num_rows} opportunities are scored, {company['open_count']} are counted as open"
    if scored.num_rows and scored.column("currency").unique().to_pylist() == [company["currency"]]:
        for name, column in (("open_value", "amount"), ("expected_value", "expected_value")):
            value = pc.sum(scored.column(column)).as_py() or 0
            if value != company[name]:
                yield f"{name}: {value} in the scored table, {company[name]} in the company's row"


def _odd_rates(performance: pa.Table) -> Iterator[str]:
    rows = performance.to_pylist()
    whole = next((row["win_rate"] for row in rows if row["level"] == LEVELS[0]), None)
    for row in rows:
        place = f"{row['level']} {row['key']}"
        rate, low, high = (row[f"adjusted_win_rate{end}"] for end in ("", "_low", "_high"))
        if (rate is None) != (row["closed_count"] == 0):
            yield f"{place}: an adjusted win rate stands exactly where something has closed, found {rate} of {row['closed_count']}"
        elif rate is not None and not low <= rate <= high:
            yield f"{place}: {rate} lies outside its interval {low} to {high}"
        elif rate is not None and row["level"] != LEVELS[0] and row["win_rate_verdict"] != _told(low, high, whole):
            yield f"{place}: the verdict is {row['win_rate_verdict']}, the interval {low} to {high} around {whole} says {_told(low, high, whole)}"


def _told(low: float, high: float, whole: float | None) -> str:
    if whole is None:
        return "nothing"
    return "above" if low > whole > 0 else "below" if high < whole < 1 else "not_told_apart"


def _missing_accounts(accounts: pa.Table, scored: pa.Table) -> Iterator[str]:
    known = accounts.select(["account_id", "open_count"]).append_column("is_known", pa.repeat(True, accounts.num_rows))
    named = scored.select(["account_id"]).filter(pc.is_valid(scored.column("account_id")))
    wanted = named.group_by("account_id").aggregate([([], "count_all")])
    both = known.join(wanted, "account_id", join_type="full outer").sort_by("account_id")
    if missing := both.filter(pc.is_null(both.column("is_known"))).column("account_id").to_pylist():
        yield f"{len(missing)} accounts of scored opportunities have no row, first {missing[0]}"
        return
    expected = pc.fill_null(both.column("count_all"), 0)
    both = both.set_column(both.column_names.index("count_all"), "count_all", expected)
    differing = both.filter(pc.not_equal(both.column("open_count"), expected))
    for first in differing.slice(0, 1).to_pylist():
        told, count = first["open_count"], first["count_all"]
        yield f"{differing.num_rows} accounts count other open ones than are scored, first {first['account_id']}: {told}, not {count}"


def _odd_accounts(accounts: pa.Table) -> Iterator[str]:
    has_won = pc.greater(accounts.column("won_count"), 0)
    is_named = pc.is_valid(accounts.column("next_product_id"))
    odd: dict[str, pa.ChunkedArray] = {
        "segment {segment} with {won_count} wins": pc.equal(has_won, pc.equal(accounts.column("segment"), "prospect")),
        "nothing open and nothing won": pc.and_(pc.invert(has_won), pc.equal(accounts.column("open_count"), 0)),
        "p_alive stands exactly where repeat_basis is bg_nbd": pc.not_equal(
            pc.fill_null(pc.equal(accounts.column("repeat_basis"), "bg_nbd"), False),
            pc.is_valid(accounts.column("p_alive")),
        ),
        "next_product_id has been bought": pc.equal(
            accounts.column("next_product_id"), accounts.column("next_product_because")
        ),
        "a product is to be offered and none is named": pc.and_(
            pc.equal(accounts.column("care_action"), "offer_product"), pc.invert(is_named)
        ),
    }
    for told, where in odd.items():
        for row in accounts.filter(where).to_pylist():
            yield f"account {row['account_id']}: {told.format_map(row)}"
