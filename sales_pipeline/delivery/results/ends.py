"""What became of a part's rows, gathered row by row in any order.

Belongs here: the bookkeeping every channel and every result file share. Does not belong here: where the answers come from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa

from sales_pipeline.contracts.delivery import DELIVERY_RESULTS
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.delivery.parcel import Part
from sales_pipeline.domain.identifiers import to_sfid18

_MESSAGE_LENGTH = 1000
_CODED = re.compile(r"([A-Z][A-Z0-9_]{2,60}|[A-Z][A-Za-z]{2,60}(?= : ))\s*:\s*(.*)", re.DOTALL)


class Mismatch(Exception):
    """An answer about a row that was not sent, or a second, other answer about the same row."""


class Ends:
    """The end of every row of a part, by key; rows nothing was said about keep the `rest` they are given in `table`.

    Keys of a field `Id` are compared as Salesforce ids, so that the 15-character form and one whose case a spreadsheet folded are known again.
    """

    def __init__(self, part: Part, keys: Sequence[str]) -> None:
        self.part = part
        self._keys = keys
        self._has_ids = part.key_field.lower() == "id"
        self._place = {key: place for place, key in enumerate(keys)}
        self._normal_place: dict[str, int] | None = None
        self._outcome: list[str | None] = [None] * len(keys)
        self._remote_id: list[str | None] = [None] * len(keys)
        self._code: list[str | None] = [None] * len(keys)
        self._message: list[str | None] = [None] * len(keys)

    def __contains__(self, key: str) -> bool:
        return self._find(key) is not None

    def settle(
        self,
        key: str,
        outcome: str,
        remote_id: str | None = None,
        *,
        code: str | None = None,
        message: str | None = None,
        may_repeat: bool = False,
    ) -> None:
        """Say what became of one row.

        Raises Mismatch when the key was not sent, or when something was said of it before (with `may_repeat`: another
        outcome; further messages are added).
        """
        place = self._find(key)
        if place is None:
            raise Mismatch("a key that was not sent")
        before = self._outcome[place]
        if before is not None and not (may_repeat and before == outcome):
            raise Mismatch(
                f"a key that is {before} elsewhere and {outcome} here" if before != outcome else "a key twice"
            )
        self._outcome[place] = outcome
        self._remote_id[place] = remote_id if remote_id not in ("", self._keys[place]) else None
        said = self._message[place]
        self._code[place] = self._code[place] or code or None
        if said is None:
            self._message[place] = message
        elif message is not None and message not in said.split("; "):
            self._message[place] = f"{said}; {message}"[:_MESSAGE_LENGTH]

    def table(self, rest: str = "unknown", *, error: str = "", only_settled: bool = False) -> pa.Table:
        """DELIVERY_RESULTS of the part's rows in the order sent; rows nothing was said about end as `rest` with that error, or are left out."""
        code, message = coded(error)
        is_open = [outcome is None for outcome in self._outcome]
        columns = {
            "part": pa.repeat(pa.scalar(self.part.name, pa.string()), len(self._keys)),
            "key": pa.array(self._keys, pa.string()),
            "outcome": pa.array([outcome or rest for outcome in self._outcome], pa.string()),
            "remote_id": pa.array(self._remote_id, pa.string()),
            "code": pa.array([code if o else c for o, c in zip(is_open, self._code, strict=True)], pa.string()),
            "message": pa.array(
                [message if o else m for o, m in zip(is_open, self._message, strict=True)], pa.string()
            ),
        }
        table = pa.table(columns, schema=arrow_schema(DELIVERY_RESULTS))
        return table.filter(pa.array([not o for o in is_open], pa.bool_())) if only_settled else table

    def _find(self, key: str) -> int | None:
        place = self._place.get(key)
        if place is not None or not self._has_ids:
            return place
        if self._normal_place is None:
            self._normal_place = {to_sfid18(sent): number for sent, number in self._place.items()}
        return self._normal_place.get(to_sfid18(key))


def coded(error: str) -> tuple[str | None, str | None]:
    """A target's error text as code and message, on one line, without control characters and without Salesforce's trailing `--`."""
    text = " ".join("".join(c if c.isprintable() else " " for c in error[:_MESSAGE_LENGTH]).split())
    found = _CODED.fullmatch(text)
    code, message = (found[1], found[2]) if found else (None, text)
    return code, message.removesuffix("--").strip() or None
