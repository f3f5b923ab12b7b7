"""Rows a target's object starts from: published tables, with the few columns that are put together from several.

`scores` is scored_opportunities with `next_follow_up_on` (day on which the first follow-up of the opportunity falls due), `reason_up` and `reason_down`
(text of the first reason). `follow_ups` is follow_up_queue with `subject` (a sentence of ours for the action), `due_on` (day it falls due) and
`kind` of the opportunity. Any other name is a published table.

Belongs here: which rows, and those columns. Does not belong here: how the target writes them (`cells`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

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

SOURCE_KEY = "source key"
ABSTAINED = "abstain_reason"
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


def source_rows(run: Path, spec: ObjectSpec, time_zone: str) -> pa.Table:
    """Rows of a run's folder that belong to an object, with the columns its mapping names and `SOURCE_KEY` (the published key as text).

    `abstain_reason` is there too where the table has it. A table the run has not is empty. Raises ConfigurationError when a column or a
    value of `where` is unknown.
    """
    contract = published_table(spec.source)
    derived = DERIVED.get(spec.source, ())
    wanted = _wanted(spec, contract, derived)
    path = run / f"{contract.name}.parquet"
    if not path.is_file():
        return pa.table({name: pa.array([], pa.string()) for name in (*wanted, SOURCE_KEY)})
    stored = _stored(wanted, contract)
    rows = pq.ParquetFile(path).read(columns=stored)
    if spec.source == "follow_ups" and "kind" in wanted:
        rows = rows.append_column("kind", _kinds(run, rows))
    for column, values in spec.where.items():
        rows = rows.filter(pc.is_in(rows[column], value_set=pa.array(values, rows[column].type)))
    columns = {name: _column(name, rows, run, time_zone) for name in wanted}
    columns[SOURCE_KEY] = _joined(rows, contract.key, " / ")
    return pa.table(columns).combine_chunks()


def _wanted(spec: ObjectSpec, contract: Table, derived: Sequence[str]) -> tuple[str, ...]:
    named = {field.column for field in (spec.key, *spec.fields) if field.column is not None} | set(spec.where)
    known = {*contract.column_names, *derived}
    if unknown := sorted(named - known):
        raise ConfigurationError(
            f"the mapping of {spec.name} names columns that {spec.source} has not",
            expected=f"some of {', '.join(sorted(known))}",
            found=", ".join(unknown),
            fix="mend `column` or `where` in the target's mapping",
        )
    return tuple(sorted(named | ({ABSTAINED} & set(contract.column_names))))


def _stored(wanted: Sequence[str], contract: Table) -> list[str]:
    """Columns to read: of lists of reasons only the text."""
    needed = {
        "reason_up": "reasons_up.list.element.text",
        "reason_down": "reasons_down.list.element.text",
        "due_on": "due_at",
        "subject": "action",
    }
    own = {needed.get(name, name) for name in wanted if name in needed or name in contract.column_names}
    return sorted(own | set(contract.key) | ({"source_system", "opportunity_id"} & set(contract.column_names)))


def _column(name: str, rows: pa.Table, run: Path, time_zone: str) -> pa.ChunkedArray | pa.Array:
    if name in rows.column_names:
        return rows[name]
    if name == "next_follow_up_on":
        return _next_follow_up(run, rows, time_zone)
    if name == "due_on":
        return _days(rows["due_at"], time_zone)
    if name == "subject":
        return _mapped(rows["action"], SUBJECTS)
    return _first_text(rows["reasons_up" if name == "reason_up" else "reasons_down"])


def _joined(rows: pa.Table, columns: Sequence[str], joint: str) -> pa.Array:
    texts = [rows[column].cast(pa.string()) for column in columns]
    return texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, joint)


def _mapped(values: pa.ChunkedArray, words: dict[str, str]) -> pa.Array:
    place = pc.index_in(values, value_set=pa.array(list(words), pa.string()))
    return pa.array(list(words.values()), pa.string()).take(place)


def _days(instants: pa.ChunkedArray, time_zone: str) -> pa.Array:
    """The calendar day of each instant in a zone. Few instants differ, so each is looked at once."""
    encoded = instants.combine_chunks().dictionary_encode()
    where = zone(time_zone)
    days = [value.astimezone(where).date() for value in encoded.dictionary.to_pylist()]
    return pa.array(days, pa.date32()).take(encoded.indices)


def _first_text(lists: pa.ChunkedArray) -> pa.Array:
    """The text of the first reason of each row, NULL where there is none."""
    whole = lists.combine_chunks()
    offsets = whole.offsets.to_numpy()
    texts = whole.values.field("text")
    is_empty = offsets[1:] == offsets[:-1]
    return texts.take(pa.array(offsets[:-1].astype(np.int64), mask=is_empty))


def _queue(run: Path, columns: list[str]) -> pa.Table | None:
    path = run / "follow_up_queue.parquet"
    return pq.read_table(path, columns=columns) if path.is_file() else None


def _opportunity(rows: pa.Table) -> Any:
    return _joined(rows, ("source_system", "opportunity_id"), _JOINT)


def _next_follow_up(run: Path, rows: pa.Table, time_zone: str) -> pa.Array:
    queue = _queue(run, ["source_system", "opportunity_id", "due_at"])
    if queue is None or not queue.num_rows:
        return pa.nulls(rows.num_rows, pa.date32())
    first = (
        pa.table({"of": _opportunity(queue), "due_at": queue["due_at"]}).group_by("of").aggregate([("due_at", "min")])
    )
    return _days(first["due_at_min"], time_zone).take(pc.index_in(_opportunity(rows), value_set=first["of"]))


def _kinds(run: Path, rows: pa.Table) -> pa.Array:
    """What each follow-up's opportunity is: opportunity or lead; NULL where it is not scored."""
    path = run / "scored_opportunities.parquet"
    if not path.is_file():
        return pa.nulls(rows.num_rows, pa.string())
    scored = pq.read_table(path, columns=["source_system", "opportunity_id", "kind"])
    scored = scored.filter(pc.is_in(scored["opportunity_id"], value_set=rows["opportunity_id"]))
    return scored["kind"].take(pc.index_in(_opportunity(rows), value_set=_opportunity(scored)))
