"""Checks that follow from how sales work, not from a single column's declaration.

Belongs here: rules over several columns of one canonical table, and the facts of whole tables with their limits. Does not belong here:
running them (`validate`). Cleaning mends or quarantines what these rules forbid, so a failure is a fault of the pipeline or of a limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["blocking", "warning"]


@dataclass(frozen=True)
class BusinessRule:
    """One check by its Great Expectations class, on rows of one table (`row_level`) or on its one-row facts frame."""

    name: str
    table: str
    kind: str
    meaning: str
    arguments: dict[str, Any] = field(default_factory=dict)
    row_level: bool = True
    severity: Severity = "blocking"


def _after(name: str, table: str, later: str, earlier: str, meaning: str) -> BusinessRule:
    return BusinessRule(
        name,
        table,
        "expect_column_pair_values_a_to_be_greater_than_b",
        meaning,
        {"column_A": later, "column_B": earlier, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
    )


def _fact(
    name: str, table: str, meaning: str, *, minimum: float | None = None, maximum: float | None = None, severity: Severity = "blocking"
) -> BusinessRule:  # fmt: skip
    return BusinessRule(
        name,
        table,
        "expect_column_values_to_be_between",
        meaning,
        {"column": name, "min_value": minimum, "max_value": maximum},
        row_level=False,
        severity=severity,
    )


BUSINESS_RULES: tuple[BusinessRule, ...] = (
    _after("closed_after_creation", "opportunities", "closed_at", "created_at", "nothing closes before it is created"),
    BusinessRule(
        "amount_not_negative",
        "opportunities",
        "expect_column_values_to_be_between",
        "a deal's amount is not negative",
        {"column": "amount", "min_value": 0},
    ),
    BusinessRule(
        "open_has_no_closing",
        "opportunities",
        "expect_column_values_to_be_null",
        "an open opportunity has no closing instant",
        {"column": "closed_at_of_open"},
    ),
    _fact("row_count", "opportunities", "there are opportunities at all", minimum=1),
    _fact("closed_count", "opportunities", "some are closed, so that there is something to learn", minimum=1, severity="warning"),
    _fact("open_count", "opportunities", "some are open, so that there is something to score", minimum=1, severity="warning"),
    _fact("orphan_account_share", "opportunities", "accounts the exports lack are rare", maximum=0.5, severity="warning"),
    _fact("quarantined_share", "opportunities", "quarantined records of the opportunities are rare", maximum=0.02, severity="warning"),
    _fact("changed_before_creation_count", "opportunity_changes", "no change lies before the creation", maximum=0),
    _fact("no_creation_share", "opportunity_changes", "opportunities whose creation is not shown are few", maximum=0.5, severity="warning"),
    _fact("unknown_opportunity_count", "opportunity_changes", "every change belongs to an opportunity", maximum=0),
    _fact("unknown_opportunity_count", "activities", "every opportunity an activity names is there", maximum=0),
    _fact("logged_before_happening_share", "activities", "activities logged before they happened are few", maximum=0.5, severity="warning"),
    _fact("mistyped_count", "opportunity_attributes", "every attribute value has the type found for its column", maximum=0),
)  # fmt: skip

SQL_FACTS = ("opportunities", "opportunity_changes", "activities", "opportunity_attributes")
"""Tables with figures of their own (sql/facts_of_<table>.sql) beside row_count and duplicate_key_count."""


def business_rules(table: str) -> tuple[BusinessRule, ...]:
    """The rules of one canonical table."""
    return tuple(rule for rule in BUSINESS_RULES if rule.table == table)
