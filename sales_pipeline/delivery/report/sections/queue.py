"""Today's follow-ups: by team, by owner, and the first rows of the owners with the most at stake."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import (
    Block,
    Cell,
    Column,
    DataTable,
    Heading,
    Missing,
    Section,
    Task,
    Tasks,
    Text,
)
from sales_pipeline.delivery.report.formats import main_currency, shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import NAME, OWNERS, OWNERS_WITH_TASKS, REASONS, TASKS, TEAMS, TEXT
from sales_pipeline.delivery.report.sections.effect import effect_blocks
from sales_pipeline.delivery.report.words import Words
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.domain.time import zone

QUEUE, LEFT_OUT, SCORED = "follow_up_queue", "left_out", "scored_opportunities"
WORKLOAD = "owner_workload"
ID = "queue"
COLUMNS = (
    "owner_id",
    "rank",
    "opportunity_id",
    "account_id",
    "contact_id",
    "action",
    "due_at",
    "priority",
    "expected_gain",
    "gain_basis",
    "estimated_minutes",
    "reason",
    "evidence",
    "chosen_by",
    "reassigned_from",
)


def queue_rows(inputs: ReportInputs) -> pd.DataFrame:
    """The queue with `team` and `currency`; `gain` is the expected gain where the row is in the report's main currency."""
    rows = inputs.frame(QUEUE, COLUMNS)
    if rows.empty:
        return rows
    scored = inputs.frame(SCORED, ("opportunity_id", "currency"))
    currency = dict(zip(scored["opportunity_id"], scored["currency"], strict=True)) if len(scored) else {}
    rows["currency"] = rows["opportunity_id"].map(currency)
    rows["team"] = rows["owner_id"].map(inputs.teams)
    load = inputs.frame(WORKLOAD, ("owner_id", "capacity_minutes"))
    capacity = dict(zip(load["owner_id"], load["capacity_minutes"], strict=True)) if len(load) else {}
    rows["capacity"] = rows["owner_id"].map(capacity)
    is_main = rows["currency"] == main_currency(scored["currency"] if len(scored) else ())
    rows["gain"] = pd.to_numeric(rows["expected_gain"]).where(is_main)
    return rows


def queue_section(inputs: ReportInputs, words: Words) -> Section:
    """The section; says why where there is no follow-up."""
    rows = queue_rows(inputs)
    blocks: list[Block] = []
    if rows.empty:
        blocks.append(Missing(words("queue.empty")))
    else:
        currency = main_currency(inputs.frame(SCORED, ("currency",))["currency"]) if inputs.has(SCORED) else None
        if rows["team"].notna().any():
            blocks.append(_teams(rows, currency, words))
        else:
            blocks.append(Text(words("queue.no_teams"), tone="soft"))
        owners = _by_owner(rows)
        blocks += [_owners(owners, currency, words), Text(_basis(rows, words), tone="soft")]
        blocks += _first(owners, inputs, words)
    blocks += [*_left_out(inputs, words), *effect_blocks(inputs, words)]
    return Section(ID, words("queue.title"), words("queue.lead"), blocks)


def _basis(rows: pd.DataFrame, words: Words) -> str:
    effects = int((rows["gain_basis"] == "estimated_effect").sum())
    return words("queue.basis_effect", count=effects, all=len(rows)) if effects else words("queue.basis_rules")


def _figures(rows: pd.DataFrame, currency: str | None, words: Words) -> list[Cell | str]:
    fmt = words.formats
    most = rows["action"].value_counts(sort=False)
    action = min(most.index, key=lambda name: (-int(most[name]), str(name)))
    gain = rows["gain"].sum(min_count=1)
    return [
        fmt.count(len(rows)),
        fmt.count(int((rows["priority"] == "high").sum())),
        _hours(rows, words),
        fmt.money(float(gain), currency) if currency and pd.notna(gain) else "–",
        words.code("action", action),
    ]


def _hours(rows: pd.DataFrame, words: Words) -> str:
    """Hours of work, and of how many where the capacity of every owner is known."""
    hours = words.formats.hours(float(rows["estimated_minutes"].sum()))
    capacity = pd.to_numeric(rows.groupby("owner_id")["capacity"].first())
    if capacity.isna().any():
        return hours
    return words("queue.capacity", hours=hours, capacity=words.formats.hours(float(capacity.sum())))


def _columns(words: Words) -> list[Column]:
    return [
        Column(words("queue.rows")),
        Column(words("queue.high")),
        Column(words("queue.hours")),
        Column(words("queue.gain")),
        Column(words("queue.mostly"), "text"),
    ]


def _teams(rows: pd.DataFrame, currency: str | None, words: Words) -> DataTable:
    groups = [(str(team), group) for team, group in rows.groupby(rows["team"].fillna(words("page.no_team")), sort=True)]
    groups.sort(key=lambda item: (-_gain(item[1]), item[0]))
    return DataTable(
        words("queue.teams"),
        [Column(words("queue.team"), "text"), Column(words("queue.sellers")), *_columns(words)],
        [
            [shortened(team, NAME), words.formats.count(group["owner_id"].nunique()), *_figures(group, currency, words)]
            for team, group in groups[:TEAMS]
        ],
        file=f"{QUEUE}.csv",
        more=_more(len(groups), TEAMS, words),
    )


def _owners(groups: list[tuple[str, pd.DataFrame]], currency: str | None, words: Words) -> DataTable:
    return DataTable(
        words("queue.owners"),
        [Column(words("queue.owner"), "text"), *_columns(words)],
        [
            [
                Cell(shortened(owner, NAME), note=shortened(_team(group, words), NAME)),
                *_figures(group, currency, words),
            ]
            for owner, group in groups[:OWNERS]
        ],
        file=f"{QUEUE}.csv",
        more=_more(len(groups), OWNERS, words),
    )


def _by_owner(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    groups = [(str(owner), group) for owner, group in rows.groupby("owner_id", sort=True)]
    return sorted(groups, key=lambda item: (-_gain(item[1]), item[0]))


def _gain(rows: pd.DataFrame) -> float:
    return float(rows["gain"].sum())


def _team(rows: pd.DataFrame, words: Words) -> str:
    team = rows["team"].iloc[0]
    return str(team) if isinstance(team, str) else words("page.no_team")


def _more(found: int, shown: int, words: Words) -> str:
    return words("page.more", shown=shown, all=found) if found > shown else ""


def _first(groups: list[tuple[str, pd.DataFrame]], inputs: ReportInputs, words: Words) -> list[Block]:
    blocks: list[Block] = [Heading(words("queue.first"))]
    for number, (owner, group) in enumerate(groups[:OWNERS_WITH_TASKS]):
        blocks.append(
            Tasks(
                f"owner-{digest_of(owner, length=10)}",
                shortened(owner, NAME),
                words(
                    "queue.owner_note",
                    team=shortened(_team(group, words), NAME),
                    rows=len(group),
                    hours=words.formats.hours(float(group["estimated_minutes"].sum())),
                ),
                [_task(row, inputs, words) for row in group.sort_values("rank").head(TASKS).to_dict("records")],
                is_open=number == 0,
            )
        )
    return blocks


def _task(row: dict[Any, Any], inputs: ReportInputs, words: Words) -> Task:
    fmt = words.formats
    subject = [words("queue.subject", opportunity=shortened(row["opportunity_id"], NAME))]
    if row["account_id"]:
        subject.append(words("queue.account", account=shortened(row["account_id"], NAME)))
    contact = row["contact_id"]
    subject.append(words("queue.contact", contact=shortened(contact, NAME)) if contact else words("queue.no_contact"))
    figures = [words("queue.minutes", minutes=int(row["estimated_minutes"]))]
    gain = row["expected_gain"]
    if pd.notna(gain) and isinstance(row["currency"], str):
        key = "queue.gain_effect" if row["gain_basis"] == "estimated_effect" else "queue.gain_of"
        figures.insert(0, words(key, amount=fmt.whole_money(float(gain), row["currency"])))
    due = row["due_at"]
    if isinstance(due, datetime):
        figures.append(words("queue.due", day=fmt.short_day(due.astimezone(zone(inputs.time_zone)).date())))
    if row["chosen_by"] == "exploration":
        figures.append(words("queue.exploration"))
    if row["reassigned_from"]:
        figures.append(words("queue.reassigned", owner=shortened(row["reassigned_from"], NAME)))
    return Task(
        words.code("action", row["action"]),
        " · ".join(subject),
        shortened(row["reason"], TEXT),
        shortened(row["evidence"], TEXT),
        " · ".join(figures),
        words.code("priority", row["priority"]),
        is_urgent=row["priority"] == "high",
        lang=words.lang(row["reason"]),
    )


def _left_out(inputs: ReportInputs, words: Words) -> list[Block]:
    if not inputs.has(LEFT_OUT):
        return []
    counts = inputs.frame(LEFT_OUT, ("reason",))["reason"].value_counts(sort=False)
    ordered = sorted(counts.index, key=lambda name: (-int(counts[name]), str(name)))[:REASONS]
    return [
        DataTable(
            words("queue.left_out"),
            [Column(words("queue.reason"), "text"), Column(words("queue.count"))],
            [[words.code("left_out", name), words.formats.count(int(counts[name]))] for name in ordered],
            file=f"{LEFT_OUT}.csv",
        )
    ]
