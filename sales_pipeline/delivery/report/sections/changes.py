"""What changed since the published run before: new, won, lost, moved, and the largest moves of scores with why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Missing, Section, Text
from sales_pipeline.delivery.report.formats import main_currency, shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import MOVES, NAME, REASONS, TEXT
from sales_pipeline.delivery.report.reasons import SIDES, reasons_of
from sales_pipeline.delivery.report.words import Words

SCORED = "scored_opportunities"
ID = "changes"
COLUMNS = ("opportunity_id", "owner_id", "stage", "currency", "win_probability", "expected_value", "model_version")
LEAST_MOVE = 0.01
LEAST_WEIGHT = 0.05
"""Change of a reason's weight, in log-odds, below which it explains nothing."""


@dataclass(frozen=True)
class Changes:
    """Rows by what happened: `new` of this run; `won`, `lost` and `gone` of the one before; `both` of both, with `_before` columns."""

    new: pd.DataFrame
    won: pd.DataFrame
    lost: pd.DataFrame
    gone: pd.DataFrame
    both: pd.DataFrame
    currency: str | None
    has_new_model: bool

    @property
    def moved(self) -> pd.DataFrame:
        """Those whose stage is another one now."""
        return self.both[self.both["stage"].fillna("") != self.both["stage_before"].fillna("")]


def changes_of(inputs: ReportInputs) -> Changes | None:
    """What happened between the two runs; None where there is no run before."""
    if not inputs.previous or SCORED not in inputs.previous:
        return None
    now = inputs.frame(SCORED, COLUMNS)
    before = inputs.frame(SCORED, COLUMNS, of_previous=True)
    both = now.merge(before, on="opportunity_id", suffixes=("", "_before"))
    left = before[~before["opportunity_id"].isin(now["opportunity_id"])]
    state = left["opportunity_id"].map(inputs.outcomes) if len(left) else pd.Series(dtype=object)
    versions = set(now["model_version"]) | set(before["model_version"])
    return Changes(
        new=now[~now["opportunity_id"].isin(before["opportunity_id"])],
        won=left[state == "won"],
        lost=left[state == "lost"],
        gone=left[~state.isin(("won", "lost"))],
        both=both,
        currency=main_currency(pd.concat([now["currency"], before["currency"]])),
        has_new_model=len(versions) > 1,
    )


def expected_value(rows: pd.DataFrame, currency: str | None, column: str = "expected_value") -> float | None:
    """The sum in one currency; None where there is none."""
    total = pd.to_numeric(rows.loc[rows["currency"] == currency, column]).sum(min_count=1)
    return float(total) if pd.notna(total) else None


def changes_section(inputs: ReportInputs, changes: Changes | None, words: Words) -> Section:
    """The section; says so at the first run."""
    day = inputs.previous_day
    if changes is None or day is None:
        return Section(ID, words("changes.title"), "", [Missing(words("changes.none"))])
    blocks: list[Block] = [_summary(changes, words)]
    if changes.has_new_model:
        blocks.append(Text(words("changes.model"), tone="soft"))
    if len(changes.moved):
        blocks.append(_moves(changes.moved, words))
    blocks += _scores(changes, inputs, words)
    return Section(ID, words("changes.title"), words("changes.lead", day=words.formats.day(day)), blocks)


def _summary(changes: Changes, words: Words) -> DataTable:
    fmt, currency = words.formats, changes.currency or ""

    def money(rows: pd.DataFrame, column: str) -> str:
        return fmt.money(expected_value(rows, changes.currency, column), currency)

    same = changes.both.drop(changes.moved.index)
    rows: list[list[Cell | str]] = [
        [words("changes.new"), fmt.count(len(changes.new)), "–", money(changes.new, "expected_value")]
    ]
    for name, group in (("moved", changes.moved), ("same", same)):
        rows.append(
            [
                words(f"changes.{name}"),
                fmt.count(len(group)),
                money(group, "expected_value_before"),
                money(group, "expected_value"),
            ]
        )
    for name, group in (("won", changes.won), ("lost", changes.lost), ("gone", changes.gone)):
        if len(group) or name != "gone":
            rows.append([words(f"changes.{name}"), fmt.count(len(group)), money(group, "expected_value"), "–"])
    columns = [
        Column(words("changes.kind"), "text"),
        Column(words("changes.count")),
        Column(words("changes.value")),
        Column(words("changes.value_now")),
    ]
    return DataTable(words("changes.summary"), columns, rows)


def _moves(moved: pd.DataFrame, words: Words) -> DataTable:
    none = words("page.no_stage")
    pairs = zip(moved["stage_before"].fillna(none), moved["stage"].fillna(none), strict=True)
    ordered = sorted(Counter(pairs).items(), key=lambda item: (-item[1], item[0]))
    return DataTable(
        words("changes.moves"),
        [Column(words("changes.from"), "text"), Column(words("changes.to"), "text"), Column(words("changes.count"))],
        [
            [shortened(before, NAME), shortened(now, NAME), words.formats.count(count)]
            for (before, now), count in ordered[:REASONS]
        ],
        more=words("page.more", shown=REASONS, all=len(ordered)) if len(ordered) > REASONS else "",
    )


def _scores(changes: Changes, inputs: ReportInputs, words: Words) -> list[Block]:
    both = changes.both.assign(move=changes.both["win_probability"] - changes.both["win_probability_before"])
    both = both[both["move"].abs() >= LEAST_MOVE]
    if both.empty:
        return [Missing(words("changes.no_moves"))]
    raised = both[both["move"] > 0].sort_values(["move", "opportunity_id"], ascending=[False, True]).head(MOVES)
    lowered = both[both["move"] < 0].sort_values(["move", "opportunity_id"]).head(MOVES)
    wanted = [*raised["opportunity_id"], *lowered["opportunity_id"]]
    now, before = (_reasons(inputs, wanted, of_previous=flag) for flag in (False, True))
    tables: list[Block] = []
    for key, rows in (("raised", raised), ("lowered", lowered)):
        if len(rows):
            tables.append(
                DataTable(
                    words(f"changes.{key}"),
                    [
                        Column(words("changes.opportunity"), "text"),
                        Column(words("changes.before")),
                        Column(words("changes.now")),
                        Column(words("changes.why"), "wide"),
                    ],
                    [_move(row, now, before, words) for row in rows.to_dict("records")],
                    file=f"{SCORED}.csv",
                )
            )
    return tables


def _move(
    row: dict[Any, Any], now: dict[str, dict[str, Any]], before: dict[str, dict[str, Any]], words: Words
) -> list[Cell | str]:
    fmt, name = words.formats, row["opportunity_id"]
    owner = row["owner_id"] or words("page.no_owner")
    why = _why(row, now.get(name, {}), before.get(name, {}), words)
    return [
        Cell(
            shortened(name, NAME),
            note=f"{shortened(row['stage'] or words('page.no_stage'), NAME)} · {shortened(owner, NAME)}",
        ),
        fmt.percent(row["win_probability_before"]),
        Cell(fmt.percent(row["win_probability"]), note=fmt.points(row["move"])),
        Cell(why[0], note=why[1]),
    ]


def _why(row: dict[Any, Any], now: dict[str, Any], before: dict[str, Any], words: Words) -> tuple[str, str]:
    """The reason whose weight moved most in the direction of the score, now and then, and the move of stage where there was one.

    Published reasons are the three largest each way; one that is not among them counts as zero.
    """
    sign = 1 if row["move"] > 0 else -1
    weights = {
        code: (now.get(code, {}).get("weight", 0.0) - before.get(code, {}).get("weight", 0.0)) * sign
        for code in {*now, *before}
    }
    parts = []
    if (row["stage"] or "") != (row["stage_before"] or ""):
        none = words("page.no_stage")
        parts.append(
            words(
                "changes.why_stage",
                before=shortened(row["stage_before"] or none, NAME),
                now=shortened(row["stage"] or none, NAME),
            )
        )
    code = max(sorted(weights), key=lambda name: weights[name], default=None)
    if code is None or weights[code] < LEAST_WEIGHT:
        return (parts[0] if parts else words("changes.why_none")), ""
    if code not in now:
        return " · ".join([*parts, words("changes.why_gone", text=shortened(before[code]["text"], TEXT))]), ""
    parts.append(
        words("changes.why_now", text=shortened(now[code]["text"], TEXT))
        if code in before
        else shortened(now[code]["text"], TEXT)
    )
    return " · ".join(parts), words(
        "changes.why_before", text=shortened(before[code]["text"], TEXT)
    ) if code in before else ""


def _reasons(inputs: ReportInputs, wanted: list[str], *, of_previous: bool) -> dict[str, dict[str, Any]]:
    """Reasons by opportunity and code."""
    found = reasons_of((inputs.previous if of_previous else inputs.tables)[SCORED], wanted)
    return {name: {reason["code"]: reason for side in SIDES for reason in sides[side]} for name, sides in found.items()}
