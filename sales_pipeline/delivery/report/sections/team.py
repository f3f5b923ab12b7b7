"""How teams and owners stand: open value and quota, adjusted win rates with their intervals, how the work goes, days in each stage."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Figure, Missing, Pair, Section, Text
from sales_pipeline.delivery.report.charts import Bar, dots_svg
from sales_pipeline.delivery.report.formats import number_of, shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import NAME, OWNERS, STAGES, TEAMS
from sales_pipeline.delivery.report.words import Words
from sales_pipeline.delivery.svg import Look

ID = "team"
TEAM, STAGE_TIMES = "team_performance", "stage_times"
UNASSIGNED = "unassigned"


def team_section(inputs: ReportInputs, words: Words) -> Section:
    """The section."""
    title, lead = words("team.title"), words("team.lead")
    rows = inputs.frame(TEAM)
    if rows.empty:
        return Section(ID, title, lead, [Missing(words("team.missing"))])
    company = rows[rows["level"] == "company"]
    teams = rows[rows["level"] == "team"].sort_values("key")
    owners = rows[rows["level"] == "owner"].sort_values(["open_value", "key"], ascending=[False, True])
    blocks: list[Block] = []
    has_teams = bool((teams["key"] != UNASSIGNED).any())
    if not has_teams:
        blocks.append(Text(words("team.no_teams"), tone="soft"))
    blocks.append(
        Pair([_rates(company, teams if has_teams else owners, words, of_owners=not has_teams), *_stages(inputs, words)])
    )
    groups = pd.concat([company, teams]) if has_teams else company
    blocks += [_standing(groups, words), _work(groups, words)]
    blocks += [Text(words(key), tone="soft") for key in _absent(company)]
    if len(owners):
        blocks.append(_owners(owners, words))
    return Section(ID, title, lead, blocks)


def unanswered(inputs: ReportInputs) -> int:
    """Times customers spoke in the last 90 days that nobody has answered; 0 where the export holds no activities."""
    rows = inputs.frame(TEAM, ("level", "unanswered_count"))
    known = rows[(rows["level"] == "company") & rows["unanswered_count"].notna()] if len(rows) else rows
    return int(known["unanswered_count"].iloc[0]) if len(known) else 0


def _absent(company: pd.DataFrame) -> list[str]:
    """What the export lacks, by the key of its sentence."""
    lacking = (
        ("quota", "team.no_quota"),
        ("activities_per_open", "team.no_activities"),
        ("queue_count", "team.no_queue"),
    )
    return [key for column, key in lacking if company[column].isna().all()]


def _rates(company: pd.DataFrame, rows: pd.DataFrame, words: Words, *, of_owners: bool) -> Block:
    known = rows[rows["adjusted_win_rate"].notna()].head(TEAMS)
    if known.empty:
        return Missing(words("team.no_rates"))
    fmt = words.formats
    records = known.to_dict("records")
    bars = [
        Bar(
            _name(row, words, 22), row["adjusted_win_rate"], row["adjusted_win_rate_low"], row["adjusted_win_rate_high"]
        )
        for row in records
    ]
    rate = company["win_rate"].iloc[0] if len(company) else None
    mark = float(rate) if rate is not None and pd.notna(rate) else None
    title = words("team.chart_owners" if of_owners else "team.chart")
    apart = sum(row["win_rate_verdict"] in ("above", "below") for row in records)
    described = words("team.chart_desc", rate=fmt.percent(mark), apart=apart, all=len(records))
    data = DataTable(
        title,
        [
            Column(words("team.owner" if of_owners else "team.who"), "text"),
            Column(words("team.win_rate")),
            Column("10 %"),
            Column("90 %"),
            Column(""),
        ],
        [
            [
                _name(row, words),
                *(
                    fmt.percent(row[name], 1)
                    for name in ("adjusted_win_rate", "adjusted_win_rate_low", "adjusted_win_rate_high")
                ),
                words.code("rate", row["win_rate_verdict"]),
            ]
            for row in records
        ],
        file=f"{TEAM}.csv",
    )
    picture = dots_svg(bars, fmt.percent, "team", title, Look(is_inline=True, description=described), mark=mark)
    return Figure(picture, words.sentences(words.ended(title), words("team.chart_caption")), data)


def _standing(rows: pd.DataFrame, words: Words) -> DataTable:
    fmt = words.formats
    names = ("owners_count", "open", "expected", "quota", "coverage", "forecast", "closed", "win_rate")
    return DataTable(
        words("team.pipeline"),
        [Column(words("team.who"), "text"), *(Column(words(f"team.{name}")) for name in names)],
        [
            [
                _name(row, words),
                fmt.count(row["owner_count"]),
                fmt.money(row["open_value"], row["currency"]),
                fmt.money(row["expected_value"], row["currency"]),
                fmt.money(row["quota"], row["currency"]),
                fmt.number(row["coverage"], 1),
                _forecast(row, words),
                fmt.count(row["closed_count"]),
                _rate(row, words),
            ]
            for row in rows.head(TEAMS).to_dict("records")
        ],
        file=f"{TEAM}.csv",
        more=words("page.more", shown=TEAMS, all=len(rows)) if len(rows) > TEAMS else "",
    ).trimmed()


def _forecast(row: dict[Any, Any], words: Words) -> Cell:
    """The current quarter's forecast, and how much of the quota that is."""
    expected, share = number_of(row["forecast_expected"]), number_of(row["forecast_attainment"])
    note = words("team.forecast_quota", share=words.formats.percent(share)) if share is not None else ""
    return Cell(words.formats.money(expected, row["currency"]), note=note)


def _rate(row: dict[Any, Any], words: Words) -> Cell:
    """A win rate is never shown without its interval."""
    fmt = words.formats
    if pd.isna(row["adjusted_win_rate"]):
        return Cell(fmt.percent(None))
    note = fmt.span(row["adjusted_win_rate_low"], row["adjusted_win_rate_high"])
    verdict = row["win_rate_verdict"]
    if verdict in ("above", "below"):
        note = f"{note} · {words.code('rate', verdict)}"
    return Cell(fmt.percent(row["adjusted_win_rate"]), note=note)


def _work(rows: pd.DataFrame, words: Words) -> DataTable:
    fmt = words.formats
    names = ("cycle", "activity", "response", "unanswered", "slipped", "stale", "worked")
    return DataTable(
        words("team.work"),
        [Column(words("team.who"), "text"), *(Column(words(f"team.{name}")) for name in names)],
        [
            [
                _name(row, words),
                fmt.count(row["cycle_days"]),
                fmt.number(row["activities_per_open"], 1),
                fmt.number(row["response_hours"], 1),
                fmt.count(row["unanswered_count"]),
                fmt.percent(row["slipped_share"]),
                fmt.percent(row["stale_share"]),
                fmt.percent(row["queue_worked_share"]),
            ]
            for row in rows.head(TEAMS).to_dict("records")
        ],
        file=f"{TEAM}.csv",
    ).trimmed()


def _owners(rows: pd.DataFrame, words: Words) -> DataTable:
    fmt = words.formats
    names = ("open", "expected", "win_rate", "unanswered", "slipped", "stale", "worked")
    return DataTable(
        words("team.owners"),
        [Column(words("team.owner"), "text"), *(Column(words(f"team.{name}")) for name in names)],
        [
            [
                Cell(_name(row, words), note=_team(row, words)),
                fmt.money(row["open_value"], row["currency"]),
                fmt.money(row["expected_value"], row["currency"]),
                _rate(row, words),
                fmt.count(row["unanswered_count"]),
                fmt.percent(row["slipped_share"]),
                fmt.percent(row["stale_share"]),
                fmt.percent(row["queue_worked_share"]),
            ]
            for row in rows.head(OWNERS).to_dict("records")
        ],
        file=f"{TEAM}.csv",
        more=words("page.more", shown=OWNERS, all=len(rows)) if len(rows) > OWNERS else "",
    ).trimmed()


def _team(row: dict[Any, Any], words: Words) -> str:
    team = shortened(row["team"], NAME) if row["team"] else words("page.no_team")
    return f"{team} · {words('team.inactive')}" if row["is_active"] is False else team


def _name(row: dict[Any, Any], words: Words, most: int = NAME) -> str:
    if row["level"] == "company":
        return words("team.company")
    return words("team.unassigned") if row["key"] == UNASSIGNED else shortened(row["key"], most)


def _stages(inputs: ReportInputs, words: Words) -> list[Block]:
    rows = inputs.frame(STAGE_TIMES)
    if len(rows):
        rows = rows[rows["level"] == "company"].sort_values(["stay_count", "stage"], ascending=[False, True])
    if rows.empty:
        return []
    fmt = words.formats
    return [
        DataTable(
            words("team.stages"),
            [Column(words("team.stage"), "text"), Column(words("team.median")), Column(words("team.stays"))],
            [
                [shortened(row["stage"], NAME), fmt.count(row["median_days"]), fmt.count(row["stay_count"])]
                for row in rows.head(STAGES).to_dict("records")
            ],
            file=f"{STAGE_TIMES}.csv",
        )
    ]
