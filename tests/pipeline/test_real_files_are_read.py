"""The real exports beside the project: every record of every file has its place, and the tables hold what the files hold."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from sales_pipeline.engines.duckdb import DuckDBEngine
from sales_pipeline.ingest.exports import IngestedExport, collect
from sales_pipeline.ingest.guess import guess_mapping, render
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.lake.layout import Lake

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
MAPPINGS = ROOT / "tests" / "mappings"
ACCEPTED = {
    "maven_crm": {"raw_opportunities": 8_800, "raw_accounts": 85, "raw_products": 7, "raw_owners": 35},
    "ibm_sales_win_loss": {"raw_opportunities": 78_025},
    "x_education": {"raw_opportunities": 9_240},
    "sf_dataloader_samples": {"raw_opportunities": 38, "raw_accounts": 423},
    "sf_fivetran_seeds": {
        "raw_opportunities": 11,
        "raw_state_history": 10,
        "raw_activities": 20,
        "raw_opportunity_products": 10,
    },
    "hubspot_fivetran_seeds": {
        "raw_opportunities": 44,
        "raw_state_history": 14,
        "raw_field_history": 100,
        "raw_activities": 106,
    },
    "enpal_pipedrive": {
        "raw_opportunities": 1_995,
        "raw_field_history": 15_406,
        "raw_activities": 4_579,
        "raw_owners": 1_787,
    },
}

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real data, ../shared/data, is not there")


def mapping_of(name: str) -> SourceMapping:
    data = YAML(typ="safe").load((MAPPINGS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert (MAPPINGS / data["exports"]).resolve() == (DATA / name).resolve()
    return SourceMapping(**data["mapping"])


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory):
    """Each data set ingested once, by its name."""
    known: dict[str, IngestedExport] = {}
    with DuckDBEngine() as engine:

        def of(name: str) -> IngestedExport:
            if name not in known:
                [known[name]] = collect(Lake(tmp_path_factory.mktemp(name)), DATA / name, mapping_of(name), engine)
            return known[name]

        yield of


def records_by_the_standard_library(path: Path) -> int:
    """Records of a well-formed CSV file as Python's own reader counts them, and blank lines."""
    data = path.read_bytes()
    if data[:2] in (b"\xfe\xff", b"\xff\xfe"):
        unit = "utf-32" if data[2:8].count(0) >= 4 else "utf-16"
        order = (
            ("-le" if data[3:6] == b"\0\0\0" else "-be")
            if unit == "utf-32"
            else ("-le" if data[:2] == b"\xff\xfe" else "-be")
        )
        text = data[2:].decode(unit + order)
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252")
    return sum(1 for _ in csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_every_record_of_every_file_is_accounted_for(name: str, ingested) -> None:
    one = ingested(name)
    ledger = pq.read_table(one.ledger.path)
    counts = dict(zip(*ledger.group_by("file").aggregate([("line", "count")]).to_pydict().values(), strict=True))
    twins = {warning.split(" has the same bytes")[0] for warning in one.facts["warnings"] if "same bytes" in warning}
    for path in sorted((DATA / name).glob("*.csv")):
        if path.name not in twins:
            assert counts.pop(path.name) == records_by_the_standard_library(path), path.name
    assert all(not file.endswith(".csv") for file in counts)
    quarantined = ledger.filter(pc.equal(ledger["outcome"], "quarantined"))
    assert quarantined.num_rows == 0


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_the_tables_hold_what_the_files_hold(name: str, ingested) -> None:
    tables = ingested(name).tables
    found = {table: sum(part.rows for part in tables[table]) for table in ACCEPTED[name]}
    assert found == ACCEPTED[name]


def values(one: IngestedExport, attribute: str) -> dict[str, int]:
    table = pq.read_table(one.tables["raw_opportunity_attributes"][0].path)
    held = table.filter(pc.equal(table["attribute"], attribute))
    return dict(zip(*held.group_by("value").aggregate([("source_record", "count")]).to_pydict().values(), strict=True))


def test_the_text_none_is_a_value(ingested) -> None:
    assert values(ingested("ibm_sales_win_loss"), "Competitor Type")["None"] == 9_257


def test_select_is_missing(ingested) -> None:
    assert "Select" not in values(ingested("x_education"), "City")


def test_a_utf32_file_with_the_wrong_mark_is_read(ingested) -> None:
    files = ingested("sf_dataloader_samples").facts["files"]
    marked = {name: facts["encoding"] for name, facts in files.items() if "_BOM_" in name}
    assert set(marked.values()) == {"utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"}
    assert all(files[name]["records"] == 3 for name in marked)


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("maven_crm", "table"),
        ("x_education", "table"),
        ("sf_fivetran_seeds", "salesforce"),
        ("hubspot_fivetran_seeds", "hubspot"),
        ("enpal_pipedrive", "pipedrive"),
    ],
)
def test_a_guessed_mapping_loads_back(name: str, dialect: str, tmp_path: Path) -> None:
    guessed = guess_mapping(DATA / name)
    text = render(guessed, DATA / name, tmp_path / "pipeline.yaml")
    mapping = SourceMapping(**YAML(typ="safe").load(text)["mapping"])
    assert mapping.dialect == dialect == guessed.dialect


def test_the_guess_for_maven_is_the_mapping_kept_for_it() -> None:
    guessed, kept = SourceMapping(**guess_mapping(DATA / "maven_crm").mapping), mapping_of("maven_crm")
    assert {name: [part.columns for part in parts] for name, parts in guessed.tables.items()} == {
        name: [part.columns for part in parts] for name, parts in kept.tables.items()
    }
    assert guessed.exported_at == kept.exported_at
    assert guessed.synonyms["product_id"] == kept.synonyms["product_id"]
