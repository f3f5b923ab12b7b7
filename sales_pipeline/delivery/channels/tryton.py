"""Tryton over JSON-RPC: batches of rows into `import_data`, looked at before they are written.

What `import_data` of 8.2 does, and what is done about it:

- An `id` cell is a record's name (an opportunity's number), but one of digits is a database id, whatever record has that number. So keys are looked
  up first, under `id` as names, and database ids are sent.
- A blank `id` creates a record. So a file with a blank key is refused, and in an update a row with an unknown key.
- A call is one transaction: one bad row refuses all, and only the first error is told. So cells are held against the model's fields first; what is
  refused all the same is halved until the rows that are refused stand alone, with the server's own words.
- Writing equal values makes a new revision. So rows that are there already with these values are not sent. By the same look a delivery that broke off
  goes on: what was written before the break is seen, whether its answer came or not.

A relation's cell (such as a follow-up's opportunity) is the other record's name, and Tryton finds it.

Belongs here: parts, batches, rows. Does not belong here: the session (`tryton_rpc`), single cells (`tryton_fields`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa

from sales_pipeline.delivery.channels.credentials import secret_of
from sales_pipeline.delivery.channels.part_rows import hold_part, part_rows
from sales_pipeline.delivery.channels.remote import Remote
from sales_pipeline.delivery.channels.tryton_fields import TrytonField, fields_of
from sales_pipeline.delivery.channels.tryton_rpc import Refusal, TrytonSession
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import TrytonChannel
from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.delivery.results.tables import joined, results_table
from sales_pipeline.errors import DeliveryFailed


@dataclass(frozen=True)
class _End:
    """What became of a row: the record's id, or the code and the words of the failure."""

    record: int | None = None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class _Row:
    key: str
    values: tuple[str, ...]


class TrytonImport:
    """The channel. `params.token` or `params.token_file` is the password of `params.user`."""

    def __init__(self, params: TrytonChannel, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._params = params
        self._sleep = sleep

    def send(self, parcel: Parcel, journal: Journal) -> pa.Table:
        """Import the parts in their order, and return DELIVERY_RESULTS of all rows.

        Raises DeliveryFailed when the server cannot be reached or lets nobody in, when a model or a field is not there or may not be
        written, when a file is not as it was built, and when an import got no answer: it may still be under way, so that only a later
        call can see what came of it.
        """
        for part in parcel.parts:
            hold_part(parcel, part)
        password = secret_of(self._params)
        with Remote(
            self._params.url,
            timeout_seconds=self._params.timeout_seconds,
            attempts=self._params.attempts,
            requests_per_second=self._params.requests_per_second,
            secrets=(password,),
            sleep=self._sleep,
        ) as remote:
            session = TrytonSession(remote, self._params.user, password)
            sent = []
            for part in parcel.parts:
                found = journal.results(part)
                sent.append(found if found is not None else self._send_part(session, parcel, part, journal))
        return joined(sent)

    def _send_part(self, session: TrytonSession, parcel: Parcel, part: Part, journal: Journal) -> pa.Table:
        fields = _fields(session, part)
        confirmed = {(note["first"], len(note["ends"])): note["ends"] for note in journal.notes(part, "confirmed")}
        keys: list[str] = []
        ends: list[_End] = []
        for rows in _batches(parcel, part, self._params.rows_per_call):
            first = len(keys)
            keys += [row.key for row in rows]
            # Batches of another size than those of the broken call are not recognised: they are looked at again, which is safe.
            if (first, len(rows)) in confirmed:
                ends += [_End(*end) for end in confirmed[first, len(rows)]]
                continue
            came_to = _Batch(session, part, fields, rows).send()
            journal.note(part, "confirmed", first=first, ends=[[end.record, end.code, end.message] for end in came_to])
            ends += came_to
        return journal.finish(part, _results(part, keys, ends))


class _Batch:
    """The rows of one call."""

    def __init__(
        self,
        session: TrytonSession,
        part: Part,
        fields: Mapping[str, TrytonField],
        rows: Sequence[_Row],
    ) -> None:
        self._session = session
        self._part = part
        self._names = tuple(name for name in part.fields if name != part.key_field)
        self._fields = [fields[name] for name in self._names]
        self._rows = rows
        self._ends: list[_End | None] = [self._refused(row) for row in rows]

    def send(self) -> list[_End]:
        """Import what has to be, and say what became of every row."""
        there = self._look(range(len(self._rows)))
        updates, creations = [], []
        for place in [place for place, end in enumerate(self._ends) if end is None]:
            records = there.get(self._rows[place].key, [])
            if len(records) > 1:
                self._ends[place] = _End(None, "ambiguous_key", f"{len(records)} records have this key")
            elif records and self._holds(records[0], self._rows[place]):
                self._ends[place] = _End(records[0]["id"])
            elif records:
                updates.append((place, str(records[0]["id"])))
            elif self._part.operation == "update" or self._part.key_field == "id":
                self._ends[place] = _End(None, "unknown_key", "no record has this key")
            else:
                creations.append((place, ""))
        for place, record in self._import(updates):
            self._ends[place] = _End(int(record))
        created = [place for place, _ in self._import(creations, key=(self._part.key_field,))]
        if created:
            there = self._look(created)
            for place in created:
                records = there.get(self._rows[place].key, [])
                self._ends[place] = _End(records[0]["id"] if records else None)
        return [end if end is not None else _End(None, "unknown", None) for end in self._ends]

    def _refused(self, row: _Row) -> _End | None:
        """What can be told of a row without asking; None where it may go in."""
        pairs = zip(self._fields, row.values, strict=True)
        problems = [problem for field, value in pairs if (problem := field.problem(value)) is not None]
        return _End(None, "not_importable", "; ".join(problems)) if problems else None

    def _look(self, places: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
        """The records the rows' keys name, by key, with the values they have now."""
        field = "rec_name" if self._part.key_field == "id" else self._part.key_field
        keys = [self._rows[place].key for place in places]
        columns = [field, *(one.column for one in self._fields)]
        method = f"model.{self._part.object}.search_read"
        found = self._session.read(method, [[field, "in", keys]], 0, None, None, columns)
        there: dict[str, list[dict[str, Any]]] = {}
        for record in found:
            # The name of an opportunity is its number, followed by its reference in brackets.
            name = str(record[field]).partition(" [")[0] if field == "rec_name" else str(record[field])
            there.setdefault(name, []).append(record)
        return there

    def _holds(self, record: Mapping[str, Any], row: _Row) -> bool:
        return all(field.holds(record, value) for field, value in zip(self._fields, row.values, strict=True))

    def _import(self, places: list[tuple[int, str]], *, key: tuple[str, ...] = ()) -> Iterator[tuple[int, str]]:
        """Import rows (place, id), with their `key` field where they are new; what is refused is halved. Yields those that went in."""
        if not places:
            return
        columns = ["id", *key, *self._names]
        rows = []
        for place, record in places:
            row = self._rows[place]
            rows.append([record, *([row.key] if key else []), *row.values])
        try:
            self._session.write(f"model.{self._part.object}.import_data", columns, rows)
        except Refusal as refusal:
            if len(places) == 1:
                self._ends[places[0][0]] = _End(None, refusal.code, refusal.message)
                return
            middle = len(places) // 2
            yield from self._import(places[:middle], key=key)
            yield from self._import(places[middle:], key=key)
        else:
            yield from places


def _batches(parcel: Parcel, part: Part, size: int) -> Iterator[list[_Row]]:
    rows = (_Row(key, values) for key, values in part_rows(parcel, part))
    while batch := list(islice(rows, size)):
        yield batch


def _fields(session: TrytonSession, part: Part) -> dict[str, TrytonField]:
    """The model's fields that the part names; DeliveryFailed where one is not there, or the user may not write them."""
    fields = fields_of(session.read(f"model.{part.object}.fields_get", []))
    access = session.read("model.ir.model.access.get_access", [part.object])[part.object]
    rights = ("write",) if part.operation == "update" else ("write", "create")
    others = [name for name in part.fields if name != part.key_field]
    problems = [
        *(f"{name} does not exist" for name in part.fields if name not in fields),
        *(f"{name} is read-only" for name in others if name in fields and fields[name].is_readonly),
        *(f"the user has no right to {right}" for right in rights if not access.get(right)),
    ]
    if problems:
        raise DeliveryFailed(
            f"Tryton's {part.object} cannot take this file",
            expected=", ".join(part.fields),
            found="; ".join(problems),
            where=part.name,
            fix="activate the module with these fields and give the user the right, or take them out of the target's mapping",
        )
    return {name: fields[name] for name in part.fields}


def _results(part: Part, keys: Sequence[str], ends: Sequence[_End]) -> pa.Table:
    """DELIVERY_RESULTS of the rows with these keys."""
    tables = []
    for outcome in ("succeeded", "failed"):
        chosen = [
            (key, end) for key, end in zip(keys, ends, strict=True) if (end.code is None) == (outcome == "succeeded")
        ]
        tables.append(
            results_table(
                part,
                [key for key, _ in chosen],
                outcome,
                remote_ids=[None if end.record is None else str(end.record) for _, end in chosen],
                codes=[end.code for _, end in chosen],
                messages=[end.message for _, end in chosen],
            )
        )
    return pa.concat_tables(tables)
