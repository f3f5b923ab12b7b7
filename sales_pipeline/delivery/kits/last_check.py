"""The last look at a kit's files, over the bytes written: what would erase, double or run code in the target is not handed out.

Belongs here: reading the files back. Does not belong here: refusing single rows (`refusals`): what is found here is a mistake of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from sales_pipeline.delivery.kits.refusals import starts_like_formula
from sales_pipeline.delivery.kits.variants import is_clearing
from sales_pipeline.delivery.parcel import Part
from sales_pipeline.delivery.targets.spec import ObjectSpec, TargetSpec
from sales_pipeline.errors import DeliveryBlocked
from sales_pipeline.lake.tables import file_sha256


def check_parts(folder: Path, parts: list[Part], target: TargetSpec, *, may_clear: bool = False) -> None:
    """Read every part back; DeliveryBlocked lists everything that is wrong. `may_clear`: blanks that clear are meant (a rollback;
    they always are where a score is taken away)."""
    specs = {spec.name: spec for spec in target.objects}
    problems = [
        problem
        for part in parts
        for problem in _problems(folder / part.name, part, specs[part.object_name], target, may_clear)
    ]
    if problems:
        raise DeliveryBlocked.all_of("the files of the kit failed their last check", problems)


def _problems(path: Path, part: Part, spec: ObjectSpec, target: TargetSpec, may_clear: bool) -> list[DeliveryBlocked]:
    found: list[DeliveryBlocked] = []

    def problem(summary: str, expected: str, seen: object) -> None:
        fix = "nothing was sent; report it with the mapping"
        found.append(DeliveryBlocked(summary, expected=expected, found=str(seen), where=part.name, fix=fix))

    if path.stat().st_size != part.bytes or file_sha256(path) != part.sha256:
        problem("a file is not what was written", f"{part.bytes} bytes, sha256 {part.sha256}", path.stat().st_size)
        return found
    blanks, formulas = dict.fromkeys(part.fields, 0), dict.fromkeys(part.fields, 0)
    keys: list[pa.Array] = []
    keys_of_parts = (spec.key,) if spec.updates_by is None else (spec.key, spec.updates_by)
    fields = {field.field: field for field in (*keys_of_parts, *spec.fields)}
    for batch in read_part(path, part, target):
        if tuple(batch.schema.names) != part.fields:
            problem("a file reads back differently", ", ".join(part.fields), ", ".join(batch.schema.names))
            return found
        keys.append(batch.column(part.key_field))
        for name in part.fields:
            texts = batch.column(name)
            blanks[name] += pc.sum(_is_blank(texts)).as_py() or 0
            if fields[name].notation == "text" and pa.types.is_string(texts.type):
                formulas[name] += int(starts_like_formula(texts).sum())
    rows = sum(len(batch) for batch in keys)
    if rows != part.rows:
        problem("a file reads back differently", f"{part.rows} rows", rows)
        return found
    if (distinct := pc.count_distinct(pa.chunked_array(keys)).as_py()) != part.rows:
        problem("a key stands in a file twice", f"{part.rows} keys", distinct)
    for name in part.fields:
        must = (
            name == part.key_field
            or target.blank == "unknown"
            or (fields[name].required and not may_clear and not is_clearing(part))
        )
        if must and blanks[name]:
            problem(f"{name} is blank: that would erase, or nobody knows", "a value", f"{blanks[name]} blank cells")
        if formulas[name]:
            problem(f"{name} begins like a formula", "text that begins otherwise", f"{formulas[name]} cells")
    return found


def read_part(path: Path, part: Part, target: TargetSpec) -> Iterator[pa.RecordBatch]:
    """A part as it reads back, in pieces: texts of a CSV file (blank: empty text), or the typed columns of a Parquet file."""
    if target.format.kind == "parquet":
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches()
        return
    with pacsv.open_csv(
        path,
        parse_options=pacsv.ParseOptions(delimiter=target.format.delimiter),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(part.fields, pa.string()), strings_can_be_null=False, null_values=[]
        ),
    ) as reader:
        yield from reader


def _is_blank(texts: pa.Array) -> pa.Array:
    if pa.types.is_string(texts.type):
        return pc.or_kleene(pc.is_null(texts), pc.equal(texts, ""))
    return pc.is_null(texts)
