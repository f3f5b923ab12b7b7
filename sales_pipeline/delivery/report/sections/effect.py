"""What following the queue changed, by its hold-out and by feedback; without evidence it says so."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Heading, Missing
from sales_pipeline.delivery.report.formats import shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import TEXT
from sales_pipeline.delivery.report.words import Words

TABLE = "queue_effect"
MONEY = "won_value"
NO_EVIDENCE = "no causal evidence yet: "
FIRST = "win_rate"
"""The figure whose want of evidence is told."""


def effect_blocks(inputs: ReportInputs, words: Words) -> list[Block]:
    """A heading and what is known; nothing where the run holds no such table."""
    rows = inputs.frame(TABLE)
    if rows.empty:
        return []
    heading = Heading(words("effect.title"))
    known = rows[rows["value"].notna()].sort_values(["method", "figure"])
    if known.empty:
        measured = rows[rows["figure"] == FIRST]
        rows = measured if len(measured) else rows
        return [
            heading,
            Missing(
                words("effect.none", detail=shortened(str(rows["detail"].iloc[0]).removeprefix(NO_EVIDENCE), TEXT))
            ),
        ]
    fmt = words.formats

    def shown(value: float, row: dict[Any, Any]) -> str:
        currency = row["currency"]
        if row["figure"] != MONEY:
            return fmt.percent(value, 1)
        return fmt.money(value, currency) if isinstance(currency, str) else fmt.number(value)

    table = DataTable(
        words("effect.title"),
        [
            Column(words("effect.figure"), "text"),
            Column(words("effect.value")),
            Column(words("effect.rows")),
            Column(words("effect.held")),
            Column(words("effect.detail"), "wide"),
        ],
        [
            [
                Cell(words.code("effect", row["figure"]), note=words.code("effect", row["method"])),
                Cell(
                    shown(row["value"], row),
                    note=f"{shown(row['low_80'], row)} – {shown(row['high_80'], row)}"
                    if pd.notna(row["low_80"])
                    else "",
                ),
                fmt.count(row["queue_rows"]),
                fmt.count(row["hold_out_rows"]),
                Cell(shortened(row["detail"], TEXT), lang=words.lang(row["detail"])),
            ]
            for row in known.to_dict("records")
        ],
        file=f"{TABLE}.csv",
    )
    return [heading, table]
