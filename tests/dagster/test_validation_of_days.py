"""Verdicts are kept with the tables they are about, and those of a new day go on from the day before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dagster_project.validation import validated
from sales_pipeline.clean import validate
from sales_pipeline.clean.prepare import Canonical
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.tables import TableRef
from tests.support.histories import write_rows

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
"""Great Expectations' own imports warn; nothing of ours is silenced by it."""


def _canonical(folder: Path, numbers: range) -> Canonical:
    rows = [{"opportunity_id": f"o{number}", "stage": "New"} for number in numbers]
    tables = write_rows(folder, {"opportunities": rows}).tables
    figures: dict[str, dict[str, float]] = {
        name: {"row_count": ref.rows, "duplicate_key_count": 0} for name, ref in tables.items()
    }
    figures["opportunities"] |= {
        "closed_count": 0,
        "open_count": len(rows),
        "orphan_account_share": 0.0,
        "quarantined_share": 0.0,
    }
    figures["activities"] |= {"unknown_opportunity_count": 0, "logged_before_happening_share": 0.0}
    figures["opportunity_changes"] |= {
        "unknown_opportunity_count": 0,
        "no_creation_share": 0.0,
        "changed_before_creation_count": 0,
    }
    figures["opportunity_attributes"] |= {"attribute_count": 0, "mistyped_count": 0}
    return Canonical(folder.name, folder, tables, tables["quotas"], tables["quotas"], (), {"tables": figures})


def test_a_new_day_is_judged_by_its_rows_as_if_by_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path / "lake")
    first = _canonical(tmp_path / "first", range(1, 4))
    whole = _canonical(tmp_path / "second", range(1, 6))
    onto = replace(whole, base="first", came=_canonical(tmp_path / "came", range(4, 6)).tables)
    expected, _ = validated(Lake(tmp_path / "other"), whole)
    validated(lake, first)
    looked_at: list[str] = []
    frames = validate._frames

    def noted(ref: TableRef, *given: object) -> object:
        looked_at.append(Path(ref.path).parent.name)
        return frames(ref, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(validate, "_frames", noted)
    found, docs = validated(lake, onto)
    assert found == expected
    assert set(looked_at) == {"came"}
    assert (docs / "index.html").is_file()
