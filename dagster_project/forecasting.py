"""The published forecast as people read it in a terminal: the figures, the bridge since last week, the history of a period, past accuracy.

Belongs here: choosing rows and laying them out. Does not belong here: computing anything (sales_management).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sales_pipeline.contracts.forecast import (
    FORECAST_ACCURACY,
    FORECAST_CHANGES,
    FORECAST_HISTORY,
    REVENUE_FORECAST,
)
from sales_pipeline.contracts.management import COMPANY, LEVELS
from sales_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from sales_pipeline.lake.runs import PublishedRun

FIGURES = (
    ("key", "key"),
    ("period", "period"),
    ("closed", "closed"),
    ("commit", "commit"),
    ("best_case", "best case"),
    ("expected", "expected"),
    ("low", "80 % low"),
    ("high", "80 % high"),
    ("from_open", "from open"),
    ("from_new", "from new"),
    ("quota", "quota"),
    ("coverage", "coverage"),
    ("attainment", "of quota"),
)
BRIDGE = (
    ("key", "key"),
    ("period", "period"),
    ("previous_expected", "then"),
    ("new", "new"),
    ("won", "won"),
    ("lost", "lost"),
    ("slipped", "slipped"),
    ("pulled_in", "pulled in"),
    ("revalued", "re-valued"),
    ("rescored", "re-scored"),
    ("reassigned", "re-assigned"),
    ("removed", "removed"),
    ("not_yet_created", "not yet created"),
    ("restated", "re-stated"),
    ("expected", "now"),
)
HISTORY = (
    ("key", "key"),
    ("said_at", "said at"),
    ("source", "by"),
    ("closed", "closed"),
    ("expected", "expected"),
    ("low", "80 % low"),
    ("high", "80 % high"),
    ("came", "came"),
    ("is_inside", "inside"),
)
ACCURACY = (
    ("source", "by"),
    ("period_kind", "kind"),
    ("periods_ahead", "ahead"),
    ("method", "method"),
    ("forecasts", "forecasts"),
    ("came", "came on average"),
    ("bias", "bias"),
    ("mean_absolute_error", "mean error"),
    ("covered_share", "80 % covered"),
)
SHARES = frozenset({"bias", "covered_share", "attainment"})
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class ToldForecast:
    """Rows of the four tables that concern what was asked for; `notes` once each."""

    level: str
    currency: str
    figures: Rows
    bridge: Rows
    history: Rows
    accuracy: Rows
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {"schema_version": 1, **self.__dict__}

    def texts(self) -> list[str]:
        """Tables and sentences in order."""
        parts = [
            _table(f"forecast by {self.level}, in {self.currency}", FIGURES, self.figures),
            *(f"  {note}" for note in self.notes),
        ]
        moved = [row for row in self.bridge if row["previous_expected"] is not None]
        if moved:
            since = moved[0]["previous_as_of"]
            parts.append(_table(f"what changed since {since:%Y-%m-%d}", BRIDGE, moved))
        elif self.bridge:
            parts.append(f"what changed: {self.bridge[0]['note']}")
        if self.history:
            parts.append(_table("what was said of it earlier", HISTORY, self.history))
        if self.accuracy:
            parts.append(
                _table(f"how right earlier forecasts by {self.accuracy[0]['level']} were", ACCURACY, self.accuracy)
            )
        else:
            parts.append(
                "how right earlier forecasts were: no period forecast by an earlier run or replay has ended yet "
                "(`sales-pipeline replay` makes past dates, the next run takes them up)"
            )
        return parts


def tell(current: PublishedRun, *, level: str, key: str | None, period: str | None) -> ToldForecast:
    """What the run's tables say. ConfigurationError for an unknown level, key or period, and for a run from before there were forecasts."""
    from sales_pipeline.lake.tables import read_table

    if level not in LEVELS:
        raise ConfigurationError("there is no such level", expected=", ".join(LEVELS), found=level, where="--level")
    if not (current.path / f"{REVENUE_FORECAST.name}.parquet").is_file():
        raise ConfigurationError(
            "the current run holds no forecast",
            expected=f"{REVENUE_FORECAST.name} among its tables",
            found="a run of an earlier version",
            where=str(current.path),
            fix="run `sales-pipeline run` again",
        )
    tables = {
        table.name: read_table(current.path / f"{table.name}.parquet").to_pylist()
        for table in (REVENUE_FORECAST, FORECAST_CHANGES, FORECAST_HISTORY, FORECAST_ACCURACY)
    }
    every = [row for row in tables[REVENUE_FORECAST.name] if row["level"] == level]
    _require(key, [row["key"] for row in every], "--key", "key")
    _require(period, [row["period"] for row in every], "--period", "period")

    def chosen(rows: Rows) -> Rows:
        return [
            row
            for row in rows
            if row["level"] == level and key in (None, row["key"]) and period in (None, row["period"])
        ]

    order = {(row["key"], row["period"]): number for number, row in enumerate(_ordered(every))}
    figures = sorted(chosen(every), key=lambda row: order[row["key"], row["period"]])
    told_level = "company" if level == "company" else "team"
    bridge = [row for row in chosen(tables[FORECAST_CHANGES.name]) if (row["key"], row["period"]) in order]
    return ToldForecast(
        level,
        every[0]["currency"],
        figures,
        sorted(bridge, key=lambda row: order[row["key"], row["period"]]),
        chosen(tables[FORECAST_HISTORY.name]) if period is not None else [],
        [row for row in tables[FORECAST_ACCURACY.name] if row["level"] == told_level],
        _notes(figures),
    )


def _require(value: str | None, known: Sequence[str], option: str, what: str) -> None:
    if value is not None and value not in known:
        names = list(dict.fromkeys(known))
        shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        raise ConfigurationError(f"the forecast has no such {what}", expected=shown, found=value, where=option)


def _ordered(rows: Rows) -> Rows:
    """The company first, then keys by the alphabet; months before quarters."""
    return sorted(rows, key=lambda row: (row["key"] != COMPANY, row["key"], row["period_kind"], row["period_start"]))


def _notes(rows: Rows) -> list[str]:
    named = [
        f"{row['key']}: {row['note']}" if len({one["key"] for one in rows}) > 1 else row["note"]
        for row in rows
        if row["note"]
    ]
    return list(dict.fromkeys(named))


def _table(title: str, columns: Sequence[tuple[str, str]], rows: Rows) -> str:
    """A plain table: numbers to the right, thousands apart, columns without a value left out."""
    shown = [(name, label) for name, label in columns if any(row[name] is not None for row in rows)]
    cells = [[_cell(name, row[name]) for name, _ in shown] for row in rows]
    widths = [max(len(label), *(len(line[n]) for line in cells)) for n, (_, label) in enumerate(shown)]
    right = [any(isinstance(row[name], Decimal | float | int) for row in rows) for name, _ in shown]

    def line(values: Sequence[str]) -> str:
        parts = [
            value.rjust(width) if to_right else value.ljust(width)
            for value, width, to_right in zip(values, widths, right, strict=True)
        ]
        return "  ".join(parts).rstrip()

    return "\n".join(["", title, line([label for _, label in shown]), *(line(values) for values in cells)])


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Decimal):
        return f"{value:,.0f}"
    if name in SHARES:
        return f"{value:+.1%}" if name == "bias" else f"{value:.0%}"
    if name == "periods_ahead":
        return "all" if value < 0 else str(value)
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:%Y-%m-%d}" if hasattr(value, "strftime") else str(value)
