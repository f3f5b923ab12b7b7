"""The past of the forecast: what moved it since an earlier one, what was said of a period date by date, and how right that was."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Figure, Missing
from sales_pipeline.delivery.report.charts import Bar, Said, bridge_svg, history_svg
from sales_pipeline.delivery.report.formats import number_of, shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import DATES, NAME, TEXT
from sales_pipeline.delivery.report.words import Words
from sales_pipeline.delivery.svg import Look

CHANGES, HISTORY, ACCURACY = "forecast_changes", "forecast_history", "forecast_accuracy"
PARTS = (
    "new",
    "won",
    "lost",
    "slipped",
    "pulled_in",
    "revalued",
    "rescored",
    "reassigned",
    "removed",
    "not_yet_created",
    "restated",
)
ALL_AHEAD = -1


def bridge_block(inputs: ReportInputs, now: dict[Any, Any] | None, words: Words) -> Block | None:
    """The bridge of the period of `now`; why there is none; nothing where the run holds no such table."""
    rows = inputs.frame(CHANGES)
    if now is None or rows.empty:
        return None
    found = rows[(rows["level"] == "company") & (rows["period"] == now["period"])]
    if found.empty:
        return None
    row = found.iloc[0].to_dict()
    if pd.isna(row["previous_expected"]):
        note = str(row["note"]) if words.language == "en" and row["note"] else words("forecast.no_earlier")
        return Missing(words("forecast.no_bridge", note=shortened(note, TEXT)))
    fmt, currency = words.formats, str(row["currency"])
    parts = [(name, float(row[name])) for name in PARTS if pd.notna(row[name]) and round(float(row[name])) != 0]
    steps = [("previous_expected", float(row["previous_expected"])), *parts, ("expected", float(row["expected"]))]
    ends = {"previous_expected", "expected"}
    bars = [
        Bar(
            words(f"bridge.{name}"),
            value,
            label=fmt.money(value, currency) if name in ends else _signed(value, currency, words),
        )
        for name, value in steps
    ]
    earlier = row["previous_as_of"]
    day = fmt.short_day(inputs.as_day(earlier)) if earlier is not None and pd.notna(earlier) else fmt.day(None)
    title = words("forecast.bridge", period=shortened(now["period"], NAME), day=day)
    largest = max(parts, key=lambda part: abs(part[1]), default=("restated", 0.0))
    described = words(
        "forecast.bridge_desc",
        before=bars[0].label,
        now=bars[-1].label,
        part=words(f"bridge.{largest[0]}"),
        amount=_signed(largest[1], currency, words),
    )
    data = DataTable(
        title,
        [Column(words("forecast.part"), "text"), Column(words("forecast.amount"))],
        [[words(f"bridge.{name}"), fmt.whole_money(value, currency)] for name, value in steps],
        file=f"{CHANGES}.csv",
    )
    picture = bridge_svg(
        bars, lambda value: fmt.money(value, currency), "bridge", title, Look(is_inline=True, description=described)
    )
    return Figure(picture, words.sentences(words.ended(title), words("forecast.bridge_caption")), data)


def _signed(value: float, currency: str, words: Words) -> str:
    return f"{'+' if value >= 0 else '−'}{words.formats.money(abs(value), currency)}"


def history_block(inputs: ReportInputs, now: dict[Any, Any] | None, words: Words) -> Block:
    """The current quarter by published runs where there are two or more, else the last ended one of the replay."""
    rows = inputs.frame(HISTORY)
    if len(rows):
        rows = rows[rows["level"] == "company"]
    found = pd.DataFrame()
    if len(rows) and now is not None:
        found = rows[(rows["source"] == "run") & (rows["period"] == now["period"])]
        if len(found) and (found["said_at"] != inputs.as_of.instant).all():
            today = {"source": "run", "said_at": inputs.as_of.instant, "came": None}
            found = pd.concat(
                [found, pd.DataFrame([{**now, **today}], dtype=object)[found.columns.intersection([*now, *today])]]
            )
    if len(found) < 2 and len(rows):
        replayed = rows[(rows["source"] == "replay") & (rows["period_kind"] == "quarter") & rows["came"].notna()]
        counts = replayed.groupby("period").size()
        many = [period for period in counts.index if counts[period] > 1]
        found = replayed[replayed["period"] == max(many)] if many else found
    if len(found) < 2:
        return Missing(words("forecast.no_history"))
    fmt = words.formats
    shown = found.sort_values("said_at").tail(DATES).to_dict("records")
    currency, came = str(shown[0]["currency"]), number_of(shown[-1]["came"])
    said = [
        Said(
            fmt.iso_day(inputs.as_day(row["said_at"])),
            row["expected"],
            row["closed"],
            number_of(row["low"]),
            number_of(row["high"]),
        )
        for row in shown
    ]
    title = words("forecast.history", period=shortened(shown[0]["period"], NAME))
    described = words(
        "forecast.history_desc",
        first=fmt.money(said[0].expected, currency),
        last=fmt.money(said[-1].expected, currency),
    )
    names = (
        words("forecast.expected"),
        words("forecast.range"),
        words("forecast.closed"),
        words("forecast.came_label"),
    )
    data = DataTable(
        title,
        [Column(words("forecast.said_at"), "text"), Column(names[0]), Column("10 %"), Column("90 %"), Column(names[2])],
        [
            [row.name, *(fmt.whole_money(value, currency) for value in (row.expected, row.low, row.high, row.closed))]
            for row in said
        ],
        file=f"{HISTORY}.csv",
    )
    source = words("forecast.history_caption", source=words(f"forecast.history_{shown[0]['source']}"))
    told = [words.ended(title), source] + (
        [words("forecast.came", amount=fmt.money(came, currency))] if came is not None else []
    )
    picture = history_svg(
        said,
        came,
        names,
        lambda value: fmt.money(value, currency),
        "history",
        title,
        Look(is_inline=True, description=described),
    )
    return Figure(picture, words.sentences(*told), data)


def accuracy_block(inputs: ReportInputs, words: Words) -> Block:
    """Bias, error and coverage of past forecasts of the company, beside two simple ones."""
    rows = inputs.frame(ACCURACY)
    if len(rows):
        rows = rows[(rows["level"] == "company") & (rows["forecasts"] > 0)]
    if rows.empty:
        return Missing(words("forecast.no_accuracy"))
    fmt = words.formats
    together = rows[rows["periods_ahead"] == ALL_AHEAD]
    rows = (together if len(together) else rows).sort_values(["source", "period_kind", "method"])
    return DataTable(
        words("forecast.accuracy"),
        [
            Column(words("forecast.method"), "text"),
            *(Column(words(f"forecast.{name}")) for name in ("judged", "error", "bias", "covered")),
        ],
        [
            [
                Cell(
                    words.code("method", row["method"]),
                    note=_judged_on(row, words),
                ),
                fmt.count(row["forecasts"]),
                fmt.money(row["mean_absolute_error"], str(row["currency"])),
                f"{fmt.points(row['bias'])}%" if number_of(row["bias"]) is not None else fmt.percent(None),
                fmt.percent(row["covered_share"]),
            ]
            for row in rows.to_dict("records")
        ],
        file=f"{ACCURACY}.csv",
    )


def _judged_on(row: dict[Any, Any], words: Words) -> str:
    return f"{words.code('periodkind', row['period_kind'])} · {words.code('forecast', 'history_' + str(row['source']))}"
