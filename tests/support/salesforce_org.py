"""What a Salesforce org does with the rows of a Bulk API 2.0 job, as documented: a model for tests, in memory.

Rules (reference: developer.salesforce.com api_asynch, "Prepare Data to Ingest", "Line Ending Header", "Get Job … Record Results"): UTF-8, header of API
names, one line ending throughout and the job's own, empty cells ignored, `#N/A` clears, dates and instants in ISO form, an external key twice in a
file is an error on its rows, a record in the recycle bin is ENTITY_IS_DELETED (SOAP API Developer Guide, StatusCode). Where documents are silent the org is stricter than a real one: ids have 18 characters, a BOM is part of the
first header.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from sales_pipeline.delivery.targets.spec import TargetSpec
from sales_pipeline.domain.identifiers import to_sfid18

Kind = Literal["text", "number", "date", "instant", "flag", "user", "any"]  # user, any: the id of a record
Fields = dict[str, Kind]

OPPORTUNITY: Fields = {
    "Name": "text",
    "StageName": "text",
    "Amount": "number",
    "Probability": "number",
    "CloseDate": "date",
    "OwnerId": "user",
    "AccountId": "any",
}
TASK: Fields = {
    "Subject": "text",
    "ActivityDate": "date",
    "Priority": "text",
    "Status": "text",
    "WhatId": "any",
    "WhoId": "any",
    "OwnerId": "user",
    "Description": "text",
}
LEAD: Fields = {"LastName": "text", "Company": "text", "Status": "text", "Email": "text", "OwnerId": "user"}
PREFIXES = {"Account": "001", "Contact": "003", "User": "005", "Opportunity": "006", "Lead": "00Q", "Task": "00T"}

_DATE = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
_INSTANT = re.compile(_DATE.pattern + r"T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{3})?(Z|\+00:00|\+0000)")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_FLAGS = {"true", "false", "1", "0"}


_KINDS: dict[str, Kind] = {
    "decimal": "number",
    "integer": "number",
    "date": "date",
    "instant": "instant",
    "flag": "flag",
}


def org_for(spec: TargetSpec) -> Org:
    """An org whose administrator created the custom fields a mapping asks for, and no other; empty but for that."""
    objects: dict[str, Fields] = {"Opportunity": {**OPPORTUNITY}, "Lead": {**LEAD}, "Task": {**TASK}}
    objects |= {"User": {}, "Account": {}, "Contact": {}}
    external = {}
    for wanted in spec.objects:
        for one in wanted.fields:
            if one.field.endswith("__c"):
                objects[wanted.object][one.field] = _KINDS.get(one.notation, "text")
        if wanted.operation == "upsert":
            external[wanted.object] = wanted.key.field
    return Org(objects, external)


class JobFailure(Exception):
    """The job fails as a whole, with this errorMessage."""


@dataclass
class Faults:
    """What else goes wrong while rows are processed.

    refuse_half: every second row. errors: error text by key (a record that changed or went since the export). stop_after: rows after which the
    job ends as `stop_as` says, with `stop_message`. forget: keys that stand in no result.
    """

    refuse_half: bool = False
    errors: dict[str, str] = field(default_factory=dict)
    stop_after: int | None = None
    stop_as: Literal["Aborted", "Failed"] = "Aborted"
    stop_message: str = ""
    forget: set[str] = field(default_factory=set)


@dataclass
class Outcome:
    """CSV rows of the three results, without their first header cells."""

    header: list[str] = field(default_factory=list)
    successful: list[list[str]] = field(default_factory=list)
    failed: list[list[str]] = field(default_factory=list)
    unprocessed: list[list[str]] = field(default_factory=list)
    is_stopped: bool = False


class Org:
    """Records by object and id; `writes` counts, by object and id, how often a record was written."""

    def __init__(self, objects: dict[str, Fields] | None = None, external: dict[str, str] | None = None) -> None:
        self.objects = objects or {"Opportunity": dict(OPPORTUNITY), "Task": dict(TASK), "User": {}}
        self.external = external or {}
        self.records: dict[str, dict[str, dict[str, str]]] = {name: {} for name in self.objects}
        self.writes: Counter[tuple[str, str]] = Counter()
        self.deleted: set[str] = set()
        self._ids: set[str] = set()
        self._keys: dict[str, dict[str, str]] = {name: {} for name in self.objects}

    def add(self, name: str, count: int = 1, ids: list[str] | None = None) -> list[str]:
        """Records that are there from the start; their ids."""
        known = len(self.records.setdefault(name, {})) + len(self.deleted)
        made = ids or [to_sfid18(f"{PREFIXES.get(name, 'a00')}Hs{known + n:010d}") for n in range(count)]
        for one in made:
            self.records[name][one] = {}
            self._ids.add(one)
        return made

    def delete(self, name: str, record: str) -> None:
        """Somebody deletes a record: it lies in the recycle bin, and its external key is free again (an upsert by it makes another record)."""
        del self.records[name][record]
        self._ids.discard(record)
        self.deleted.add(record)
        self._keys[name] = {key: one for key, one in self._keys[name].items() if one != record}

    def process(
        self, name: str, operation: str, key_field: str, data: bytes, faults: Faults, job: dict[str, str]
    ) -> Outcome:
        """Carry a job out."""
        rows = _rows(data, job)
        header = next(rows, [])
        kinds = self._kinds(name, header, operation, key_field)
        key_place = header.index(key_field) if operation != "insert" else 0
        table = list(rows)
        twice = {key for key, n in Counter(row[key_place] for row in table if len(row) == len(header)).items() if n > 1}
        done = Outcome(header)
        for number, row in enumerate(table):
            if faults.stop_after is not None and number >= faults.stop_after:
                done.unprocessed.append(row)
                done.is_stopped = True
                continue
            key = row[key_place] if len(row) == len(header) else ""
            error = (
                _shape(row, header)
                or faults.errors.get(key)
                or self._refusal(name, operation, key_field, key, row, kinds, twice)
            )
            if error is None and faults.refuse_half and number % 2:
                error = "FIELD_CUSTOM_VALIDATION_EXCEPTION:The record may not be changed now:--"
            if error is not None:
                target = self._keys[name].get(key, "") if operation != "update" else key
                if key not in faults.forget:
                    done.failed.append([target, error, *row])
                continue
            record, created = self._write(name, operation, key_field, key, dict(zip(header, row, strict=True)))
            if key not in faults.forget:
                done.successful.append([record, "true" if created else "false", *row])
        done.successful.reverse()  # their order is documented to be free
        done.failed.reverse()
        return done

    def _kinds(self, name: str, header: list[str], operation: str, key_field: str) -> list[Kind]:
        if name not in self.objects:
            raise JobFailure(f"InvalidBatch : Unknown object : {name}")
        known: dict[str, Kind] = {"Id": "text", **self.objects[name]}
        if name in self.external:
            known[self.external[name]] = "text"
        for column in header:
            if column not in known:
                raise JobFailure(f"InvalidBatch : Field name not found : {column}")
        is_external = operation == "upsert" and key_field == self.external.get(name)
        if operation != "insert" and (key_field not in header or not (key_field == "Id" or is_external)):
            raise JobFailure(
                f"InvalidBatch : Field name provided, {key_field} does not match an External ID for {name}"
            )
        return [known[column] for column in header]

    def _refusal(
        self, name: str, operation: str, key_field: str, key: str, row: list[str], kinds: list[Kind], twice: set[str]
    ) -> str | None:
        if operation == "update" and (len(key) != 18 or not key.isalnum()):
            return f"MALFORMED_ID:Id: id value of incorrect type: {key}:Id --"
        if operation == "update" and key in self.deleted:
            return "ENTITY_IS_DELETED:entity is deleted:--"
        if operation == "update" and key not in self.records[name]:
            return "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:Id --"
        if operation == "upsert" and not key:
            return f"MISSING_ARGUMENT:{key_field} not specified:{key_field} --"
        if key in twice and operation != "insert":
            if operation == "upsert":
                return f"DUPLICATE_VALUE:Duplicate external id specified: {key}:{key_field} --"
            return "DUPLICATE_VALUE:duplicate id in the file:Id --"
        for value, kind in zip(row, kinds, strict=True):
            if value and value != "#N/A" and kind != "text":
                error = self._misfit(value, kind)
                if error:
                    return error
        return None

    def _misfit(self, value: str, kind: Kind) -> str | None:
        if kind in ("any", "user") and value in self.deleted:
            return "ENTITY_IS_DELETED:entity is deleted:--"
        if kind == "user" and value not in self.records.get("User", {}):
            return "INVALID_CROSS_REFERENCE_KEY:invalid cross reference id:OwnerId --"
        if kind == "any" and value not in self._ids:
            return f"INVALID_CROSS_REFERENCE_KEY:invalid cross reference id: {value}:--"
        pattern = {"date": _DATE, "instant": _INSTANT, "number": _NUMBER}.get(kind)
        if (pattern and not pattern.fullmatch(value)) or (kind == "flag" and value.lower() not in _FLAGS):
            return f"INVALID_TYPE_ON_FIELD_IN_RECORD:'{value}' is not a valid value for the type {kind}:--"
        return None

    def _write(self, name: str, operation: str, key_field: str, key: str, values: dict[str, str]) -> tuple[str, bool]:
        record = key if operation == "update" else self._keys[name].get(key) if operation == "upsert" else None
        created = record is None
        if record is None:
            record = self.add(name)[0]
            if operation == "upsert":
                self._keys[name][key] = record
        held = self.records[name][record]
        for column, value in values.items():
            if value == "#N/A":
                held.pop(column, None)
            elif value and column != "Id":
                held[column] = value
        self.writes[name, record] += 1
        return record, created


def _rows(data: bytes, job: dict[str, str]) -> csv._reader:  # type: ignore[name-defined]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise JobFailure("ClientInputError : Failed to read query. UTF-8 expected") from None
    ends = set(re.findall(r"\r\n|\n|\r", text))
    if ends != {{"LF": "\n", "CRLF": "\r\n"}[job["lineEnding"]]}:
        raise JobFailure("ClientInputError : LineEnding is invalid on user data")
    delimiter = {"COMMA": ",", "SEMICOLON": ";", "TAB": "\t", "PIPE": "|", "CARET": "^", "BACKQUOTE": "`"}
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter[job["columnDelimiter"]], strict=True)


def _shape(row: list[str], header: list[str]) -> str | None:
    if len(row) != len(header):
        return f"INVALID_ROW:{len(header)} columns expected, {len(row)} found:--"
    return None
