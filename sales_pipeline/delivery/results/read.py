"""From a CRM's own result files to DELIVERY_RESULTS: which part of the kit a file speaks of, and what became of each row.

Belongs here: matching answers to what was sent. Does not belong here: the forms (`forms`), the state of the target (`delivery.state`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from sales_pipeline.contracts.delivery import OUTCOMES
from sales_pipeline.delivery.parcel import Parcel, Part
from sales_pipeline.delivery.results.ends import Ends, Mismatch, coded
from sales_pipeline.delivery.results.files import result_rows
from sales_pipeline.delivery.results.forms import Form, form_of, plain_form
from sales_pipeline.delivery.results.sent import sent_keys
from sales_pipeline.delivery.results.tables import joined
from sales_pipeline.errors import InputRejected
from sales_pipeline.lake.tables import file_sha256

_PROBLEMS_SHOWN = 20


def read_results(path: Path, parcel: Parcel, part: str | None = None) -> pa.Table:
    """DELIVERY_RESULTS of the rows one result file speaks of; rows it does not name are not in it (see `gathered`).

    Parameters
    ----------
    part
        Where the file alone does not tell: the name of a part, or of an object of the mapping or the target.

    Raises InputRejected when no part of the kit has these columns, when a row names a key that was not sent or was sent in several parts, when
    two rows say different things of one key, when an error file has a row without an error, and when the file is the kit's own. Problems of
    rows come all at once, each with its line.
    """
    _refuse_own_file(path, parcel)
    with result_rows(path, parcel.delimiter) as found:
        forms = _candidates(path, found.header, parcel, part)
        ends = [(form, Ends(one, sent_keys(parcel, one))) for one, form in forms]
        problems: list[InputRejected] = []
        for line, row in found.rows:
            trouble = _take(row, ends)
            if trouble is not None:
                problems.append(InputRejected(trouble[0], found=trouble[1], where=f"{path}:{line}"))
                if len(problems) == _PROBLEMS_SHOWN:
                    break
    if problems:
        raise InputRejected.all_of("the result file does not fit the kit; nothing of it was taken", problems)
    return pa.concat_tables([one.table(only_settled=True) for _, one in ends])


def gathered(parcel: Parcel, pieces: Sequence[pa.Table]) -> pa.Table:
    """DELIVERY_RESULTS of all rows of a parcel from what several files said; rows in none of them are `unknown`.

    A row that succeeded once has succeeded: whoever mends rows and imports them again has both answers.
    """
    tables = []
    for part in parcel.parts:
        ends = Ends(part, sent_keys(parcel, part))
        rows = [row for piece in pieces for row in piece.filter(pc.equal(piece["part"], part.name)).to_pylist()]
        settled: set[str] = set()
        for row in sorted(rows, key=lambda row: OUTCOMES.index(row["outcome"])):
            if row["outcome"] != "unknown" and row["key"] not in settled:
                settled.add(row["key"])
                ends.settle(row["key"], row["outcome"], row["remote_id"], code=row["code"], message=row["message"])
        tables.append(ends.table())
    return joined(tables)


def _refuse_own_file(path: Path, parcel: Parcel) -> None:
    if not path.is_file():
        raise InputRejected("there is no such result file", expected="a file", where=str(path))
    digest = file_sha256(path)
    for part in parcel.parts:
        if part.sha256 == digest:
            raise InputRejected(
                "this is the file that was to be imported, not what the CRM said of it",
                found=part.name,
                where=str(path),
                fix="give the success and error files; a list of rows the CRM never came to has `unprocessed` in its name",
            )


def _candidates(path: Path, header: Sequence[str], parcel: Parcel, hint: str | None) -> list[tuple[Part, Form]]:
    """The parts whose rows the file can be about."""
    parts = [part for part in parcel.parts if hint in (None, part.name, part.object_name, part.object)]
    if not parts:
        known = sorted({name for part in parcel.parts for name in (part.name, part.object_name, part.object)})
        raise InputRejected("the kit has no such part", expected=", ".join(known), found=str(hint))
    plain = plain_form(header)
    found = []
    for part in parts:
        form = plain or form_of(path.name, header, part.fields, part.key_field)
        if form is not None:
            found.append((part, form))
    if not found:
        sent = "; ".join(f"{part.name}: {', '.join(part.fields)}" for part in parts)
        raise InputRejected(
            "the result file fits no part of the kit",
            expected=f"the columns of a part, and STATUS, ERROR, sf__Created, sf__Error, Skip reason or Error ({sent}); or key, outcome, message",
            found=", ".join(header),
            where=f"{path}:1",
            fix="see whether it belongs to another kit; a mere list of rows has `unprocessed`, `failed` or `error` in its name",
        )
    return found


def _take(row: Sequence[str], ends: Sequence[tuple[Form, Ends]]) -> tuple[str, str] | None:
    """Settle a row with the part that has its key; else what is wrong with it, and where that is seen."""
    having = [(form, one) for form, one in ends if row[form.key] in one]
    if not having:
        return "a key that was not sent", row[ends[0][0].key]
    form, one = having[0]
    key = row[form.key]
    if len(having) > 1:
        names = ", ".join(one.part.name for _, one in having)
        return "a key that was sent in several parts: say which the file is about", f"{key} in {names}"
    outcome = form.outcome if form.told is None else row[form.told].strip().lower()
    if outcome not in OUTCOMES:
        return f"an outcome that is none of {', '.join(OUTCOMES)}", outcome
    code, message = coded(row[form.error] if form.error is not None else "")
    if form.code is not None:
        code = row[form.code].strip() or code
    if form.outcome == "failed" and form.error is not None and message is None and code is None:
        return "a row of an error file without an error", key
    if not form.is_certain and one.part.operation == "insert":
        outcome = "unknown"
    remote_id = row[form.remote_id] if form.remote_id is not None else None
    try:
        one.settle(key, outcome, remote_id, code=code, message=message, may_repeat=True)
    except Mismatch as mismatch:
        return str(mismatch), key
    return None
