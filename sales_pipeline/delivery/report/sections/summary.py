"""The minute at the top: a few sentences with figures, tiles, and what to worry about."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Pair, Points, Section, Tile, Tiles
from sales_pipeline.delivery.report.formats import shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import TEXT, WORRIES
from sales_pipeline.delivery.report.sections import changes as changes_part
from sales_pipeline.delivery.report.sections import pipeline as pipeline_part
from sales_pipeline.delivery.report.sections import quality as quality_part
from sales_pipeline.delivery.report.sections import queue as queue_part
from sales_pipeline.delivery.report.sections.accounts import falling
from sales_pipeline.delivery.report.sections.forecast import forecast_worry
from sales_pipeline.delivery.report.sections.team import unanswered
from sales_pipeline.delivery.report.words import Words

ID = "summary"
SOON_DAYS = 30
MANY_SLIPS = 0.5
MANY_WRONG = 0.1
"""How far wins seen over wins expected may lie from 1 before it is called out."""
CONCENTRATED = 0.02
"""Share of the open opportunities that makes up half of the expected value, at or below which it is called concentrated."""
LEAST_OPEN = 50
QUARANTINED = 0.001
"""Share of quarantined records from which they are called out."""


def summary_section(
    inputs: ReportInputs,
    pipeline: pipeline_part.Pipeline,
    changes: changes_part.Changes | None,
    words: Words,
    *,
    forecast: str = "",
) -> Section:
    """The section. `forecast` is the forecast's own sentence, empty where there is none."""
    queue = queue_part.queue_rows(inputs)
    overdue = past_close_date(inputs, pipeline)
    sentences = [
        _open(pipeline, words),
        forecast,
        _queue(queue, words),
        _changes(inputs, changes, words),
        _proof(inputs, words),
    ]
    blocks: list[Block] = [
        _tiles(pipeline, queue, overdue, words),
    ]
    worries = _worries(inputs, pipeline, overdue, words) or [Cell(words("summary.no_worries"), tone="good")]
    blocks.append(
        Pair(
            [
                Points([Cell(sentence) for sentence in sentences if sentence], heading=words("summary.state")),
                Points(worries[:WORRIES], heading=words("summary.worries")),
            ]
        )
    )
    return Section(ID, words("summary.title"), "", blocks)


def past_close_date(inputs: ReportInputs, pipeline: pipeline_part.Pipeline) -> pd.DataFrame:
    """Open opportunities whose close date in the CRM has passed."""
    rows = pipeline.rows
    if rows.empty:
        return rows
    dates = pd.to_datetime(rows["crm_close_date"])
    return rows[dates.notna() & (dates <= pd.Timestamp(inputs.day))]


def _amount(rows: pd.DataFrame, pipeline: pipeline_part.Pipeline, words: Words) -> str:
    amount = pd.to_numeric(rows.loc[rows["is_main"], "amount"]).sum()
    return words.formats.money(float(amount), pipeline.currency or "")


def _open(pipeline: pipeline_part.Pipeline, words: Words) -> str:
    rows, totals, currency = pipeline.rows, pipeline.totals, pipeline.currency
    if rows.empty:
        return words("summary.none_open")
    if totals is None or currency is None:
        return words("summary.open_unvalued", open=len(rows))
    fmt = words.formats
    expected = fmt.money(totals.all_expected, currency)
    span = fmt.money_span(totals.all_low, totals.all_high, currency)
    if pd.to_numeric(rows.loc[rows["is_main"], "amount"]).isna().all():
        return words("summary.open_no_amount", open=len(rows), expected=expected, range=span)
    amount = _amount(rows, pipeline, words)
    return words("summary.open", open=len(rows), amount=amount, expected=expected, range=span)


def _queue(queue: pd.DataFrame, words: Words) -> str:
    if queue.empty:
        return words("summary.no_queue")
    return words(
        "summary.queue",
        sellers=int(queue["owner_id"].nunique()),
        rows=len(queue),
        hours=words.formats.hours(float(queue["estimated_minutes"].sum())),
        high=int((queue["priority"] == "high").sum()),
    )


def _changes(inputs: ReportInputs, changes: changes_part.Changes | None, words: Words) -> str:
    if changes is None or inputs.previous_day is None:
        return words("summary.first_run")
    fmt, currency = words.formats, changes.currency
    then = [
        changes.both.assign(expected_value=changes.both["expected_value_before"]),
        changes.won,
        changes.lost,
        changes.gone,
    ]
    now = [changes.both, changes.new]

    def total(parts: list[pd.DataFrame]) -> str:
        values = [changes_part.expected_value(part, currency) for part in parts]
        known = [value for value in values if value is not None]
        return fmt.money(sum(known) if known else None, currency or "")

    return words(
        "summary.changes",
        day=fmt.day(inputs.previous_day),
        new=len(changes.new),
        won=len(changes.won),
        lost=len(changes.lost),
        moved=len(changes.moved),
        before=total(then),
        now=total(now),
    )


def _proof(inputs: ReportInputs, words: Words) -> str:
    fmt, card = words.formats, inputs.card
    figures, proof = card["figures"]["win"], card.get("proof")
    if proof and proof["win"]:
        model = proof["win"]["model"]
        dates = len(card["replay"]["dates"]) if card.get("replay") else proof["counts"]["dates"]
        if model.get("predicted") is not None and model.get("win_rate") is not None:
            return words(
                "summary.proof", dates=dates, said=fmt.percent(model["predicted"]), seen=fmt.percent(model["win_rate"])
            )
    table = (figures or {}).get("calibration_table")
    if table:
        weights = np.array([row["rows"] for row in table], dtype=np.float64)
        said, seen = (float(np.average([row[name] for row in table], weights=weights)) for name in ("predicted", "won"))
        return words("summary.last_window", said=fmt.percent(said), seen=fmt.percent(seen))
    return words("summary.no_proof")


def _tiles(pipeline: pipeline_part.Pipeline, queue: pd.DataFrame, overdue: pd.DataFrame, words: Words) -> Tiles:
    fmt, rows, totals, currency = words.formats, pipeline.rows, pipeline.totals, pipeline.currency or ""
    scored = int(rows["win_probability"].notna().sum()) if len(rows) else 0
    sellers = int(queue["owner_id"].nunique()) if len(queue) else 0
    minutes = float(queue["estimated_minutes"].sum()) if len(queue) else 0.0
    return Tiles(
        [
            Tile(
                words("tile.expected"),
                fmt.money(totals.all_expected, currency) if totals else fmt.money(None, currency),
                words("tile.expected_note", range=fmt.money_span(totals.all_low, totals.all_high, currency))
                if totals
                else "",
                pipeline_part.ID,
            ),
            Tile(words("tile.open"), fmt.count(len(rows)), words("tile.open_note", scored=scored), pipeline_part.ID),
            Tile(
                words("tile.queue"),
                fmt.count(len(queue)),
                words("tile.queue_note", sellers=sellers, hours=fmt.hours(minutes)),
                queue_part.ID,
            ),
            Tile(
                words("tile.overdue"),
                fmt.count(len(overdue)),
                words("tile.overdue_note", amount=_amount(overdue, pipeline, words)) if len(overdue) else "",
                pipeline_part.ID,
            ),
        ]
    )


def _worries(inputs: ReportInputs, pipeline: pipeline_part.Pipeline, overdue: pd.DataFrame, words: Words) -> list[Cell]:
    """The gravest first; each with a figure."""
    rows, found = pipeline.rows, []
    if short := forecast_worry(inputs, words):
        found.append(short)
    if len(rows):
        if len(overdue):
            found.append(words("worry.overdue", count=len(overdue), amount=_amount(overdue, pipeline, words)))
        if waiting := unanswered(inputs):
            found.append(words("worry.unanswered", count=waiting))
        if cooling := falling(inputs):
            found.append(words("worry.accounts", count=cooling))
        dates = pd.to_datetime(rows["crm_close_date"])
        soon = rows[
            (dates > pd.Timestamp(inputs.day))
            & (dates <= pd.Timestamp(inputs.day + timedelta(days=SOON_DAYS)))
            & (rows["slip_probability"] > MANY_SLIPS)
        ]
        if len(soon):
            found.append(words("worry.slip", count=len(soon), amount=_amount(soon, pipeline, words)))
        half = _half_of_value(pipeline)
        if half is not None:
            found.append(words("worry.concentration", count=half))
        reasons = rows["abstain_reason"].dropna()
        if len(reasons):
            most = str(reasons.mode().iloc[0]).rstrip(".。")
            found.append(words("worry.abstained", count=len(reasons), all=len(rows), reason=shortened(most, TEXT)))
        ownerless = int(rows["owner_id"].isna().sum())
        if ownerless:
            found.append(words("worry.no_owner", count=ownerless))
    left = inputs.frame(queue_part.LEFT_OUT, ("reason",))
    inactive = int((left["reason"] == "inactive_owner").sum()) if len(left) else 0
    if inactive:
        found.append(words("worry.inactive", count=inactive))
    watch = inputs.frame(quality_part.MONITORING, ("is_alert",))
    alerts = int(watch["is_alert"].astype(bool).sum()) if len(watch) else 0
    if alerts:
        found.insert(0, words("worry.alerts", count=alerts))
    bad, every = quality_part.quarantined(inputs)
    if every and bad / every >= QUARANTINED:
        found.append(words("worry.quarantine", count=bad, share=words.formats.percent(bad / every, 1)))
    ratio = (inputs.card["figures"]["win"] or {}).get("observed_expected")
    if ratio is not None and abs(ratio - 1) > MANY_WRONG:
        found.insert(0, words("worry.high" if ratio < 1 else "worry.low", ratio=words.formats.number(ratio)))
    if inputs.card["limits"]:
        found.append(words("worry.card", count=len(inputs.card["limits"])))
    return [Cell(text) for text in found]


def _half_of_value(pipeline: pipeline_part.Pipeline) -> int | None:
    """How many opportunities make up half of the expected value, where they are strikingly few."""
    values = (
        pd.to_numeric(pipeline.rows.loc[pipeline.rows["is_main"], "expected_value"]).dropna().to_numpy(dtype=np.float64)
    )
    if len(values) < LEAST_OPEN or values.sum() <= 0:
        return None
    summed = np.cumsum(np.sort(values)[::-1])
    count = int(np.searchsorted(summed, summed[-1] / 2)) + 1
    return count if count <= CONCENTRATED * len(values) else None
