"""Exports kept once, ingested once, and seen by as-of; what a mapping must say and what it must not."""

import json
import os
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sales_pipeline.contracts.derive import arrow_schema
from sales_pipeline.contracts.internal import ROW_LEDGER
from sales_pipeline.contracts.raw import RAW_TABLES
from sales_pipeline.domain.time import AsOf
from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.errors import ConfigurationError, InputRejected
from sales_pipeline.ingest import digests, exports
from sales_pipeline.ingest.exports import IngestedExport, collect, newest_recorded_instant, visible
from sales_pipeline.ingest.params import OutcomeRule, SourceMapping, TableMapping
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import file_sha256

COLUMNS = {"opportunity_id": "Deal", "stage": "Stage", "created_at": "Created", "amount": "Value"}
DEALS = "Deal,Stage,Created,Value,Region,E-mail\n1,Won,2024-01-02,10,North,a@example.org\n2,Select,2024-02-03 04:05:06,20,None,\n"


@pytest.fixture(scope="module")
def engine():
    with DuckDBEngine(threads=1) as engine:
        yield engine


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    (tmp_path / "landing").mkdir()
    return tmp_path / "landing"


@pytest.fixture
def run(engine, tmp_path: Path, landing: Path):
    def of(mapping: SourceMapping | None = None) -> list[IngestedExport]:
        return collect(Lake(tmp_path / "lake"), landing, mapping or table_mapping(), engine)

    return of


def table_mapping(**changes) -> SourceMapping:
    tables = {"opportunities": (TableMapping(files=("DEALS*",), columns=COLUMNS),)}
    return SourceMapping(**{"source_system": "test", "tables": tables, "missing": ("Select",)} | changes)


def rows(one: IngestedExport, name: str) -> list[dict]:
    return [row for part in one.tables[name] for row in pq.read_table(part.path).to_pylist()]


def test_a_table_is_read_by_its_mapping(landing: Path, run) -> None:
    (landing / "deals.csv").write_text(DEALS)
    [one] = run()
    first, second = rows(one, "raw_opportunities")
    assert (first["opportunity_id"], first["stage"], first["amount"], first["kind"]) == (
        "1",
        "Won",
        "10",
        "opportunity",
    )
    assert (second["stage"], second["created_at"], second["owner_id"]) == (None, "2024-02-03 04:05:06", None)
    assert [
        (row["opportunity_id"], row["attribute"], row["value"]) for row in rows(one, "raw_opportunity_attributes")
    ] == [
        ("1", "Region", "North"),
        ("2", "Region", "None"),
    ]
    assert one.facts["files"]["deals.csv"]["not_taken"] == {"E-mail": "about people, or free text"}
    assert one.facts["files"]["deals.csv"]["mapped_columns"] == sorted([*COLUMNS, "kind"])
    assert one.export.exported_at == datetime(2024, 2, 3, 4, 5, 6, 1, tzinfo=UTC)
    assert newest_recorded_instant([one]) == datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_tables_and_ledger_keep_their_contracts(landing: Path, run) -> None:
    (landing / "deals.csv").write_text(DEALS + "3,Won\n")
    (landing / "other.csv").write_text("a,b\n1,2\n")
    [one] = run()
    for name, parts in one.tables.items():
        for part in parts:
            assert pq.read_schema(part.path).equals(arrow_schema(RAW_TABLES[name]))
    ledger = pq.read_table(one.ledger.path)
    assert ledger.schema.equals(arrow_schema(ROW_LEDGER))
    keys = list(zip(ledger["source_file"].to_pylist(), ledger["source_record"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))
    count = ledger.filter(pc.equal(ledger["file"], "other.csv")).select(["outcome", "reason"]).to_pylist()
    assert count == [
        {"outcome": "structural", "reason": "header"},
        {"outcome": "structural", "reason": "file is not mapped to a table"},
    ]


def test_an_export_is_kept_once_and_stays_after_it_left_the_landing(landing: Path, run, tmp_path: Path) -> None:
    (landing / "deals.csv").write_text(DEALS)
    [first] = run()
    kept = sorted(path.name for path in (tmp_path / "lake/exports/files").iterdir())
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "lake").rglob("*") if path.is_file()}
    assert run() == [first]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "lake").rglob("*") if path.is_file()} == written
    (landing / "deals.csv").write_text(DEALS + "3,Won,2024-03-04,30,South,\n")
    both = run()
    assert both[0].export.export_id == first.export.export_id
    assert len(both) == 2
    assert set(kept) < {path.name for path in (tmp_path / "lake/exports/files").iterdir()}


@pytest.fixture
def digested(monkeypatch) -> list[str]:
    """Names of the landed files that were read through for their digest."""
    found: list[str] = []

    keep = exports._keep

    def counted(path: Path, store: Path) -> str:
        found.append(path.name)
        return keep(path, store)

    monkeypatch.setattr(exports, "_keep", counted)
    return found


def test_a_landed_file_is_read_again_only_when_it_changed(landing: Path, run, digested: list[str], monkeypatch) -> None:
    """Each run is as one of a process of its own: what it knows of the files it finds in the lake."""
    monkeypatch.setattr(digests, "_SETTLED", -(10**12))
    deals = landing / "deals.csv"
    deals.write_text(DEALS)
    [first] = run()
    assert run() == [first]
    assert digested == ["deals.csv"]
    status = deals.stat()
    deals.write_text(DEALS.replace("North", "South"))
    os.utime(deals, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert deals.stat().st_size == status.st_size
    assert len(run()) == 2
    assert len(run()) == 2
    assert digested == ["deals.csv"] * 2
    # The same content and instants in another file of that name are another file.
    other = landing / "other"
    other.write_text(DEALS)
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    other.replace(deals)
    assert {one.export.export_id for one in run()} == {one.export.export_id for one in run()}
    assert digested == ["deals.csv"] * 3


def test_a_file_that_changes_while_it_is_read_is_refused_and_not_kept(
    landing: Path, run, tmp_path: Path, monkeypatch
) -> None:
    (landing / "deals.csv").write_text(DEALS)
    with monkeypatch.context() as patched:
        sizes = iter([10, 20])
        patched.setattr(exports, "_stamp", lambda _: next(sizes))
        with pytest.raises(InputRejected, match="still being written"):
            run()
    assert list((tmp_path / "lake/exports/files").iterdir()) == []
    [one] = run()
    [kept] = (tmp_path / "lake/exports/files").iterdir()
    assert kept.name == one.export.files[0].sha256 == file_sha256(kept)


def test_a_remembered_file_that_is_not_in_the_lake_is_put_there_as_it_was(
    landing: Path, run, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(digests, "_SETTLED", -(10**12))
    deals = landing / "deals.csv"
    deals.write_text(DEALS)
    [one] = run()
    lake = tmp_path / "lake"
    for path in (*(lake / "exports").glob("*.json"), *(lake / "exports/files").iterdir()):
        path.unlink()
    memory = json.loads((lake / "exports/.digests").read_text())
    [(name, known)] = memory.items()
    (lake / "exports/.digests").write_text(json.dumps({name: [*known[:-1], "0" * 64]}))
    with pytest.raises(InputRejected, match="still being written"):
        run()
    (lake / "exports/.digests").write_text(json.dumps(memory))
    assert run() == [one]


def test_a_file_that_changed_a_moment_ago_is_not_remembered(landing: Path, run, digested: list[str]) -> None:
    (landing / "deals.csv").write_text(DEALS)
    assert run() == run()
    assert digested == ["deals.csv"] * 2


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"x": 1}'])
def test_a_memory_of_digests_that_cannot_be_read_costs_time_alone(
    landing: Path, run, tmp_path: Path, text: str
) -> None:
    (landing / "deals.csv").write_text(DEALS)
    expected = run()
    (tmp_path / "lake/exports/.digests").write_text(text)
    assert run() == expected


def test_an_ingested_table_is_read_for_its_digest_only_where_none_was_noted(
    landing: Path, run, tmp_path: Path, monkeypatch
) -> None:
    (landing / "deals.csv").write_text(DEALS)
    [first] = run()
    refs = [first.ledger, *(part for parts in first.tables.values() for part in parts)]
    assert [ref.sha256 for ref in refs] == [file_sha256(Path(ref.path)) for ref in refs]
    with monkeypatch.context() as patched:
        patched.setattr(exports, "table_ref", lambda *_: pytest.fail("a table was read for its digest"))
        assert run() == [first]
    [step] = (tmp_path / "lake" / "ingested").glob("*/_step.json")
    facts = json.loads(step.read_text())
    del facts["written"]
    step.write_text(json.dumps(facts))
    [again] = run()
    assert (again.tables, again.ledger) == (first.tables, first.ledger)


def test_a_stated_instant_counts_as_recorded(landing: Path, run) -> None:
    """The user's word that everything before it is in the export: closings after the last creation are not cut off."""
    (landing / "deals.csv").write_text(DEALS)
    stated = run(table_mapping(exported_at="2024-03-01T00:00:00Z"))
    assert newest_recorded_instant(stated) == datetime(2024, 3, 1, tzinfo=UTC) - timedelta(microseconds=1)


def test_a_refused_export_is_not_kept(landing: Path, run) -> None:
    (landing / "deals.csv").write_text(DEALS.replace("Deal,", "Bargain,"))
    with pytest.raises(InputRejected, match="a mapped column is missing"):
        run()
    (landing / "deals.csv").write_text(DEALS)
    [one] = run()
    assert len(rows(one, "raw_opportunities")) == 2


def test_the_same_export_gives_the_same_bytes(landing: Path, engine, tmp_path: Path) -> None:
    (landing / "deals.csv").write_text(DEALS + "3\n")
    one, two = (collect(Lake(tmp_path / name), landing, table_mapping(), engine)[0] for name in ("a", "b"))
    assert one.ledger.sha256 == two.ledger.sha256
    assert {n: [p.sha256 for p in parts] for n, parts in one.tables.items()} == {
        n: [p.sha256 for p in parts] for n, parts in two.tables.items()
    }


def test_a_run_sees_the_exports_up_to_its_as_of(landing: Path, run) -> None:
    for day, folder in ((3, "a"), (5, "b")):
        (landing / folder).mkdir()
        (landing / folder / "deals.csv").write_text(f"Deal,Stage,Created,Value\n1,Won,2024-01-0{day},1\n")
    early, late = run()
    instant = early.export.exported_at
    assert visible([early, late], AsOf(instant)) == [early]
    assert visible([early, late], AsOf(instant - timedelta(microseconds=1))) == [early]
    assert visible([early, late], AsOf(late.export.exported_at + timedelta(days=1))) == [early, late]


def test_the_day_in_a_file_name_is_meant_whole(landing: Path, run) -> None:
    (landing / "deals-2024-02-28.csv").write_text(DEALS)
    [one] = run(table_mapping(exported_at="file_name", time_zone="Europe/Berlin"))
    assert one.export.exported_at == datetime(2024, 2, 28, 23, tzinfo=UTC)


def test_a_stated_instant_gives_way_to_what_is_recorded(landing: Path, run) -> None:
    (landing / "deals.csv").write_text(DEALS)
    [one] = run(table_mapping(exported_at="2024-01-15T00:00:00Z"))
    assert one.export.exported_at == datetime(2024, 2, 3, 4, 5, 6, 1, tzinfo=UTC)
    assert "later than its stated instant" in one.facts["warnings"][0]


@pytest.mark.parametrize(
    ("texts", "newest"),
    [
        (["2024-01-31", "2024-02-31"], datetime(2024, 1, 31)),
        (["03/04/2024", "2024-01-01T00:00:00Z"], datetime(2024, 3, 4)),
        (["2024-01-01T10:00:00+02:00", "2024-01-01 07:59:59"], datetime(2024, 1, 1, 8)),
        (["9999-12-31 23:59:59", "2024-01-01 7:00:00", "later"], datetime(2024, 1, 1, 7)),
    ],
)
def test_the_newest_instant_in_usual_notations(landing: Path, run, texts: list[str], newest: datetime) -> None:
    body = "".join(f"{number},Won,{text},1\n" for number, text in enumerate(texts))
    (landing / "deals.csv").write_text("Deal,Stage,Created,Value\n" + body)
    assert newest_recorded_instant(run()) == newest.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (
            "Deal,Stage,Created\n1,Won,2024-01-01\n",
            {},
            r"(?s)missing: opportunities.amount.*'Value'.*Deal, Stage, Created",
        ),
        ("Deal,Stage,Create,Value\n1,Won,2024-01-01,1\n", {}, r"did you mean 'Create'"),
        ("Deal^Stage^Created^Value\n1^Won^2024-01-01^1\n", {}, "none of the mapped columns"),
        ("Deal,Deal,Stage,Created,Value\n1,1,Won,2024-01-01,1\n", {}, "'Deal' 2 times"),
        ("", {}, "holds none"),
        ("Deal,Stage,Created,Value\n", {}, r"(?s)holds none.*header only"),
        ("Deal,Stage,Created,Value\n1,Won,soon,1\n", {}, "does not say when it was written"),
        (DEALS, {"exported_at": "file_name"}, "no file name says"),
        ("Deal,Stage,Created,Value\n" + "1,Won\n" * 30, {}, r"(?s)most records.*30 of 31.*too few fields"),
        (DEALS + "Größe,Won,x,1\n", {}, "encoding is not known"),
    ],
)
def test_what_cannot_be_read_says_why(landing: Path, run, text: str, changes: dict, message: str) -> None:
    (landing / "deals.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(InputRejected, match=message):
        run(table_mapping(**changes))


def test_an_export_without_opportunities_is_refused(landing: Path, run) -> None:
    (landing / "people.csv").write_text("a\n1\n")
    with pytest.raises(InputRejected, match=r"(?s)no file with opportunities.*DEALS\*.*people.csv"):
        run()


def test_an_unreadable_exported_at_is_a_configuration_error(landing: Path, run) -> None:
    (landing / "deals.csv").write_text(DEALS)
    with pytest.raises(ConfigurationError, match="exported_at"):
        run(table_mapping(exported_at="yesterday"))


def test_overlapping_files_are_told(landing: Path, run) -> None:
    (landing / "deals_1.csv").write_text(DEALS)
    (landing / "deals_2.csv").write_text(DEALS.replace("2,Select", "3,Won"))
    [one] = run()
    assert len(rows(one, "raw_opportunities")) == 4
    assert any("overlap: 1 records" in warning for warning in one.facts["warnings"])


def test_equal_files_are_read_once(landing: Path, run) -> None:
    for name in ("deals_a.csv", "deals_b.csv"):
        (landing / name).write_text(DEALS)
    [one] = run()
    assert len(rows(one, "raw_opportunities")) == 2
    assert "same bytes" in one.facts["warnings"][0]


def test_a_zip_with_several_tables_and_a_thousand_attributes(landing: Path, run) -> None:
    wide = (
        "Deal,Stage,Created,Value,"
        + ",".join(f"x{n}" for n in range(1_000))
        + "\n1,Won,2024-01-01,1,"
        + "7," * 999
        + "7\n"
    )
    with zipfile.ZipFile(landing / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deals.csv", wide)
    [one] = run()
    assert len(rows(one, "raw_opportunity_attributes")) == 1_000
    assert one.export.files[0].member == "deals.csv"
    assert one.export.files[0].name == "export.zip"


def test_text_is_normalised_and_the_outcome_column_taken(landing: Path, run) -> None:
    (landing / "deals.csv").write_text("DEAL , stage,Created,Value,Result,Note\n１,Ｗｏｎ,2024-01-01,1,lost,\u00a0\n")
    [one] = run(table_mapping(outcome=OutcomeRule(column="Result", won=("won",))))
    [row] = rows(one, "raw_opportunities")
    assert (row["opportunity_id"], row["stage"], row["outcome"]) == ("1", "Won", "lost")
    assert "raw_opportunity_attributes" in one.tables
    assert rows(one, "raw_opportunity_attributes") == []


def test_free_text_is_no_attribute(landing: Path, run) -> None:
    (landing / "deals.csv").write_text(f"Deal,Stage,Created,Value,Story\n1,Won,2024-01-01,1,{'word ' * 40}\n")
    [one] = run()
    assert one.facts["files"]["deals.csv"]["not_taken"] == {"Story": "free text: long on average"}


def test_a_mapping_of_an_unknown_table_or_column_is_refused() -> None:
    with pytest.raises(ValueError, match="no table 'deals'"):
        SourceMapping(tables={"deals": ()})
    with pytest.raises(ValueError, match="no column 'colour'"):
        SourceMapping(tables={"opportunities": TableMapping(files=("x",), columns={"colour": "c"})})
