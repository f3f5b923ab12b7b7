"""What the model may not see and why (the leak ledger), and the decision tree as rules. From the model card alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sales_pipeline.delivery.report.blocks import Block, Cell, Column, DataTable, Missing, Section, Text
from sales_pipeline.delivery.report.formats import shortened
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.limits import LEAKS, NAME, RULES_BEST, RULES_WORST, TEXT
from sales_pipeline.delivery.report.words import Words

LEAKS_ID, RULES_ID = "leaks", "rules"
CARD = "model_card.html"
GRAVE = ("leak", "suspect", "unstable", "never_use", "identifier", "constant")
"""Verdicts, the gravest first."""


def leaks_section(inputs: ReportInputs, words: Words) -> Section:
    """Columns that were left out, the gravest first."""
    title, lead = words("leaks.title"), words("leaks.lead")
    ledger = inputs.card.get("ledger")
    if not ledger:
        return Section(LEAKS_ID, title, lead, [Missing(words("leaks.no_ledger", level=_level(inputs, words)))])
    left = sorted(ledger["left_out"], key=lambda row: (_gravity(row["verdict"]), str(row["column"])))
    if not left:
        return Section(LEAKS_ID, title, lead, [Missing(words("leaks.none"))])
    fmt = words.formats
    table = DataTable(
        words.sentences(title, words("page.from_model")),
        [
            Column(words("leaks.column"), "text"),
            Column(words("leaks.verdict"), "text"),
            Column(words("leaks.reason"), "wide"),
            Column(words("leaks.auc")),
            Column(words("leaks.open")),
            Column(words("leaks.closed")),
        ],
        [
            [
                shortened(str(row["column"]).removeprefix("attribute:"), NAME),
                Cell(
                    words.code("verdict", row["verdict"]), tone="bad" if row["verdict"] in ("leak", "suspect") else ""
                ),
                Cell(shortened(row["reason"], TEXT), lang=words.lang(row["reason"])),
                fmt.number(row.get("auc_alone"), 2),
                fmt.percent(row.get("filled_open_share")),
                fmt.percent(row.get("filled_closed_share")),
            ]
            for row in left[:LEAKS]
        ],
        file=CARD,
        more=words("page.more", shown=LEAKS, all=len(left)) if len(left) > LEAKS else "",
    )
    counted = Text(words("leaks.count", left=len(left), used=len(ledger["used"])))
    return Section(LEAKS_ID, title, lead, [counted, table])


def rules_section(inputs: ReportInputs, words: Words) -> Section:
    """Leaves of the tree that are won most and least often."""
    title, lead = words("rules.title"), words("rules.lead")
    rules = [rule for rule in inputs.card.get("tree_rules") or () if isinstance(rule.get("win_rate"), (int, float))]
    if not rules:
        return Section(RULES_ID, title, lead, [Missing(words("rules.none", level=_level(inputs, words)))])
    ordered = sorted(rules, key=lambda rule: -rule["win_rate"])
    best = ordered[:RULES_BEST]
    worst = ordered[RULES_BEST:][-RULES_WORST:]
    blocks: list[Block] = [_rules(words("rules.best"), best, words)]
    if worst:
        blocks.append(_rules(words("rules.worst"), worst, words))
    if len(rules) > len(best) + len(worst):
        blocks.append(Text(words("rules.more", shown=len(best) + len(worst), all=len(rules)), tone="soft"))
    return Section(RULES_ID, title, lead, blocks)


def _rules(caption: str, rules: Sequence[Mapping[str, Any]], words: Words) -> DataTable:
    fmt = words.formats
    return DataTable(
        words.sentences(caption, words("page.from_model")),
        [
            Column(words("rules.where"), "wide"),
            Column(words("rules.won")),
            Column(words("rules.opportunities")),
            Column(words("rules.later")),
        ],
        [
            [
                Cell(_conditions(rule), lang=words.lang(_conditions(rule))),
                Cell(fmt.percent(rule["win_rate"]), note=fmt.span(rule.get("win_rate_low"), rule.get("win_rate_high"))),
                fmt.count(rule.get("opportunities", rule.get("rows"))),
                Cell(
                    fmt.percent(rule.get("later_win_rate")),
                    note="" if rule.get("is_stable", True) else words("rules.unstable"),
                    tone="" if rule.get("is_stable", True) else "bad",
                ),
            ]
            for rule in rules
        ],
        file=CARD,
    )


def _gravity(verdict: str) -> int:
    return GRAVE.index(verdict) if verdict in GRAVE else len(GRAVE)


def _conditions(rule: Mapping[str, Any]) -> str:
    return "; ".join(str(part) for part in rule.get("conditions") or [rule.get("text", "")])


def _level(inputs: ReportInputs, words: Words) -> str:
    return words.code("evidence", inputs.card["model"]["evidence_level"])
