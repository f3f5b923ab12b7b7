"""Rows a target's object starts from: published tables, with the few columns that are put together from several.

`scores` is scored_opportunities with `next_follow_up_on` (day on which the first follow-up of the opportunity falls due), `reason_up` and `reason_down`
(text of the first reason). `follow_ups` is follow_up_queue with `subject` (a sentence of ours for the action), `due_on` (day it falls due) and
`kind` of the opportunity. Any other name is a published table.

Belongs here: which rows, and those columns. Does not belong here: how the target writes them (`cells`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sales_pipeline.contracts.model import Table
from sales_pipeline.contracts.published import PUBLISHED_TABLES
from sales_pipeline.delivery.targets.spec import ObjectSpec
from sales_pipeline.domain.time import zone
from sales_pipeline.errors import ConfigurationError

TABLE_OF = {"scores": "scored_opportunities", "follow_ups": "follow_up_queue"}
DERIVED = {
    "scores": ("next_follow_up_on", "reason_up", "reason_down"),
    "follow_ups": ("subject", "due_on", "kind"),
}
SUBJECTS = {
    "call": "Call about the opportunity",
    "email": "Write an e-mail about the opportunity",
    "meeting": "Meet about the opportunity",
    "re_engage": "Take up contact again about the opportunity",
    "ask_decision": "Ask for the decision on the opportunity",
    "update_close_date": "Update the close date of the opportunity",
    "close_as_lost": "Close the opportunity as lost, or say why it stays open",
}
"""What a follow-up is called in the CRM, by action. Every one begins with a letter, so that no spreadsheet takes it for a formula."""

_ABSTAINED = "abstain_reason"
_JOINT = "\x1f"


def published_table(source: str) -> Table:
    """The published table a source rests on; ConfigurationError when there is none of that name."""
    name = TABLE_OF.get(source, source)
    if name not in PUBLISHED_TABLES:
        raise ConfigurationError(
            "the mapping names a source that is not published",
            expected=f"one of {', '.join([*TABLE_OF, *sorted(PUBLISHED_TABLES)])}",
            found=source,
            fix="mend `source` of the object in the target's mapping",
        )
    return PUBLISHED_TABLES[name]


class SourceRows:
    """Rows of a run's folder that belong to an object, read a column at a time, so that no more than one lies in memory twice.

    A table the run has not is empty. Raises ConfigurationError when the mapping names a column the source has not.
    """

    def __init__(self, run: Path, spec: ObjectSpec, time_zone: str) -> None:
        self._run, self._source, self._time_zone = run, spec.source, time_zone
        self._contract = published_table(spec.source)
        self._require_columns(spec)
        path = run / f"{self._contract.name}.parquet"
        self._file = pq.ParquetFile(path) if path.is_file() else None
        self._chosen: pa.Array | None = None
        self.num_rows = 0 if self._file is None else self._file.metadata.num_rows
        for column, values in spec.where.items():
            is_in = pc.is_in(self.column(column), value_set=pa.array(values, pa.string()))
            self._choose(is_in)

    def _require_columns(self, spec: ObjectSpec) -> None:
        named = {field.column for field in (spec.key, *spec.fields) if field.column is not None} | set(spec.where)
        known = {*self._contract.column_names, *DERIVED.get(spec.source, ())}
        if unknown := sorted(named - known):
            raise ConfigurationError(
                f"the mapping of {spec.name} names columns that {spec.source} has not",
                expected=f"some of {', '.join(sorted(known))}",
                found=", ".join(unknown),
                fix="mend `column` or `where` in the target's mapping",
            )

    def _choose(self, is_in: pa.Array) -> None:
        if pc.all(is_in).as_py() in (True, None):
            return
        place = pc.indices_nonzero(is_in)
        self._chosen = place if self._chosen is None else self._chosen.take(place)
        self.num_rows = len(place)

    def column(self, name: str) -> pa.Array:
        """A column of the chosen rows, stored or put together."""
        if name == "next_follow_up_on":
            return _next_follow_up(self._run, self._opportunity(), self._time_zone)
        if name == "due_on":
            return _days(self.column("due_at"), self._time_zone)
        if name == "subject":
            return _mapped(self.column("action"), SUBJECTS)
        if name in ("reason_up", "reason_down"):
            return self._stored(f"{name.replace('reason', 'reasons')}.list.element.text")
        if name == "kind" and self._source == "follow_ups":
            return _kinds(self._run, self._opportunity())
        return self._stored(name)

    @property
    def keys(self) -> pa.Array:
        """Each row's key in the published table, as text."""
        return _joined([self.column(name) for name in self._contract.key], " / ")

    @property
    def abstained(self) -> pa.Array | None:
        """Why a row has no score; None where the table does not abstain."""
        return self.column(_ABSTAINED) if _ABSTAINED in self._contract.column_names else None

    def _opportunity(self) -> pa.Array:
        return _joined([self._stored("source_system"), self._stored("opportunity_id")], _JOINT)

    def _stored(self, path: str) -> pa.Array:
        if self._file is None:
            return pa.array([], pa.string())
        values = self._file.read(columns=[path]).column(0).combine_chunks()
        if pa.types.is_list(values.type):
            values = _first_text(values)
        return values if self._chosen is None else values.take(self._chosen)


def _joined(columns: Sequence[pa.Array], joint: str) -> pa.Array:
    texts = [column.cast(pa.string()) for column in columns]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, joint)


def _mapped(values: pa.Array, words: dict[str, str]) -> pa.Array:
    place = pc.index_in(values, value_set=pa.array(list(words), pa.string()))
    return pa.array(list(words.values()), pa.string()).take(place)


def _days(instants: pa.Array, time_zone: str) -> pa.Array:
    """The calendar day of each instant in a zone. Few instants differ, so each is looked at once."""
    encoded = instants.dictionary_encode()
    where = zone(time_zone)
    days = [value.astimezone(where).date() for value in encoded.dictionary.to_pylist()]
    return pa.array(days, pa.date32()).take(encoded.indices)


def _first_text(lists: pa.Array) -> pa.Array:
    """The text of the first reason of each row, NULL where there is none."""
    offsets = lists.offsets.to_numpy()
    is_empty = offsets[1:] == offsets[:-1]
    return lists.values.field("text").take(pa.array(offsets[:-1].astype(np.int64), mask=is_empty))


def _of_opportunity(table: pa.Table) -> pa.Array:
    return _joined([table[name].combine_chunks() for name in ("source_system", "opportunity_id")], _JOINT)


def _next_follow_up(run: Path, opportunities: pa.Array, time_zone: str) -> pa.Array:
    path = run / "follow_up_queue.parquet"
    queue = pq.read_table(path, columns=["source_system", "opportunity_id", "due_at"]) if path.is_file() else None
    if queue is None or not queue.num_rows:
        return pa.nulls(len(opportunities), pa.date32())
    due = pa.table({"of": _of_opportunity(queue), "due_at": queue["due_at"]})
    first = due.group_by("of").aggregate([("due_at", "min")]).combine_chunks()
    days = _days(first["due_at_min"].combine_chunks(), time_zone)
    return days.take(pc.index_in(opportunities, value_set=first["of"]))


def _kinds(run: Path, opportunities: pa.Array) -> pa.Array:
    """What each follow-up's opportunity is: opportunity or lead; NULL where it is not scored."""
    path = run / "scored_opportunities.parquet"
    if not path.is_file():
        return pa.nulls(len(opportunities), pa.string())
    scored = pq.read_table(path, columns=["source_system", "opportunity_id", "kind"])
    place = pc.index_in(opportunities, value_set=_of_opportunity(scored))
    return scored["kind"].combine_chunks().take(place)
