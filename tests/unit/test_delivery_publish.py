from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sales_pipeline.contracts.published import PUBLISHED_TABLES
from sales_pipeline.delivery.publish import publish, run_log_path, write_and_audit
from sales_pipeline.delivery.run_identity import run_id
from sales_pipeline.errors import AuditBlocked
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import current_run
from sales_pipeline.lake.tables import read_table, write_table
from tests.support.published_run import RUN, changed, run_tables
from tests.support.scored_rows import AS_OF

MANIFEST: dict[str, Any] = {"as_of": AS_OF.isoformat(), "export_ids": ["e1"], "settings_digest": "abc"}
DOCUMENTS = {"model_card.json": b'{"name": "win"}\n'}


def write(root: Path, **changes: Any) -> Path:
    arguments = {"tables": run_tables(), "manifest": MANIFEST, "documents": DOCUMENTS} | changes
    return write_and_audit(Lake(root), RUN, **arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("lake"))


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / f"{name}.csv").read_text(encoding="utf-8"))))


def test_each_table_lies_there_as_parquet_and_as_csv(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    tables = {f"{name}.{kind}" for name in (*run_tables(), "field_dictionary") for kind in ("parquet", "csv")}
    assert names == tables | {"README.txt", "manifest.json", "model_card.json"}


def test_the_csv_is_what_an_administrator_can_import(folder: Path) -> None:
    raw = (folder / "scored_opportunities.csv").read_bytes()
    assert not raw.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in raw
    first, _, last = rows(folder, "scored_opportunities")
    assert list(first) == list(PUBLISHED_TABLES["scored_opportunities"].column_names)
    assert first["as_of"] == "2026-07-01T00:00:00.000Z"
    assert first["crm_close_date"] == "2026-09-30"
    assert (first["amount"], first["win_probability"], first["score"]) == ("1000.00", "0.500000", "50")
    assert first["reasons_up"] == "The customer wrote twice, lately (+0.42)"
    assert (first["reasons_down"], first["pipeline"]) == ("", "")
    assert (last["win_probability"], last["abstain_reason"]) == ("", "no creation date is recorded")


def test_csv_and_parquet_hold_the_same_rows(folder: Path) -> None:
    for name in run_tables():
        parquet = pq.read_table(folder / f"{name}.parquet")
        found = rows(folder, name)
        assert [row["opportunity_id"] for row in found] == parquet.column("opportunity_id").to_pylist()


def test_the_dictionary_explains_every_published_column(folder: Path) -> None:
    explained = {(row["table"], row["column"]) for row in rows(folder, "field_dictionary")}
    assert explained == {(name, column) for name, table in PUBLISHED_TABLES.items() for column in table.column_names}


def test_the_manifest_counts_and_digests_everything(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["rows"] == {
        "scored_opportunities": 3,
        "follow_up_queue": 1,
        "left_out": 2,
        "field_dictionary": len(rows(folder, "field_dictionary")),
    }
    assert manifest["keys"]["left_out"] == ["source_system", "opportunity_id"]
    assert manifest["export_ids"] == ["e1"]
    for name, facts in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"]
    assert set(manifest["files"]) == {path.name for path in folder.iterdir()} - {"manifest.json"}


def test_the_readme_names_each_file_and_how_to_import_it(folder: Path) -> None:
    text = (folder / "README.txt").read_text(encoding="utf-8")
    assert "follow_up_queue.csv: 1 rows" in text
    assert "Key: queue_id." in text
    assert "Create or update tasks by queue_id" in text


def test_equal_runs_give_equal_bytes_anywhere(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in other.iterdir()}


def test_a_failed_audit_lists_everything_and_leaves_nothing(tmp_path: Path) -> None:
    broken = changed(run_tables(), "follow_up_queue", 0, reason="=1+1", action="wait")
    with pytest.raises(AuditBlocked) as caught:
        write(tmp_path, tables=broken)
    assert "reason: begins like a spreadsheet formula" in str(caught.value)
    assert "action: is not an allowed value" in str(caught.value)
    assert caught.value.exit_code == 4
    assert [path.name for path in (tmp_path / "runs").iterdir()] == []
    assert current_run(Lake(tmp_path)) is None


def test_what_is_read_again_otherwise_than_it_was_audited_is_audited_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> pa.Table:
        table = pq.read_table(path)
        return changed({path.stem: table}, path.stem, 0, grade="Z")[path.stem] if "scored" in path.stem else table

    monkeypatch.setattr("sales_pipeline.delivery.publish.read_table", read)
    with pytest.raises(AuditBlocked, match="grade: is not an allowed value"):
        write(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest": MANIFEST | {"inputs": [{"mlflow_run_id": "1"}]}},
        {"documents": {"model_card.json": b'{"trained": {"dagster_run_id": "1"}}'}},
        {"documents": {"model_card.json": b'{"generated_at": "2026-07-01"}'}},
    ],
)
def test_ids_of_other_systems_and_clocks_are_kept_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(AuditBlocked, match="belongs to the run log"):
        write(tmp_path, **changes)


def test_the_manifest_and_the_tables_are_of_one_as_of(tmp_path: Path) -> None:
    with pytest.raises(AuditBlocked, match="the tables say 2026-07-01T00:00:00Z"):
        write(tmp_path, manifest=MANIFEST | {"as_of": "2026-07-02T00:00:00Z"})


def test_the_path_of_the_lake_is_kept_out(tmp_path: Path) -> None:
    with pytest.raises(AuditBlocked, match="names the lake's folder"):
        write(tmp_path, documents={"notes.txt": f"see {tmp_path.resolve()}/runs".encode()})


def test_publishing_notes_the_ids_outside_the_folder_and_repeats_quietly(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    folder = write(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert publish(lake, RUN, log={"dagster_run_id": "d1"})
    assert publish(lake, RUN, log={"dagster_run_id": "d2"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    log = json.loads(run_log_path(lake, RUN).read_text())
    assert [entry["dagster_run_id"] for entry in log] == ["d1", "d2"]
    current = current_run(lake)
    assert current is not None
    assert current.run_id == RUN


IDENTITY: dict[str, Any] = {
    "export_ids": ["e1", "e2"],
    "settings_digest": "s",
    "code_version": "1",
    "model_version": "m",
    "previous_run_id": None,
    "feedback_digest": None,
}


def test_a_run_id_depends_on_everything_that_goes_in_and_not_on_order() -> None:
    base = run_id(AS_OF, **IDENTITY)
    assert base == run_id(AS_OF, **(IDENTITY | {"export_ids": ["e2", "e1"]}))
    changes: dict[str, Any] = {
        "export_ids": ["e1"],
        "settings_digest": "t",
        "code_version": "2",
        "model_version": "n",
        "previous_run_id": "run-0",
        "feedback_digest": "f",
    }
    ids = {run_id(AS_OF, **(IDENTITY | {key: value})) for key, value in changes.items()}
    assert len(ids | {base}) == len(changes) + 1
    assert base.startswith("run-")


def test_a_page_that_leads_out_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(AuditBlocked, match=r"report\.html: leads out of the page: <script>"):
        write(tmp_path, documents={"report.html": b'<a href="left_out.csv">x</a><script></script>'})


def test_a_table_at_rest_is_published_with_the_bytes_it_was_read_from(tmp_path: Path, folder: Path) -> None:
    tables = run_tables()
    at_rest = {
        name: write_table(data, tmp_path / "at_rest" / f"{name}.parquet", PUBLISHED_TABLES[name])
        for name, data in tables.items()
    }
    read = {name: read_table(ref) for name, ref in at_rest.items()}
    taken = write(tmp_path, tables=read, at_rest=at_rest)
    for path in folder.iterdir():
        assert (taken / path.name).read_bytes() == path.read_bytes(), path.name
    assert (taken / "left_out.parquet").stat().st_nlink == 1


def test_a_table_at_rest_that_was_changed_since_is_not_published(tmp_path: Path) -> None:
    ref = write_table(run_tables()["left_out"], tmp_path / "left_out.parquet", PUBLISHED_TABLES["left_out"])
    changed_since = replace(ref, sha256="0" * 64)
    with pytest.raises(AuditBlocked, match=r"left_out: .*left_out\.parquet is not what it was when it was made"):
        write(tmp_path, at_rest={"left_out": changed_since})
    assert not (Lake(tmp_path).runs / RUN).exists()
