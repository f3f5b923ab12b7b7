"""A run's files: written aside, audited as written, and made visible in one act.

    <table>.parquet, <table>.csv   each published table twice
    field_dictionary.csv           what each column means
    README.txt                     the same for people who import
    model_card.json, report.html … documents given by the caller
    manifest.json                  row counts, sha256 of every file, digests of what went in

The run log (`runs/<run_id>.log.json`) holds clocks and the ids of other systems; it lies outside the run's folder, since
equal inputs give equal published bytes.

Belongs here: what a run's folder holds. Does not belong here: the protocol itself (`lake.runs`), the checks (`audit`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.derive import dictionary_rows
from sales_pipeline.contracts.published import CONTRACT_VERSION, FIELD_DICTIONARY, PUBLISHED_TABLES
from sales_pipeline.delivery.audit import audit
from sales_pipeline.delivery.csv_text import csv_pieces
from sales_pipeline.delivery.readme import readme
from sales_pipeline.delivery.report.guard import outside_references
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import AuditBlocked
from sales_pipeline.lake.durable import write_bytes
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import MANIFEST, publish_run, write_run
from sales_pipeline.lake.tables import TableRef, conform, file_sha256, read_table, write_table

# Names of entries that hold clocks or ids of other systems.
_FOREIGN = re.compile(r"dagster|mlflow|written_at|generated_at|hostname", re.IGNORECASE)


def write_and_audit(
    lake: Lake,
    run_id: str,
    tables: Mapping[str, pa.Table],
    manifest: Mapping[str, Any],
    documents: Mapping[str, bytes],
    at_rest: Mapping[str, TableRef] | None = None,
) -> Path:
    """Write a run's folder and audit the bytes written; the folder appears only when every check passed.

    Parameters
    ----------
    tables
        Published tables by name; `field_dictionary` is added.
    manifest
        JSON-able entries: `as_of` (ISO text) and the digests of everything that went in (exports, mapping, settings, model, previous
        run, feedback).
    documents
        Further files by name, such as `model_card.json`.
    at_rest
        Files that tables were read from, by name, written under their contracts: their bytes are published as they are, not written again.

    Returns the folder. A run that is there already is left as it is. Raises AuditBlocked with every failure; nothing
    visible has changed then.
    """
    dictionary = pa.Table.from_pylist([row for table in PUBLISHED_TABLES.values() for row in dictionary_rows(table)])
    complete = {**tables, FIELD_DICTIONARY.name: conform(dictionary, FIELD_DICTIONARY)}

    def build(folder: Path) -> dict[str, Any]:
        _block(
            audit(complete, run_id)
            + _as_of_differs(complete, manifest)
            + _foreign_words(lake, manifest, documents)
            + _leads_out(complete, documents),
            run_id,
        )
        written = {}
        for name in PUBLISHED_TABLES:
            if name in complete:
                path, file_at_rest = folder / f"{name}.parquet", (at_rest or {}).get(name)
                if file_at_rest is not None:
                    _take_over(file_at_rest, path, run_id)
                    written[name] = complete[name]
                else:
                    write_table(complete[name], path, PUBLISHED_TABLES[name])
                    written[name] = read_table(path)
                with (folder / f"{name}.csv").open("wb") as file:
                    file.writelines(csv_pieces(written[name], PUBLISHED_TABLES[name]))
                if written[name].num_rows != complete[name].num_rows:
                    _block([f"{name}: {written[name].num_rows} rows were written of {complete[name].num_rows}"], run_id)
        # What was audited needs no second audit where it is read again as it was.
        if any(not data.equals(complete[name]) for name, data in written.items()):
            _block(audit(written, run_id), run_id)
        for name, content in documents.items():
            (folder / name).write_bytes(content)
        (folder / "README.txt").write_text(readme(written, run_id, str(manifest["as_of"])), encoding="utf-8")
        rows = {name: data.num_rows for name, data in written.items()}
        keys = {name: list(PUBLISHED_TABLES[name].key) for name in written}
        return {"contract_version": CONTRACT_VERSION, **manifest, "rows": rows, "keys": keys}

    return write_run(lake, run_id, build)


def publish(lake: Lake, run_id: str, *, log: Mapping[str, Any], make_current: bool = False) -> bool:
    """Publish a run that was written, then note `log` (clocks, ids of other systems) outside its folder.

    Returns whether CURRENT names the run afterwards: an older day goes to the history unless `make_current`. Publishing the same run
    again changes no published byte; its log gains an entry.
    """
    is_current = publish_run(lake, run_id, make_current=make_current)
    append_run_log(lake, run_id, {**log, "is_current": is_current})
    return is_current


def append_run_log(lake: Lake, run_id: str, entry: Mapping[str, Any]) -> Path:
    """Add one entry to `runs/<run_id>.log.json`, a list with the oldest first."""
    path = run_log_path(lake, run_id)
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    text = json.dumps([*entries, dict(entry)], indent=1, sort_keys=True, default=str) + "\n"
    write_bytes(path, text.encode("utf-8"))
    return path


def run_log_path(lake: Lake, run_id: str) -> Path:
    """Where a run's log lies."""
    return lake.runs / f"{run_id}.log.json"


def _take_over(ref: TableRef, path: Path, run_id: str) -> None:
    """The same bytes in the run's folder: a copy, which nothing that happens to the other file changes."""
    shutil.copyfile(ref.path, path)
    if file_sha256(path) != ref.sha256:
        _block([f"{ref.name}: {ref.path} is not what it was when it was made"], run_id)


def _block(failures: list[str], run_id: str) -> None:
    if failures:
        raise AuditBlocked(
            f"the audit of {run_id} failed {len(failures)} checks; nothing was published",
            expected="tables under contract v1 that agree with each other",
            found="\n    ".join(["", *failures]),
            fix="the last published run still stands; mend the cause named above and run the day again",
        )


def _as_of_differs(tables: Mapping[str, pa.Table], manifest: Mapping[str, Any]) -> list[str]:
    found = {
        AsOf(instant).isoformat()
        for data in tables.values()
        if "as_of" in data.column_names and pa.types.is_timestamp(data.schema.field("as_of").type)
        for instant in data.column("as_of").unique().drop_null().to_pylist()
    }
    others = sorted(found - {manifest["as_of"]})
    return [f"{MANIFEST}: as_of is {manifest['as_of']}, the tables say {', '.join(others)}"] if others else []


def _foreign_words(lake: Lake, manifest: Mapping[str, Any], documents: Mapping[str, bytes]) -> list[str]:
    """Published files hold no clock, no id of another system and no path of the lake: they would differ by machine."""
    plain = json.loads(json.dumps(dict(manifest), default=str))
    texts = {MANIFEST: json.dumps(plain), **{name: data.decode("utf-8", "replace") for name, data in documents.items()}}
    root = str(lake.root.resolve())
    failures = [f"{name}: names the lake's folder {root}" for name, text in texts.items() if root in text]
    for name, text in texts.items():
        keys = _keys(json.loads(text)) if name.endswith(".json") else ()
        failures += [
            f"{name}: the entry {key!r} belongs to the run log, outside the published files"
            for key in sorted({key for key in keys if _FOREIGN.search(key)})
        ]
    return failures


def _leads_out(tables: Mapping[str, pa.Table], documents: Mapping[str, bytes]) -> list[str]:
    """Pages fetch nothing, run nothing, and link only to files of the run's folder."""
    files = {*documents, *(f"{name}.{kind}" for name in tables for kind in ("csv", "parquet"))}
    return [
        f"{name}: leads out of the page: {reference}"
        for name, content in documents.items()
        if name.endswith(".html")
        for reference in outside_references(content.decode("utf-8", "replace"), files)
    ]


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
