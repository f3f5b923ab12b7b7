"""Open opportunities by stage: what the CRM says, what is to be expected, with 80 % ranges; by grade; the largest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Figure, Missing, Pair, Section, Text
from sales_pipeline.delivery.report.charts import Bar, bars_svg
from sales_pipeline.delivery.report.formats import main_currency, shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import MOVES, NAME, STAGES, TEXT
from sales_pipeline.delivery.report.reasons import SIDES, reasons_of
from sales_pipeline.delivery.report.totals import Totals, simulated_totals
from sales_pipeline.delivery.report.words import Words
from sales_pipeline.delivery.svg import Look

SCORED = "scored_opportunities"
ID = "pipeline"
SEED = 7
GRADES = ("A", "B", "C", "D")
COLUMNS = (
    "opportunity_id",
    "kind",
    "owner_id",
    "stage",
    "currency",
    "amount",
    "crm_close_date",
    "win_probability",
    "win_probability_low",
    "win_probability_high",
    "grade",
    "expected_amount",
    "expected_amount_low",
    "expected_amount_high",
    "expected_value",
    "predicted_close_date",
    "slip_probability",
    "evidence_level",
    "abstain_reason",
)


@dataclass(frozen=True)
class Pipeline:
    """The open opportunities (`rows`, with `group`: the stage as shown, `is_main`: in the main currency) and their simulated totals by group."""

    rows: pd.DataFrame
    currency: str | None
    totals: Totals | None

    def total(self, group: str) -> tuple[float, float, float] | None:
        """Expected value of a group with its 80 % range."""
        if self.totals is None or group not in self.totals.groups:
            return None
        place = self.totals.groups.index(group)
        return float(self.totals.expected[place]), float(self.totals.low[place]), float(self.totals.high[place])


def pipeline_of(inputs: ReportInputs, words: Words) -> Pipeline:
    """The open opportunities of the run."""
    rows = inputs.frame(SCORED, COLUMNS)
    if rows.empty:
        return Pipeline(rows, None, None)
    currency = main_currency(rows["currency"])
    stage = rows["stage"].where(rows["stage"].notna(), words("page.no_stage")).astype(str)
    rows["group"] = stage.where(rows["kind"] != "lead", stage + f" ({words('pipeline.leads')})")
    rows["is_main"] = rows["currency"] == currency
    valued = rows[rows["is_main"] & rows["win_probability"].notna() & rows["expected_amount"].notna()]
    totals = simulated_totals(valued, valued["group"], seed=SEED) if len(valued) else None
    return Pipeline(rows, currency, totals)


def pipeline_section(inputs: ReportInputs, pipeline: Pipeline, words: Words) -> Section:
    """The section."""
    title, lead = words("pipeline.title"), words("pipeline.lead")
    if pipeline.rows.empty:
        return Section(ID, title, lead, [Missing(words("pipeline.empty"))])
    stages = _stages(pipeline)
    blocks: list[Block] = [
        Pair([_chart(pipeline, stages, words), _grades(pipeline, words)]),
        _table(pipeline, stages, words),
    ]
    others = int((~pipeline.rows["is_main"]).sum())
    if others and pipeline.currency:
        blocks.append(Text(words("page.main_currency", currency=pipeline.currency, others=others), tone="soft"))
    blocks += _top(inputs, pipeline, words)
    levels = pipeline.rows["evidence_level"].value_counts(sort=False)
    told = [
        f"{words.code('evidence', level)} {words.formats.count(int(levels[level]))}"
        for level in sorted(levels.index, key=lambda name: (-int(levels[name]), str(name)))
    ]
    blocks.append(Text(words("pipeline.evidence", levels=words.joined(told)), tone="soft"))
    return Section(ID, title, lead, blocks)


def _stages(pipeline: Pipeline) -> list[tuple[str, pd.DataFrame]]:
    """Stages by mean win probability, those without one first."""
    groups = [(str(name), group) for name, group in pipeline.rows.groupby("group", sort=True)]
    return sorted(groups, key=lambda item: (_mean(item[1]), item[0]))


def _mean(rows: pd.DataFrame) -> float:
    mean = rows["win_probability"].mean()
    return float(mean) if pd.notna(mean) else -1.0


def _chart(pipeline: Pipeline, stages: list[tuple[str, pd.DataFrame]], words: Words) -> Block:
    fmt, currency = words.formats, pipeline.currency or ""
    bars, rows = [], []
    for name, _ in stages:
        total = pipeline.total(name)
        if total is not None:
            value, low, high = total
            bars.append(Bar(shortened(name, 24), value, low, high, fmt.money(value, currency)))
            rows.append(
                [
                    shortened(name, NAME),
                    fmt.whole_money(value, currency),
                    fmt.whole_money(low, currency),
                    fmt.whole_money(high, currency),
                ]
            )
    if not bars or pipeline.totals is None:
        reasons = pipeline.rows["abstain_reason"].dropna()
        reason = str(reasons.mode().iloc[0]) if len(reasons) else words("queue.reason")
        return Missing(words("pipeline.no_chart", reason=shortened(reason, TEXT)))
    largest = max(bars, key=lambda bar: bar.value)
    title = words("pipeline.chart")
    look = Look(is_inline=True, description=words("pipeline.chart_desc", stage=largest.name, value=largest.label))
    data = DataTable(
        title,
        [Column(words("pipeline.stage"), "text"), Column(words("pipeline.expected")), Column("10 %"), Column("90 %")],
        rows[:STAGES],
    )
    picture = bars_svg(bars[-STAGES:], lambda value: fmt.money(value, currency), "pipeline", title, look)
    return Figure(picture, words("pipeline.chart_caption", draws=pipeline.totals.draws), data)


def _table(pipeline: Pipeline, stages: list[tuple[str, pd.DataFrame]], words: Words) -> DataTable:
    columns = [
        Column(words("pipeline.stage"), "text"),
        *(Column(words(f"pipeline.{name}")) for name in ("open", "amount", "mean", "wins", "expected")),
        Column(words("page.range80")),
    ]
    rows = [_row(name, group, pipeline.total(name), pipeline, words) for name, group in stages[-STAGES:]]
    totals = pipeline.totals
    whole = (totals.all_expected, totals.all_low, totals.all_high) if totals else None
    rows.append(_row(words("pipeline.all"), pipeline.rows, whole, pipeline, words))
    more = words("page.more", shown=STAGES, all=len(stages)) if len(stages) > STAGES else ""
    return DataTable(words("pipeline.table"), columns, rows, file=f"{SCORED}.csv", more=more)


def _row(
    name: str, group: pd.DataFrame, total: tuple[float, float, float] | None, pipeline: Pipeline, words: Words
) -> list[Cell | str]:
    fmt, currency = words.formats, pipeline.currency or ""
    amount = pd.to_numeric(group.loc[group["is_main"], "amount"]).sum(min_count=1)
    mean, wins = group["win_probability"].mean(), group["win_probability"].sum(min_count=1)
    reasons = group["abstain_reason"].dropna()
    note = shortened(reasons.iloc[0], TEXT) if len(reasons) == len(group) and len(group) else ""
    return [
        Cell(shortened(name, NAME), note=note, note_lang=words.lang(note)),
        fmt.count(len(group)),
        fmt.money(float(amount), currency),
        fmt.percent(float(mean)),
        fmt.count(float(wins)) if pd.notna(wins) and wins >= 10 else fmt.number(float(wins), 1),
        fmt.money(total[0], currency) if total else fmt.money(None, currency),
        fmt.money_span(total[1], total[2], currency) if total else fmt.money(None, currency),
    ]


def _grades(pipeline: Pipeline, words: Words) -> DataTable:
    fmt, currency, rows = words.formats, pipeline.currency or "", pipeline.rows
    groups = [(grade, rows[rows["grade"] == grade]) for grade in GRADES]
    groups.append((words("pipeline.grade_none"), rows[rows["grade"].isna()]))
    value = {
        name: pd.to_numeric(group.loc[group["is_main"], "expected_value"]).sum(min_count=1) for name, group in groups
    }
    return DataTable(
        words("pipeline.grades"),
        [
            Column(words("pipeline.grade"), "text"),
            Column(words("pipeline.open")),
            Column(words("pipeline.mean")),
            Column(words("pipeline.expected")),
        ],
        [
            [
                name,
                fmt.count(len(group)),
                fmt.percent(float(group["win_probability"].mean())),
                fmt.money(float(value[name]), currency),
            ]
            for name, group in groups
            if len(group)
        ],
    )


def _top(inputs: ReportInputs, pipeline: Pipeline, words: Words) -> list[Block]:
    rows = pipeline.rows[pipeline.rows["is_main"] & pipeline.rows["expected_value"].notna()]
    if rows.empty:
        return []
    currency = pipeline.currency or ""
    ordered = rows.assign(value=pd.to_numeric(rows["expected_value"])).sort_values(
        ["value", "opportunity_id"], ascending=[False, True]
    )
    shown = ordered.head(MOVES).to_dict("records")
    reasons = reasons_of(inputs.tables[SCORED], [row["opportunity_id"] for row in shown])
    return [
        DataTable(
            words("pipeline.top"),
            [
                Column(words("pipeline.opportunity"), "text"),
                Column(words("pipeline.probability")),
                Column(words("pipeline.expected")),
                Column(words("pipeline.close")),
                Column(words("pipeline.why"), "wide"),
            ],
            [_opportunity(row, currency, reasons, words) for row in shown],
            file=f"{SCORED}.csv",
            more=words("page.more", shown=MOVES, all=len(rows)) if len(rows) > MOVES else "",
        )
    ]


def _opportunity(
    row: dict[Any, Any], currency: str, reasons: dict[str, dict[str, list[dict[str, Any]]]], words: Words
) -> list[Cell | str]:
    fmt = words.formats
    owner = row["owner_id"] or words("page.no_owner")
    close = row["predicted_close_date"]
    told = reasons.get(row["opportunity_id"], {})
    up, down = (shortened(told[side][0]["text"], TEXT) if told.get(side) else "" for side in SIDES)
    return [
        Cell(
            shortened(row["opportunity_id"], NAME), note=f"{shortened(row['group'], NAME)} · {shortened(owner, NAME)}"
        ),
        Cell(
            fmt.percent(row["win_probability"]), note=fmt.span(row["win_probability_low"], row["win_probability_high"])
        ),
        fmt.money(row["value"], currency),
        fmt.iso_day(close) if pd.notna(close) else fmt.iso_day(None),
        Cell(f"+ {up}" if up else "", note=f"− {down}" if down else "", lang=words.lang(up or down)),
    ]
