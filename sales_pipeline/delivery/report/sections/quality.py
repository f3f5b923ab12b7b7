"""What became of the export's records, what is quarantined and why, and the figures of the model's watch."""

from __future__ import annotations

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Heading, Missing, Section, Text
from sales_pipeline.delivery.report.formats import shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import FEATURES, FILES, NAME, TEXT
from sales_pipeline.delivery.report.words import Words

LEDGER, MONITORING = "row_ledger_summary", "model_monitoring"
ID = "quality"
OUTCOMES = ("accepted", "duplicate_of", "quarantined", "structural")
PAST = ("calibration", "coverage")


def quality_section(inputs: ReportInputs, words: Words) -> Section:
    """The section."""
    blocks = [*_ledger(inputs, words), Heading(words("quality.watch")), *_watch(inputs, words)]
    return Section(ID, words("quality.title"), words("quality.lead"), blocks)


def quarantined(inputs: ReportInputs) -> tuple[int, int]:
    """Quarantined records, and all records of data."""
    rows = inputs.frame(LEDGER, ("outcome", "records"))
    if rows.empty:
        return 0, 0
    records = rows.groupby("outcome")["records"].sum()
    data = sum(int(records.get(name, 0)) for name in OUTCOMES if name != "structural")
    return int(records.get("quarantined", 0)), data


def _ledger(inputs: ReportInputs, words: Words) -> list[Block]:
    rows = inputs.frame(LEDGER, ("file", "canonical_table", "outcome", "reason", "records"))
    if rows.empty:
        return [Missing(words("quality.none"))]
    fmt = words.formats
    rows["table"] = rows["canonical_table"].where(rows["canonical_table"].notna(), words("quality.unmapped"))
    counts = rows.pivot_table(
        index="table", columns="outcome", values="records", aggfunc="sum", fill_value=0
    ).sort_index()
    files = rows.groupby("table")["file"].nunique()
    lines: list[list[Cell | str]] = []
    for table, line in counts.head(FILES).to_dict("index").items():
        values = [int(line.get(name, 0)) for name in OUTCOMES]
        lines.append(
            [
                shortened(table, NAME),
                fmt.count(int(files[str(table)])),
                *(
                    Cell(fmt.count(value), tone="bad" if name == "quarantined" and value else "")
                    for name, value in zip(OUTCOMES, values, strict=True)
                ),
            ]
        )
    columns = [
        Column(words("quality.table"), "text"),
        Column(words("quality.files")),
        *(Column(words(f"outcome.{name}")) for name in OUTCOMES),
    ]
    blocks: list[Block] = [DataTable(words("quality.records"), columns, lines, file=f"{LEDGER}.csv")]
    bad = rows[(rows["outcome"] == "quarantined") & (rows["records"] > 0)].sort_values(
        ["records", "file", "reason"], ascending=[False, True, True]
    )
    if bad.empty:
        return [*blocks, Text(words("quality.no_quarantine"), tone="good")]
    blocks.append(
        DataTable(
            words("quality.quarantine"),
            [
                Column(words("quality.file"), "wide"),
                Column(words("quality.reason"), "wide"),
                Column(words("quality.count")),
            ],
            [
                [
                    shortened(row["file"], TEXT),
                    Cell(shortened(row["reason"], TEXT), lang=words.lang(row["reason"])),
                    fmt.count(row["records"]),
                ]
                for row in bad.head(FILES).to_dict("records")
            ],
            file=f"{LEDGER}.csv",
            more=words("page.more", shown=FILES, all=len(bad)) if len(bad) > FILES else "",
        )
    )
    return blocks


def _watch(inputs: ReportInputs, words: Words) -> list[Block]:
    rows = inputs.frame(
        MONITORING, ("kind", "subject", "figure", "reference", "value", "limit_low", "limit_high", "is_alert", "detail")
    )
    if rows.empty:
        return [Missing(words("quality.no_watch"))]
    alerts = rows[rows["is_alert"].astype(bool)]
    blocks: list[Block] = (
        [_figures(words("quality.alerts"), alerts.sort_values(["kind", "subject", "figure", "reference"]), words)]
        if len(alerts)
        else [Text(words("quality.no_alerts", count=int(rows["value"].notna().sum())), tone="good")]
    )
    drift = rows[
        (rows["kind"] == "input_drift")
        & (rows["figure"] == "psi")
        & (rows["reference"] == "training")
        & rows["value"].notna()
    ]
    if len(drift):
        largest = drift.sort_values(["value", "subject"], ascending=[False, True]).head(FEATURES)
        blocks.append(_figures(words("quality.drift"), largest, words))
    past = rows[rows["kind"].isin(PAST)].sort_values(["kind", "subject", "figure", "reference"])
    if len(past):
        blocks.append(_figures(words("quality.past"), past.head(FILES), words))
    return blocks


def _figures(caption: str, rows: pd.DataFrame, words: Words) -> DataTable:
    fmt = words.formats
    return DataTable(
        caption,
        [
            Column(words("quality.subject"), "text"),
            Column(words("quality.figure"), "text"),
            Column(words("quality.value")),
            Column(words("quality.limit")),
            Column(words("quality.detail"), "wide"),
        ],
        [
            [
                shortened(str(row["subject"]).removeprefix("attribute:"), NAME),
                words.code("figure", row["figure"]),
                Cell(fmt.number(row["value"], 3), tone="bad" if row["is_alert"] else ""),
                _limits(row["limit_low"], row["limit_high"], words),
                Cell(shortened(row["detail"], TEXT), lang=words.lang(row["detail"])),
            ]
            for row in rows.head(FILES).to_dict("records")
        ],
        file=f"{MONITORING}.csv",
    )


def _limits(low: float, high: float, words: Words) -> str:
    fmt = words.formats
    if pd.notna(low) and pd.notna(high):
        return f"{fmt.number(low)}–{fmt.number(high)}"
    if pd.notna(high):
        return f"≤ {fmt.number(high)}"
    return f"≥ {fmt.number(low)}" if pd.notna(low) else fmt.number(None)
