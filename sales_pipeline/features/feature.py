"""What a feature is: the declaration's own vocabulary.

Belongs here: `Feature` and the names of needs used all over. Does not belong here: the features (`catalogue`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FeatureType = Literal["number", "category", "boolean"]
Clock = Literal["", "grows", "falls", "calendar", "overdue", "window"]
Side = Literal["", "low", "high"]

CREATED = "opportunities.created_at"
CLOSED = "closings.closed_at"
CLOSE_DATE = "opportunities.crm_close_date"


@dataclass(frozen=True)
class Feature:
    """One feature: a column of the wide table, computed by the SQL model of its family.

    `up_text` words a reason, `down_text` one against it where that reads otherwise; `{value}` stands for the formatted value, and
    `missing_text` is used where the feature is NULL, `negative_text` (with the value's size) where it reads otherwise below zero.
    Texts begin with a letter and name no people.
    `down_if` names the side of the usual value `down_text` is true of ("only 2 calls" of few, "no call for 40 days" of many); on the other
    side `up_text`, which only states the value, is used for both directions.
    `term` is the business term the feature belongs to (`terms`); reasons add up the features of one term. By default it is the family's name.
    `clock` says how the value moves when time passes and nothing happens: it grows or falls by one a day, follows from the as-of
    alone (calendar), turns true once the close date has passed (overdue), or looks at the days just before or after the as-of (window);
    empty: not at all.
    `needs` are tables (`activities`: it has rows), columns (`opportunities.amount`: some value is there) or histories
    (`history.amount`: past values of that field are known); where one is missing the feature is absent by name.
    `state_field` is the field of field_history it rests on; where that is not versioned the feature shows the last seen value and
    is judged by the leak ledger. `is_last_seen` says that it always rests on facts or links the CRM shows only as last seen.
    `is_dated` says that its values are built from dated events, so that they drift with time by themselves.
    `at_creation` says that it means something where the only landmark is the creation instant.
    """

    name: str
    family: str
    meaning: str
    up_text: str
    down_text: str = ""
    missing_text: str = ""
    negative_text: str = ""
    type: FeatureType = "number"
    unit: str = ""
    needs: tuple[str, ...] = ()
    state_field: str | None = None
    is_last_seen: bool = False
    is_dated: bool = False
    at_creation: bool = False
    term: str = ""
    clock: Clock = ""
    down_if: Side = ""

    def __post_init__(self) -> None:
        if not self.down_text:
            object.__setattr__(self, "down_text", self.up_text)
        if not self.term:
            object.__setattr__(self, "term", self.family)

    def text(self, value: str | None, *, is_up: bool) -> str:
        """The wording of a reason for one formatted value; None where the feature is NULL."""
        if value is None:
            return self.missing_text
        if self.negative_text and value.startswith("-"):
            return self.negative_text.replace("{value}", value[1:])
        return (self.up_text if is_up else self.down_text).replace("{value}", value)
