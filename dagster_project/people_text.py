"""The published team table and account table as people read them in a terminal.

Belongs here: choosing rows and laying them out. Does not belong here: computing anything (sales_management).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from sales_pipeline.contracts.management import ACCOUNT_INSIGHTS, COMPANY, LEVELS, STAGE_TIMES, TEAM_PERFORMANCE
from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, SCORED_OPPORTUNITIES
from sales_pipeline.domain.identifiers import to_sfid18
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.tables import read_table

if TYPE_CHECKING:
    from sales_pipeline.lake.runs import PublishedRun

Columns = tuple[tuple[str, str], ...]
Rows = list[dict[str, Any]]

PIPELINE: Columns = (
    ("key", "key"), ("team", "team"), ("is_active", "active"), ("open_count", "open"), ("open_value", "open value"),
    ("expected_value", "expected value"), ("quota", "quota"), ("quota_won", "won of it"), ("coverage", "coverage"), ("unvalued_count", "without value"),
)  # fmt: skip
WIN_RATES: Columns = (
    ("key", "key"), ("closed_count", "closed"), ("won_count", "won"), ("win_rate", "win rate"), ("expected_win_rate", "expected by mix"),
    ("adjusted_win_rate", "adjusted"), ("adjusted_win_rate_low", "80 % low"), ("adjusted_win_rate_high", "80 % high"),
    ("win_rate_verdict", "against the company"),
)  # fmt: skip
WORK: Columns = (
    ("key", "key"), ("cycle_days", "days to close"), ("activities_per_open", "activities per open"), ("response_hours", "hours to answer"),
    ("unanswered_count", "unanswered"), ("slipped_share", "slipped"), ("stale_share", "stale"), ("queue_count", "queue before"),
    ("queue_worked_share", "worked"),
)  # fmt: skip
FORECAST: Columns = (
    ("key", "key"), ("forecast_period", "quarter"), ("forecast_expected", "expected"), ("forecast_low", "80 % low"), ("forecast_high", "80 % high"),
    ("forecast_quota", "quota"), ("forecast_attainment", "of quota"),
)  # fmt: skip
STAGES: Columns = (
    ("key", "key"), ("stage", "stage"), ("median_days", "median days"), ("stay_count", "stays"), ("left_count", "left"),
)  # fmt: skip
BOUGHT: Columns = (
    ("segment", "segment"), ("won_count", "wins"), ("purchase_days", "days with a win"), ("won_amount", "won"), ("days_since_last_win", "days since the last"),
    ("recency_score", "recency"), ("frequency_score", "frequency"), ("monetary_score", "money"),
)  # fmt: skip
AHEAD: Columns = (
    ("open_count", "open"), ("open_value", "open value"), ("open_value_share", "of all"), ("expected_value", "expected value"),
    ("p_alive", "still a customer"), ("expected_purchases_12m", "purchases in 12 months"), ("silence_risk", "chance of none"),
    ("silence_level", "silence"), ("repeat_basis", "by"),
)  # fmt: skip
CONTACT: Columns = (
    ("days_since_last_contact", "days since contact"), ("inbound_count_90d", "by the customer, 90 days"),
    ("inbound_count_previous_90d", "90 days before"), ("engagement_trend", "trend"), ("open_case_count", "open cases"),
    ("satisfaction", "satisfaction"), ("survey_count", "answers"),
)  # fmt: skip
PRODUCTS: Columns = (
    ("product_count", "bought"), ("next_product_id", "fits next"), ("next_product_because", "because of"), ("next_product_support", "accounts with both"),
    ("next_product_confidence", "of its buyers"), ("next_product_lift", "times the usual"),
)  # fmt: skip
OPEN: Columns = (
    ("opportunity_id", "opportunity"), ("kind", "kind"), ("owner_id", "owner"), ("stage", "stage"), ("amount", "amount"), ("crm_close_date", "close date"),
    ("score", "score"), ("grade", "grade"), ("win_probability_90d", "won within 90 days"), ("expected_value", "expected value"),
    ("abstain_reason", "no score because"),
)  # fmt: skip
QUEUED: Columns = (
    ("opportunity_id", "opportunity"), ("owner_id", "owner"), ("rank", "rank"), ("action", "action"), ("due_at", "due"), ("reason", "reason"),
)  # fmt: skip
SHARES = frozenset(
    (
        "win_rate", "expected_win_rate", "adjusted_win_rate", "adjusted_win_rate_low", "adjusted_win_rate_high", "slipped_share", "stale_share",
        "queue_worked_share", "forecast_attainment", "open_value_share", "p_alive", "silence_risk", "next_product_confidence", "win_probability_90d",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What was asked for: named tables, each with the columns people see, and sentences after them."""

    heading: str
    tables: tuple[tuple[str, Columns, Rows], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data: the rows whole, tables of the same rows once."""
        found: dict[str, Any] = {"schema_version": 1, "heading": self.heading, "notes": list(self.notes)}
        for title, _, rows in self.tables:
            if not any(rows is known for known in found.values()):
                found[title] = rows
        return found

    def texts(self) -> list[str]:
        """Tables and sentences in order; a table without rows or values is left out."""
        tables = [laid_out(*table) for table in self.tables]
        return [self.heading, *(table for table in tables if table), *(f"  {note}" for note in self.notes)]


def tell_team(run: PublishedRun, *, level: str | None, team: str | None) -> Told:
    """The team table of a run: by default the company and its teams; of one team, the team and its owners.

    Rows stand in the order of their keys, never by their rate. Raises ConfigurationError for a level or a team there is none of.
    """
    performance, times = (
        read_table(run.path / f"{name}.parquet") for name in (TEAM_PERFORMANCE.name, STAGE_TIMES.name)
    )
    rows = performance.to_pylist()
    _require(level, LEVELS, "--level", "level")
    _require(team, [row["key"] for row in rows if row["level"] == "team"], "--team", "team")
    chosen = sorted((row for row in rows if _is_chosen(row, level, team)), key=_order)
    keys = {(row["level"], row["key"]) for row in chosen if team is None or row["level"] == "team"}
    stages = sorted((row for row in times.to_pylist() if (row["level"], row["key"]) in keys), key=_order)
    currency = chosen[0]["currency"] if chosen else ""
    notes = [
        "In the order of their names: a rate differs from the company's only where the last column of win rates says above or below."
    ]
    if any(row["win_rate_basis"] == "company_rate" for row in chosen):
        notes.append(
            "Too little has closed for a model of the mix: every opportunity is expected at the company's rate."
        )
    return Told(
        f"team table, money in {currency}",
        (
            ("pipeline", PIPELINE, chosen),
            ("win rates of the last year", WIN_RATES, chosen),
            ("forecast against quota", FORECAST, [row for row in chosen if row["forecast_period"] is not None]),
            ("time and work", WORK, chosen),
            ("days in each stage", STAGES, stages if level != "owner" else []),
        ),
        tuple(notes),
    )


def _is_chosen(row: dict[str, Any], level: str | None, team: str | None) -> bool:
    if team is not None:
        own = row["team"] if row["team"] is not None else "unassigned"
        in_team = (row["level"] == "team" and row["key"] == team) or (row["level"] == "owner" and own == team)
        return in_team and level in (None, row["level"])
    return bool(row["level"] == level if level is not None else row["level"] != "owner")


def _order(row: dict[str, Any]) -> tuple[int, str, str, str]:
    return (
        LEVELS.index(row["level"]),
        row.get("team") or "",
        "" if row["key"] == COMPANY else row["key"],
        row.get("stage") or "",
    )


def tell_account(run: PublishedRun, account: str) -> Told:
    """One account of a run: its figures, what is open with its scores, its rows of the queue, what to do next.

    Salesforce ids of 15 characters are found too. Raises ConfigurationError when the run has no such account.
    """
    insights = read_table(run.path / f"{ACCOUNT_INSIGHTS.name}.parquet")
    known = set(insights.column("account_id").to_pylist())
    wanted = account if account in known else to_sfid18(account)
    if wanted not in known:
        raise ConfigurationError(
            "the run has no such account",
            expected=f"one of {len(known):,} accounts with anything open or won, such as {', '.join(sorted(known)[:3])}",
            found=account,
            where=f"{ACCOUNT_INSIGHTS.name} of {run.run_id}",
            fix="`sales-pipeline show account_insights` lists them",
        )
    (row,) = insights.filter(pc.field("account_id") == wanted).to_pylist()
    opened = _rows_of(run, SCORED_OPPORTUNITIES.name, wanted)
    opened.sort(key=lambda one: (-(one["expected_value"] or Decimal(-1)), one["opportunity_id"]))
    queued = sorted(_rows_of(run, FOLLOW_UP_QUEUE.name, wanted), key=lambda one: (one["owner_id"], one["rank"]))
    own = [row]
    owner = f"owner {row['owner_id']}" if row["owner_id"] else "no owner"
    return Told(
        f"account {wanted}, {owner}{', team ' + row['team'] if row['team'] else ''}, money in {row['currency']}",
        (
            ("bought", BOUGHT, own),
            ("ahead", AHEAD, own),
            ("contact and satisfaction", CONTACT, own),
            ("products", PRODUCTS, own),
            ("open", OPEN, opened),
            ("in the queue", QUEUED, queued),
        ),
        (f"next: {row['care_action']}. {row['care_reason']}",),
    )


def _rows_of(run: PublishedRun, name: str, account: str) -> Rows:
    found: Rows = read_table(run.path / f"{name}.parquet").filter(pc.field("account_id") == account).to_pylist()
    return found


def _require(value: str | None, known: Sequence[str], option: str, what: str) -> None:
    if value is not None and value not in known:
        raise ConfigurationError(
            f"the team table has no such {what}", expected=", ".join(sorted(known)), found=value, where=option
        )


def laid_out(title: str, columns: Columns, rows: Rows) -> str:
    """A plain table under its title: numbers to the right, columns without a value left out; empty where none has one."""
    shown = [(name, label) for name, label in columns if any(row[name] is not None for row in rows)]
    if not shown:
        return ""
    cells = [[label for _, label in shown], *([_cell(name, row[name]) for name, _ in shown] for row in rows)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(shown))]
    to_right = [
        isinstance(next(row[name] for row in rows if row[name] is not None), Decimal | float | int) for name, _ in shown
    ]
    lines = [
        "  ".join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, to_right, strict=True)
        )
        for line in cells
    ]
    return "\n".join(["", title, *(line.rstrip() for line in lines)])


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in SHARES:
        return f"{value:.1%}"
    if isinstance(value, Decimal):
        return f"{value:,.0f}"
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return (
        f"{value:%Y-%m-%d}"
        if hasattr(value, "strftime")
        else str(value).replace("_", " ")
        if name == "win_rate_verdict"
        else str(value)
    )
