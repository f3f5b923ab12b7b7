"""What will be won by period: the company, teams and owners, what was said earlier and how right it was, and what moved it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Figure, Missing, Pair, Section, Text
from sales_pipeline.delivery.report.charts import Bar, Said, Stack, bridge_svg, history_svg, stacks_svg
from sales_pipeline.delivery.report.formats import shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import DATES, NAME, OWNERS, PERIODS, TEAMS, TEXT
from sales_pipeline.delivery.report.words import Words
from sales_pipeline.delivery.svg import Look

ID = "forecast"
FORECAST, CHANGES = "revenue_forecast", "forecast_changes"
HISTORY, ACCURACY = "forecast_history", "forecast_accuracy"
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


def forecast_section(inputs: ReportInputs, words: Words) -> Section:
    """The section."""
    title, lead = words("forecast.title"), words("forecast.lead")
    rows = inputs.frame(FORECAST)
    company = _company(rows)
    if company.empty:
        return Section(ID, title, lead, [Missing(words("forecast.missing"))])
    now = current_period(company, inputs.day)
    told = [_chart(company, words), _bridge(inputs, company, words), _history(inputs, now, words)]
    blocks: list[Block] = [Pair([block for block in told if isinstance(block, Figure)])]
    blocks += [block for block in told if isinstance(block, Missing)]
    blocks.append(_periods(company, words))
    if rows["quota"].isna().all():
        blocks.append(Text(words("forecast.no_quota"), tone="soft"))
    notes = [str(note) for note in dict.fromkeys(company["note"].dropna())]
    blocks += [
        Text(shortened(note, TEXT), tone="soft", lang="" if words.language == "en" else "en") for note in notes[:2]
    ]
    if now is not None:
        for level, most in (("team", TEAMS), ("owner", OWNERS)):
            found = rows[(rows["level"] == level) & (rows["period"] == now["period"])]
            if len(found):
                blocks.append(_keys(found, level, most, words))
    blocks.append(_accuracy(inputs, words))
    return Section(ID, title, lead, blocks)


def forecast_sentence(inputs: ReportInputs, words: Words) -> str:
    """What the summary says of the current quarter; empty without a forecast."""
    company = _company(inputs.frame(FORECAST))
    row = current_period(company, inputs.day) if len(company) else None
    if row is None:
        return ""
    fmt, currency = words.formats, row["currency"]
    quota = words("forecast.sentence_no_quota")
    if pd.notna(row["quota"]) and pd.notna(row["attainment"]):
        share = fmt.percent(row["attainment"])
        quota = words("forecast.sentence_quota", share=share, quota=fmt.money(row["quota"], currency))
    return words(
        "forecast.sentence",
        period=shortened(row["period"], NAME),
        closed=fmt.money(row["closed"], currency),
        expected=fmt.money(row["expected"], currency),
        range=fmt.money_span(row["low"], row["high"], currency),
        quota=quota,
    )


def forecast_worry(inputs: ReportInputs, words: Words) -> str:
    """Where the current quarter falls short of its quota; empty where it does not, or there is none."""
    company = _company(inputs.frame(FORECAST))
    row = current_period(company, inputs.day) if len(company) else None
    if row is None or _number(row["quota"]) is None or row["expected"] >= row["quota"]:
        return ""
    fmt, currency, period = words.formats, row["currency"], shortened(row["period"], NAME)
    quota, high = fmt.money(row["quota"], currency), _number(row["high"])
    if high is not None and high < row["quota"]:
        return words("worry.quota_out", period=period, high=fmt.money(high, currency), quota=quota)
    gap = fmt.money(row["quota"] - row["expected"], currency)
    return words("worry.quota_short", period=period, gap=gap, quota=quota, share=fmt.percent(row["attainment"]))


def current_period(company: pd.DataFrame, day: date, kind: str = "quarter") -> dict[Any, Any] | None:
    """The company's row of the period of a kind that holds the day, else the first after it."""
    rows = company[(company["period_kind"] == kind) & (company["period_end"] > day)].sort_values("period_start")
    return rows.iloc[0].to_dict() if len(rows) else None


def _company(rows: pd.DataFrame) -> pd.DataFrame:
    return (
        rows[rows["level"] == "company"].sort_values(["period_end", "period_start"], ascending=[True, False])
        if len(rows)
        else rows
    )


def _chart(company: pd.DataFrame, words: Words) -> Block:
    fmt = words.formats
    months = company[company["period_kind"] == "month"]
    shown = (months if len(months) else company).head(PERIODS).to_dict("records")
    currency = str(shown[0]["currency"])
    stacks = [
        Stack(
            str(row["period"]),
            [row["closed"], row["from_open"], row["from_new"]],
            _number(row["low"]),
            _number(row["high"]),
            _number(row["quota"]),
        )
        for row in shown
    ]
    names = [words("forecast.closed"), words("forecast.from_open"), words("forecast.from_new")]
    title, first = words("forecast.chart"), shown[0]
    described = words(
        "forecast.chart_desc",
        period=str(first["period"]),
        expected=fmt.money(first["expected"], currency),
        range=fmt.money_span(first["low"], first["high"], currency),
    )
    data = DataTable(
        title,
        [
            Column(words("forecast.period"), "text"),
            *(Column(name) for name in names),
            Column(words("forecast.expected")),
            Column("10 %"),
            Column("90 %"),
        ],
        [
            [
                str(row["period"]),
                *(
                    fmt.whole_money(row[name], currency)
                    for name in ("closed", "from_open", "from_new", "expected", "low", "high")
                ),
            ]
            for row in shown
        ],
    )
    picture = stacks_svg(
        stacks,
        names,
        words("forecast.quota"),
        lambda value: fmt.money(value, currency),
        "forecast",
        title,
        Look(is_inline=True, description=described),
    )
    return Figure(picture, words("forecast.chart_caption"), data)


def _periods(company: pd.DataFrame, words: Words) -> DataTable:
    shown = company.head(2 * PERIODS)
    more = words("page.more", shown=len(shown), all=len(company)) if len(company) > len(shown) else ""
    rows = [[Cell(shortened(row["period"], NAME)), *_figures(row, words)] for row in shown.to_dict("records")]
    return DataTable(
        words("forecast.periods"), _columns("forecast.period", words), rows, file=f"{FORECAST}.csv", more=more
    ).trimmed()


def _keys(found: pd.DataFrame, level: str, most: int, words: Words) -> DataTable:
    period = str(found["period"].iloc[0])
    ordered = (
        found.sort_values("key") if level == "team" else found.sort_values(["expected", "key"], ascending=[False, True])
    )
    heading = {"team": "team.who", "owner": "team.owner"}[level]
    return DataTable(
        words(f"forecast.{level}s", period=period),
        _columns(heading, words),
        [[Cell(_name(row["key"], words)), *_figures(row, words)] for row in ordered.head(most).to_dict("records")],
        file=f"{FORECAST}.csv",
        more=words("page.more", shown=most, all=len(found)) if len(found) > most else "",
    ).trimmed()


def _name(key: str, words: Words) -> str:
    return words("team.unassigned") if key == "unassigned" else shortened(key, NAME)


def _columns(first: str, words: Words) -> list[Column]:
    names = ("closed", "commit", "best_case", "expected", "quota", "attainment", "coverage")
    return [Column(words(first), "text"), *(Column(words(f"forecast.{name}")) for name in names)]


def _figures(row: dict[Any, Any], words: Words) -> list[Cell | str]:
    fmt, currency = words.formats, row["currency"]
    low, high = _number(row["low"]), _number(row["high"])
    return [
        *(fmt.money(row[name], currency) for name in ("closed", "commit", "best_case")),
        Cell(fmt.money(row["expected"], currency), note=fmt.money_span(low, high, currency) if low is not None else ""),
        fmt.money(row["quota"], currency),
        fmt.percent(row["attainment"]),
        fmt.number(row["coverage"], 1),
    ]


def _bridge(inputs: ReportInputs, company: pd.DataFrame, words: Words) -> Block | None:
    now = current_period(company, inputs.day)
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


def _history(inputs: ReportInputs, now: dict[Any, Any] | None, words: Words) -> Block:
    """The current quarter by published runs where there are two or more, else the last ended one of the replay."""
    rows = inputs.frame(HISTORY)
    if len(rows):
        rows = rows[rows["level"] == "company"]
    found = pd.DataFrame()
    if len(rows) and now is not None:
        found = rows[(rows["source"] == "run") & (rows["period"] == now["period"])]
    if len(found) < 2 and len(rows):
        replayed = rows[(rows["source"] == "replay") & (rows["period_kind"] == "quarter") & rows["came"].notna()]
        counts = replayed.groupby("period").size()
        many = [period for period in counts.index if counts[period] > 1]
        found = replayed[replayed["period"] == max(many)] if many else found
    if len(found) < 2:
        return Missing(words("forecast.no_history"))
    fmt = words.formats
    shown = found.sort_values("said_at").tail(DATES).to_dict("records")
    currency, came = str(shown[0]["currency"]), _number(shown[-1]["came"])
    said = [
        Said(
            fmt.iso_day(inputs.as_day(row["said_at"])),
            row["expected"],
            row["closed"],
            _number(row["low"]),
            _number(row["high"]),
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


def _accuracy(inputs: ReportInputs, words: Words) -> Block:
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
                f"{fmt.points(row['bias'])}%" if _number(row["bias"]) is not None else fmt.percent(None),
                fmt.percent(row["covered_share"]),
            ]
            for row in rows.to_dict("records")
        ],
        file=f"{ACCURACY}.csv",
    )


def _judged_on(row: dict[Any, Any], words: Words) -> str:
    return f"{words.code('periodkind', row['period_kind'])} · {words.code('forecast', 'history_' + str(row['source']))}"


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
