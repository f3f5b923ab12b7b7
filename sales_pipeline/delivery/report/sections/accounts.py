"""Customers: who carries the open value, who may fall silent, and what to do for them."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Figure, Missing, Pair, Section, Text
from sales_pipeline.delivery.report.charts import Bar, bars_svg
from sales_pipeline.delivery.report.formats import main_currency, shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import ACCOUNTS, NAME, TEXT
from sales_pipeline.delivery.report.words import Words
from sales_pipeline.delivery.svg import Look

ID = "accounts"
TABLE = "account_insights"
GOOD = ("champion", "loyal")
SILENT = ("high", "medium")
"""Levels of the risk of silence that are listed, the gravest first."""
SEGMENTS = ("champion", "loyal", "new_customer", "occasional", "at_risk", "dormant", "prospect")
COLUMNS = (
    "account_id",
    "owner_id",
    "team",
    "currency",
    "won_count",
    "won_amount",
    "days_since_last_win",
    "days_since_last_contact",
    "open_count",
    "open_value",
    "open_value_share",
    "segment",
    "engagement_trend",
    "silence_risk",
    "silence_level",
    "next_product_id",
    "next_product_support",
    "survey_count",
    "satisfaction",
    "care_action",
    "care_reason",
)


def accounts_section(inputs: ReportInputs, words: Words) -> Section:
    """The section."""
    title, lead = words("accounts.title"), words("accounts.lead")
    rows = inputs.frame(TABLE, COLUMNS)
    if rows.empty:
        return Section(ID, title, lead, [Missing(words("accounts.missing"))])
    currency = main_currency(rows["currency"]) or ""
    blocks: list[Block] = [Pair([_chart(rows, currency, words), _segments(rows, currency, words)]), _top(rows, words)]
    blocks += [_risk(rows, words), _actions(rows, words)]
    blocks += [Text(words(key), tone="soft") for key in _absent(rows)]
    return Section(ID, title, lead, blocks)


def falling(inputs: ReportInputs) -> int:
    """Good customers whose contacts fell clearly."""
    rows = inputs.frame(TABLE, ("segment", "engagement_trend"))
    return int((rows["segment"].isin(GOOD) & (rows["engagement_trend"] == "falling")).sum()) if len(rows) else 0


def _absent(rows: pd.DataFrame) -> list[str]:
    lacking = (("survey_count", "accounts.no_cases"), ("engagement_trend", "accounts.no_activities"))
    return [key for column, key in lacking if rows[column].isna().all()]


def _sum(rows: pd.DataFrame, column: str, currency: str) -> float:
    return float(pd.to_numeric(rows.loc[rows["currency"] == currency, column]).sum())


def _chart(rows: pd.DataFrame, currency: str, words: Words) -> Block:
    fmt = words.formats
    values = [
        (name, _sum(rows[rows["segment"] == name], "won_amount", currency)) for name in SEGMENTS if name != "prospect"
    ]
    values = [(name, value) for name, value in values if value > 0]
    if not values:
        return Missing(words("accounts.no_wins"))
    bars = [Bar(words.code("segment", name), value, label=fmt.money(value, currency)) for name, value in values]
    largest = max(bars, key=lambda bar: bar.value)
    title = words("accounts.chart")
    described = words("accounts.chart_desc", segment=largest.name, amount=largest.label)
    data = DataTable(
        title,
        [Column(words("accounts.segment"), "text"), Column(words("accounts.won"))],
        [[bar.name, fmt.whole_money(bar.value, currency)] for bar in bars],
    )
    picture = bars_svg(
        bars, lambda value: fmt.money(value, currency), "accounts", title, Look(is_inline=True, description=described)
    )
    return Figure(picture, words.sentences(words.ended(title), words("accounts.chart_caption")), data)


def _segments(rows: pd.DataFrame, currency: str, words: Words) -> DataTable:
    fmt = words.formats
    groups = [(name, rows[rows["segment"] == name]) for name in SEGMENTS]
    return DataTable(
        words("accounts.segments"),
        [
            Column(words("accounts.segment"), "text"),
            *(Column(words(f"accounts.{name}")) for name in ("count", "won", "open", "silent")),
        ],
        [
            [
                words.code("segment", name),
                fmt.count(len(group)),
                fmt.money(_sum(group, "won_amount", currency), currency),
                fmt.money(_sum(group, "open_value", currency), currency),
                fmt.count(int((group["silence_level"] == "high").sum())),
            ]
            for name, group in groups
            if len(group)
        ],
        file=f"{TABLE}.csv",
    )


def _top(rows: pd.DataFrame, words: Words) -> DataTable:
    fmt = words.formats
    found = rows[rows["open_count"] > 0].assign(value=lambda open_: pd.to_numeric(open_["open_value"]))
    ordered = found.sort_values(["value", "account_id"], ascending=[False, True]).head(ACCOUNTS)
    return DataTable(
        words("accounts.top"),
        [
            Column(words("accounts.account"), "text"),
            *(Column(words(f"accounts.{name}")) for name in ("open", "share", "contact", "silence")),
            Column(words("accounts.care"), "wide"),
        ],
        [
            [
                _account(row, words),
                fmt.money(row["value"], row["currency"]),
                fmt.percent(row["open_value_share"], 1),
                Cell(
                    fmt.count(row["days_since_last_contact"]),
                    note=words.code("engagement", row["engagement_trend"]) if row["engagement_trend"] else "",
                ),
                _silence(row, words),
                _care(row, words),
            ]
            for row in ordered.to_dict("records")
        ],
        file=f"{TABLE}.csv",
        more=words("page.more", shown=ACCOUNTS, all=len(found)) if len(found) > ACCOUNTS else "",
    ).trimmed()


def _risk(rows: pd.DataFrame, words: Words) -> Block:
    fmt = words.formats
    found = rows[rows["silence_level"].isin(SILENT)].assign(
        value=lambda silent: pd.to_numeric(silent["won_amount"]),
        is_high=lambda silent: silent["silence_level"] == SILENT[0],
    )
    if found.empty:
        return Text(words("accounts.no_risk"))
    most = ACCOUNTS // 2
    ordered = found.sort_values(["is_high", "value", "account_id"], ascending=[False, False, True]).head(most)
    return DataTable(
        words("accounts.risk"),
        [
            Column(words("accounts.account"), "text"),
            *(Column(words(f"accounts.{name}")) for name in ("won", "last_win", "silence")),
            Column(words("accounts.care"), "wide"),
        ],
        [
            [
                _account(row, words),
                fmt.money(row["value"], row["currency"]),
                fmt.count(row["days_since_last_win"]),
                _silence(row, words),
                _care(row, words),
            ]
            for row in ordered.to_dict("records")
        ],
        file=f"{TABLE}.csv",
        more=words("page.more", shown=most, all=len(found)) if len(found) > most else "",
    )


def _account(row: dict[Any, Any], words: Words) -> Cell:
    owner = row["owner_id"] or words("page.no_owner")
    return Cell(
        shortened(row["account_id"], NAME), note=f"{words.code('segment', row['segment'])} · {shortened(owner, NAME)}"
    )


def _silence(row: dict[Any, Any], words: Words) -> Cell:
    level = row["silence_level"]
    if not level:
        return Cell(words.formats.percent(None))
    risk = row["silence_risk"]
    note = words.formats.percent(risk) if pd.notna(risk) else ""
    return Cell(words.code("silence", level), note=note, tone="bad" if level == "high" else "")


def _care(row: dict[Any, Any], words: Words) -> Cell:
    action = row["care_action"]
    notes = [shortened(row["care_reason"], TEXT)] if action != "none" else []
    if pd.notna(row["satisfaction"]) and row["survey_count"]:
        notes.append(
            words(
                "accounts.satisfaction",
                value=words.formats.number(row["satisfaction"], 1),
                count=int(row["survey_count"]),
            )
        )
    if action != "offer_product" and row["next_product_id"] and pd.notna(row["next_product_support"]):
        notes.append(
            words(
                "accounts.next_product",
                product=shortened(row["next_product_id"], NAME),
                count=int(row["next_product_support"]),
            )
        )
    return Cell(
        words.code("care", action),
        note=" · ".join(notes),
        note_lang=words.lang(row["care_reason"]) if action != "none" and len(notes) == 1 else "",
    )


def _actions(rows: pd.DataFrame, words: Words) -> DataTable:
    counts = rows["care_action"].value_counts(sort=False)
    ordered = sorted(counts.index, key=lambda name: (-int(counts[name]), str(name)))
    return DataTable(
        words("accounts.actions"),
        [Column(words("accounts.action"), "text"), Column(words("accounts.count"))],
        [[words.code("care", name), words.formats.count(int(counts[name]))] for name in ordered],
    )
