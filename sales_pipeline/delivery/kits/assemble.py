"""The folder of a kit: its files in order, one object after the other, so that memory holds one object at a time.

Belongs here: what lies where in the folder. Does not belong here: rows (`rows`, `backwards`), the documents' words (`documents`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sales_pipeline.contracts.delivery import NOT_DELIVERED
from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.delivery.csv_text import csv_bytes
from sales_pipeline.delivery.kit import ObjectFacts
from sales_pipeline.delivery.kits.backwards import backwards
from sales_pipeline.delivery.kits.documents import diff_summary, readme, sdl
from sales_pipeline.delivery.kits.files import Names, write_files
from sales_pipeline.delivery.kits.last_check import check_parts
from sales_pipeline.delivery.kits.refusals import guarded
from sales_pipeline.delivery.kits.review import Review
from sales_pipeline.delivery.kits.rows import Judged
from sales_pipeline.delivery.kits.salesforce_fields import salesforce_fields, salesforce_permissions
from sales_pipeline.delivery.kits.variants import write_parts
from sales_pipeline.delivery.parcel import MANIFEST, Parcel, Part, parcel_entries
from sales_pipeline.delivery.targets.spec import FieldSpec, FileFormat, ObjectSpec, TargetSpec
from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.lake.tables import PARQUET_OPTIONS, file_sha256

ROLLBACK = "rollback"
_LIST = FileFormat()


@dataclass(frozen=True)
class Identity:
    """What a kit is: its id, where it goes, the run it comes from, and digests of what went in."""

    delivery_id: str
    target: str
    run_id: str
    as_of: str
    state_id: str
    model_version: str | None = None
    is_rollback_of: str | None = None
    options: Mapping[str, Any] | None = None


def write_kit(folder: Path, spec: TargetSpec, identity: Identity, judged: Iterator[tuple[ObjectSpec, Judged]]) -> None:
    """Write a kit's files. `judged` gives one object at a time, in the mapping's order."""
    parts: list[Part] = []
    facts: list[ObjectFacts] = []
    refused: list[pa.Table] = []
    review = Review()
    (folder / "rows").mkdir()
    for item, found in judged:
        written, stands_in, sent_key = write_parts(folder, found.rows, item, spec)
        rows = found.rows.append_column("part", stands_in).append_column("sent_key", sent_key)
        pq.write_table(rows, folder / "rows" / f"{item.name}.parquet", **PARQUET_OPTIONS)
        if identity.is_rollback_of is None:
            write_way_back(folder / ROLLBACK, found.rows, item, spec)
        check_parts(folder, written, spec, may_clear=identity.is_rollback_of is not None)
        review.add(found)
        parts += written
        facts.append(found.facts)
        refused.append(found.not_delivered)
    if spec.has_sdl:
        for part in parts:
            (folder / part.name).with_suffix(".sdl").write_text(sdl(part), encoding="utf-8")
        packages = {"metadata": salesforce_fields(spec), "metadata_permissions": salesforce_permissions(spec)}
        for package, files in packages.items():
            for name, data in files.items():
                (folder / package / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / package / name).write_bytes(data)
    left_out = pa.concat_tables([arrow_schema(NOT_DELIVERED).empty_table(), *refused]).combine_chunks()
    pq.write_table(left_out, folder / "rows" / "not_delivered.parquet", **PARQUET_OPTIONS)
    (folder / "not_delivered.csv").write_bytes(csv_bytes(guarded(left_out), NOT_DELIVERED))
    parcel = Parcel(
        delivery_id=identity.delivery_id,
        target=identity.target,
        run_id=identity.run_id,
        as_of=identity.as_of,
        folder=folder,
        parts=tuple(parts),
        line_end=spec.format.line_end,
        delimiter=spec.format.delimiter,
    )
    diff = {facts.name: asdict(facts) for facts in facts}
    (folder / "diff.json").write_text(json.dumps(diff, indent=1) + "\n", encoding="utf-8")
    (folder / "diff_summary.txt").write_text(diff_summary(identity.target, facts), encoding="utf-8")
    (folder / "README.txt").write_text(readme(spec, parcel, facts, identity.is_rollback_of), encoding="utf-8")
    (folder / "review.xlsx").write_bytes(review.workbook(parcel, facts, left_out))
    _write_manifest(folder, spec, identity, parcel, facts)


def write_way_back(folder: Path, rows: pa.Table, item: ObjectSpec, spec: TargetSpec) -> None:
    """Files that take the object's rows back, and lists of what a person must take back."""
    if not rows.num_rows:
        return
    folder.mkdir(exist_ok=True)
    back = backwards(rows, item, spec)
    written, _, _ = write_parts(folder, back.rows, item, spec)
    check_parts(folder, written, spec, may_clear=True)
    write_lists(folder, item, back.to_delete, back.by_hand)


def write_lists(folder: Path, item: ObjectSpec, to_delete: pa.Table, by_hand: pa.Table) -> None:
    """`<object>_delete.csv` and `<object>_clear_by_hand.csv`, where there is anything in them."""
    key = FieldSpec(field=item.key.field, column="key")
    if to_delete.num_rows:
        columns = {item.key.field: to_delete["key"].combine_chunks()}
        write_files(folder, Names(f"{item.name}_delete", "csv"), columns, [key], _LIST)
    if by_hand.num_rows:
        columns = {item.key.field: by_hand["key"].combine_chunks(), "fields": by_hand["fields"].combine_chunks()}
        fields = [key, FieldSpec(field="fields", column="fields")]
        write_files(folder, Names(f"{item.name}_clear_by_hand", "csv"), columns, fields, _LIST)


def _write_manifest(
    folder: Path, spec: TargetSpec, identity: Identity, parcel: Parcel, facts: list[ObjectFacts]
) -> None:
    mapping = spec.model_dump(mode="json")
    encoding = "UTF-8 with byte order mark" if spec.format.has_bom else "UTF-8"
    names = {part.name: part for part in parcel.parts}
    files = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        files[name] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        if name in names:
            part = names[name]
            files[name] |= {
                "object": part.object,
                "operation": part.operation,
                "key": part.key_field,
                "rows": part.rows,
                "columns": list(part.fields),
                "encoding": encoding if spec.format.kind == "csv" else "Parquet",
                "line_end": {"\n": "LF", "\r\n": "CRLF"}[spec.format.line_end],
            }
    entries = {
        "parcel": parcel_entries(parcel),
        "objects": [asdict(facts) for facts in facts],
        "is_rollback_of": identity.is_rollback_of,
        "run_id": identity.run_id,
        "as_of": identity.as_of,
        "model_version": identity.model_version,
        "mapping": mapping,
        "mapping_digest": digest_of(mapping),
        "state_id": identity.state_id,
        "options": dict(identity.options or {}),
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(entries, sort_keys=True, indent=1) + "\n", encoding="utf-8")
