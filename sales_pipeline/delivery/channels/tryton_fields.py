"""The fields of a Tryton model as `fields_get` tells them: which texts its import would not take, and whether a record holds a text already.

After `import_data` in `trytond/model/modelstorage.py` of 8.2. Looking first matters twice: one bad row refuses a whole call with it, and an import
writes a new revision into the history even where nothing changes.

Belongs here: one cell at a time. Does not belong here: rows, calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?")
_FLAGS = {"0": False, "1": True, "true": True, "false": False}


@dataclass(frozen=True)
class TrytonField:
    """One field: its type, and what bounds its values. `options` are a selection's codes ("" for none), None where it is computed."""

    name: str
    type: str
    is_required: bool
    is_readonly: bool
    digits: tuple[int, int] | None
    options: frozenset[str] | None

    @property
    def column(self) -> str:
        """What to ask of `search_read` to see the value as an import writes it."""
        return f"{self.name}.rec_name" if self.type == "many2one" else self.name

    def problem(self, text: str) -> str | None:
        """Why the import would not take a text, None where it would as far as can be seen from here."""
        if text == "":
            return f"{self.name}: is required and would be emptied" if self.is_required else None
        expected = self._expected(text)
        return None if expected is None else f"{self.name}: expected {expected}, found {text[:80]!r}"

    def _expected(self, text: str) -> str | None:
        if self.type in ("numeric", "float", "integer"):
            if not _NUMBER.fullmatch(text) or (self.type == "integer" and "." in text):
                return "a whole number" if self.type == "integer" else "a number such as 0.125"
            if self.digits is not None:
                whole, _, fraction = text.lstrip("-").partition(".")
                if len(fraction) > self.digits[1] or len(whole.lstrip("0")) > self.digits[0]:
                    return f"at most {self.digits[0]} and {self.digits[1]} digits before and behind the decimal point"
        elif self.type == "boolean" and text.lower() not in _FLAGS:
            return "0 or 1"
        elif self.type == "date" and not _is_time(text, "%Y-%m-%d", 10):
            return "a day such as 2026-06-30"
        elif self.type == "datetime" and not _is_time(text, "%Y-%m-%d %H:%M:%S", 19):
            return "an instant such as 2026-06-30 08:15:00"
        elif self.options is not None and text not in self.options:
            return f"one of {', '.join(sorted(self.options - {''}))}"
        return None

    def holds(self, record: Mapping[str, Any], text: str) -> bool:
        """Whether a record (of `search_read`) has the value a text would be imported as."""
        if self.type == "many2one":
            other = record.get(f"{self.name}.")
            found = str(other["rec_name"]) if other else ""
            # The name of an opportunity is its number, followed by its reference in brackets.
            return found == text or (text != "" and found.startswith(f"{text} ["))
        value = record.get(self.name)
        if text == "":
            return value is None or value == "" or value is False
        return value is not None and self._same(value, text)

    def _same(self, value: Any, text: str) -> bool:
        if isinstance(value, dict):
            kind = value.get("__class__")
            if kind == "Decimal":
                return _NUMBER.fullmatch(text) is not None and Decimal(value["decimal"]) == Decimal(text)
            if kind == "date":
                return date(value["year"], value["month"], value["day"]).isoformat() == text
            if kind == "datetime":
                parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
                return str(datetime(*(value[part] for part in parts))) == text
            return False
        if isinstance(value, bool):
            return _FLAGS.get(text.lower()) is value
        if isinstance(value, int | float):
            return _NUMBER.fullmatch(text) is not None and Decimal(str(value)) == Decimal(text)
        return str(value).strip() == text.strip()


def fields_of(answer: Mapping[str, Mapping[str, Any]]) -> dict[str, TrytonField]:
    """The fields of an answer of `fields_get`, by name."""
    return {name: _field(name, told) for name, told in answer.items()}


def _field(name: str, told: Mapping[str, Any]) -> TrytonField:
    options = told.get("selection")
    return TrytonField(
        name=name,
        type=str(told.get("type", "char")),
        is_required=told.get("required") is True,
        is_readonly=told.get("readonly") is True,
        digits=_digits(told.get("digits")),
        options=frozenset(str(code or "") for code, _ in options) if isinstance(options, list) else None,
    )


def _digits(told: Any) -> tuple[int, int] | None:
    """Digits are told as JSON; those of another field or a currency are an expression, which only the server can evaluate."""
    try:
        found = json.loads(told) if isinstance(told, str) else told
    except ValueError:
        return None
    if isinstance(found, list) and len(found) == 2 and all(type(part) is int for part in found):
        return found[0], found[1]
    return None


def _is_time(text: str, form: str, length: int) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return len(text) == length
