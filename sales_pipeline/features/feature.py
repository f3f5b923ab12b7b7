"""What a feature is: the declaration's own vocabulary.

Belongs here: `Feature` and the names of needs used all over. Does not belong here: the features (`catalogue`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FeatureType = Literal["number", "category", "boolean"]

CREATED = "opportunities.created_at"
CLOSED = "closings.closed_at"
CLOSE_DATE = "opportunities.crm_close_date"


@dataclass(frozen=True)
class Feature:
    """One feature: a column of the wide table, computed by the SQL model of its family.

    `up_text` words a reason, `down_text` one against it where that reads otherwise; `{value}` stands for the formatted value, and
    `missing_text` is used where the feature is NULL, `negative_text` (with the value's size) where it reads otherwise below zero.
    Texts begin with a letter and name no people.
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

    def __post_init__(self) -> None:
        if not self.down_text:
            object.__setattr__(self, "down_text", self.up_text)

    def text(self, value: str | None, *, is_up: bool) -> str:
        """The wording of a reason for one formatted value; None where the feature is NULL."""
        if value is None:
            return self.missing_text
        if self.negative_text and value.startswith("-"):
            return self.negative_text.replace("{value}", value[1:])
        return (self.up_text if is_up else self.down_text).replace("{value}", value)
