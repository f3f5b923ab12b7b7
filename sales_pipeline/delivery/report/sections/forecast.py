"""What will be won by period: the company, teams and owners. Its past stands in `forecast_past`."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Figure, Missing, Pair, Section, Text
from sales_pipeline.delivery.report.charts import Stack, stacks_svg
from sales_pipeline.delivery.report.formats import number_of, shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import NAME, OWNERS, PERIODS, TEAMS, TEXT
from sales_pipeline.delivery.report.sections.forecast_past import accuracy_block, bridge_block, history_block
from sales_pipeline.delivery.report.words import Words
from sales_pipeline.delivery.svg import Look

ID = "forecast"
FORECAST = "revenue_forecast"
LEAST_GAP = 0.01
"""Share of the quota by which the forecast falls short at the least where that is called out."""


def forecast_section(inputs: ReportInputs, words: Words) -> Section:
    """The section."""
    title, lead = words("forecast.title"), words("forecast.lead")
    rows = inputs.frame(FORECAST)
    company = _company(rows)
    if company.empty:
        return Section(ID, title, lead, [Missing(words("forecast.missing"))])
    now = current_period(company, inputs.day)
    told = [_chart(company, words), bridge_block(inputs, now, words), history_block(inputs, now, words)]
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
    blocks.append(accuracy_block(inputs, words))
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
    if row is None or number_of(row["quota"]) is None or row["expected"] >= (1 - LEAST_GAP) * row["quota"]:
        return ""
    fmt, currency, period = words.formats, row["currency"], shortened(row["period"], NAME)
    quota, high = fmt.money(row["quota"], currency), number_of(row["high"])
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
            number_of(row["low"]),
            number_of(row["high"]),
            number_of(row["quota"]),
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
    low, high = number_of(row["low"]), number_of(row["high"])
    return [
        *(fmt.money(row[name], currency) for name in ("closed", "commit", "best_case")),
        Cell(fmt.money(row["expected"], currency), note=fmt.money_span(low, high, currency) if low is not None else ""),
        fmt.money(row["quota"], currency),
        fmt.percent(row["attainment"]),
        fmt.number(row["coverage"], 1),
    ]
