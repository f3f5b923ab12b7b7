"""A mapping guessed from files loads back and reads them; a check tells every problem at once and writes nothing."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from sales_pipeline.ingest.check import check
from sales_pipeline.ingest.guess import GuessedMapping, guess_mapping, render
from sales_pipeline.ingest.params import SourceMapping

DEALS = (
    "Deal ID;Sales Rep;Company;Product;Deal Stage;Create Date;Close Date;Amount;Region\n"
    "D1;Rep 1;Acme;GTX Pro;Closed Won;31.01.2024;15.03.2024;1.234,50;Select\n"
    "D2;Rep 2;Bolt;GTXPro;Closed Lost;01.02.2024;16.03.2024;99,00;North\n"
    "D3;Rep 1;Acme;GTX Basic;Talking;05.02.2024;;1.000,00;None\n"
)
PRODUCTS = "Product;Series;Price\nGTX Pro;GTX;1,5\nGTX Basic;GTX;2,5\n"


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    (tmp_path / "exports").mkdir()
    return tmp_path / "exports"


def loaded(guessed: GuessedMapping, landing: Path, tmp_path: Path) -> tuple[SourceMapping, dict, str]:
    text = render(guessed, landing, tmp_path / "pipeline.yaml")
    data = YAML(typ="safe").load(text)
    return SourceMapping(**data["mapping"]), data, text


def test_a_plain_table_is_guessed_with_reasons_and_questions(landing: Path, tmp_path: Path) -> None:
    (landing / "deals.csv").write_text(DEALS)
    (landing / "products.csv").write_text(PRODUCTS)
    guessed = guess_mapping(landing)
    mapping, data, text = loaded(guessed, landing, tmp_path)
    assert data["exports"] == "exports"
    assert mapping.dialect == "table"
    [deals] = mapping.tables["opportunities"]
    assert deals.columns == {
        "opportunity_id": "Deal ID", "stage": "Deal Stage", "account_id": "Company", "owner_id": "Sales Rep", "product_id": "Product",
        "amount": "Amount", "created_at": "Create Date", "closed_at": "Close Date", "crm_close_date": "Close Date",
    }  # fmt: skip
    assert (mapping.stages.won, mapping.stages.lost, mapping.stages.open) == (
        ("Closed Won",),
        ("Closed Lost",),
        ("Talking",),
    )
    assert (mapping.date_order, mapping.decimal, mapping.missing) == ("dmy", ",", ("Select",))
    assert mapping.synonyms == {"product_id": {"GTXPro": "GTX Pro"}}
    assert "# QUESTION: in which currency" in text
    assert "Rep 1" not in text
    assert all(f"QUESTION: {question}" in " ".join(text.replace("#", "").split()) for question in guessed.questions)
    assert [finding for finding in check(landing, mapping) if finding.level != "ok"] == []


def test_dates_that_prove_no_order_are_asked(landing: Path) -> None:
    (landing / "deals.csv").write_text("Deal ID,Stage,Created Date\n1,Won,03/04/2024\n2,Lost,05/06/2024\n")
    guessed = guess_mapping(landing)
    assert any("03/04/2024" in question for question in guessed.questions)


def test_an_outcome_of_zeros_and_ones(landing: Path, tmp_path: Path) -> None:
    (landing / "leads.csv").write_text("Lead Number,Converted,Score\n1,0,a\n2,1,b\n3,0,c\n")
    guessed = guess_mapping(landing)
    mapping, _, text = loaded(guessed, landing, tmp_path)
    assert mapping.outcome is not None
    assert (mapping.outcome.column, mapping.outcome.won, mapping.outcome.lost, mapping.kind) == (
        "Converted",
        ("1",),
        ("0",),
        "lead",
    )
    assert "nothing in the files says when they were written" in " ".join(text.replace("#", "").split())


def test_an_unknown_encoding_is_asked(landing: Path, tmp_path: Path) -> None:
    (landing / "deals.csv").write_bytes("Deal ID,Stage,Created Date\n1,Größe,2024-01-01\n".encode("cp1252"))
    guessed = guess_mapping(landing)
    mapping, _, _ = loaded(guessed, landing, tmp_path)
    assert mapping.encoding == "cp1252"
    assert any("encoding" in question for question in guessed.questions)


def test_salesforce_is_recognised(landing: Path, tmp_path: Path) -> None:
    (landing / "Opportunity.csv").write_text(
        "Id,StageName,CloseDate,CreatedDate,IsWon\n1,Won,2024-01-01,2024-01-01,1\n"
    )
    (landing / "Account.csv").write_text("Id,Name\n1,a\n")
    mapping, _, text = loaded(guess_mapping(landing), landing, tmp_path)
    assert mapping.dialect == "salesforce"
    assert "what is won is told by 'IsWon'" in text


def test_check_tells_all_problems_at_once_and_writes_nothing(landing: Path) -> None:
    (landing / "deals.csv").write_text("Deal,Phase\n1,Won\n2\n")
    (landing / "accounts.csv").write_text("Name\na\n")
    (landing / "bad.xlsx").write_bytes(b"no workbook")
    mapping = SourceMapping(
        tables={
            "opportunities": {"files": ["deals.csv"], "columns": {"opportunity_id": "Deal", "stage": "Stage"}},
            "accounts": {"files": ["accounts.csv"], "columns": {"account_id": "Id"}},
            "owners": {"files": ["bad.xlsx"], "columns": {"owner_id": "Id"}},
        }
    )
    before = sorted(landing.rglob("*"))
    errors = [finding.message for finding in check(landing, mapping) if finding.level == "error"]
    assert len(errors) == 3
    assert any("opportunities.stage" in error for error in errors)
    assert any("accounts.account_id" in error for error in errors)
    assert any("workbook" in error for error in errors)
    assert sorted(landing.rglob("*")) == before


def test_check_warns_of_what_would_be_left_out(landing: Path) -> None:
    (landing / "deals.csv").write_text("Deal,Stage,Created\n1,Won,2024-01-01\n2,Odd,2024-01-01\n3\n")
    (landing / "else.csv").write_text("a\n1\n")
    mapping = SourceMapping(
        tables={
            "opportunities": {
                "files": ["deals.csv"],
                "columns": {"opportunity_id": "Deal", "stage": "Stage", "created_at": "Created"},
            }
        },
        stages={"won": ["won"]},
    )
    warnings = " | ".join(finding.message for finding in check(landing, mapping) if finding.level == "warning")
    assert "1 records would be quarantined (line 4: too few fields)" in warnings
    assert "stages the mapping does not name: Odd" in warnings
    assert "else.csv" in warnings


def test_check_asks_for_what_says_won(landing: Path) -> None:
    (landing / "deals.csv").write_text("Deal,Created\n1,2024-01-01\n")
    mapping = SourceMapping(
        tables={
            "opportunities": {"files": ["deals.csv"], "columns": {"opportunity_id": "Deal", "created_at": "Created"}}
        }
    )
    assert any("nothing says which opportunities were won" in finding.message for finding in check(landing, mapping))


def test_check_of_an_empty_folder(landing: Path) -> None:
    [finding] = check(landing, SourceMapping())
    assert finding.level == "error"
