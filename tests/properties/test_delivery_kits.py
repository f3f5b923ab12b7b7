"""Whatever rows come: each is in the kit, unchanged, or left out with a reason; what is delivered is what the state then holds."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sales_pipeline.delivery.kit import Kit
from sales_pipeline.delivery.kits.build import build_rollback
from sales_pipeline.delivery.results.sent import sent_keys
from sales_pipeline.delivery.results.tables import results_table
from sales_pipeline.delivery.state.settle import confirm_all, settle
from sales_pipeline.delivery.state.store import read_state
from sales_pipeline.delivery.targets.spec import TargetSpec
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from tests.support.kit_runs import kit_of, mapping, publish_rows, reason, scored_row

FORMULA = re.compile("[=+\\-@\t\r\0＝＋－＠]")
KEYS = st.sampled_from(["a", "b", "c", "d", "A,b", 'q"q', "", "=1", "＠x", "é", "\tx"])
TEXTS = st.sampled_from([None, "Fine", "x, y", 'say "no"', "=1+1", "two\nlines", "＋1", "-", " ", "x" * 41, "万"])


@st.composite
def days(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = draw(
        st.lists(
            st.tuples(
                KEYS,
                st.sampled_from(["crm", "other"]),
                st.sampled_from([None, 0.0, 0.00004, 0.25, 0.5, 1.0]),
                TEXTS,
                st.sampled_from([None, date(2026, 9, 1)]),
            ),
            max_size=8,
            unique_by=lambda row: row[:2],
        )
    )
    return [
        scored_row(
            key, probability, source_system=source, reasons_up=reason(words) if words is not None else [],
            predicted_close_date=closes,
        )
        for key, source, probability, words, closes in rows
    ]  # fmt: skip


def specs() -> st.SearchStrategy[TargetSpec]:
    blanks = st.sampled_from([("ignored", "#N/A"), ("ignored", None), ("clears", None), ("unknown", None)])
    return st.builds(spec_of, blanks, st.sampled_from([None, 2]), st.sampled_from(["\n", "\r\n"]), st.booleans())


def spec_of(blank: tuple[str, str | None], most: int | None, line_end: str, has_bom: bool) -> TargetSpec:
    spec = mapping(blank=blank[0], clear=blank[1], format={"max_rows": most, "line_end": line_end, "has_bom": has_bom})
    fields = [*spec.objects[0].fields, spec.objects[0].fields[2].model_copy(update=ENDS)]
    return spec.model_copy(update={"objects": (spec.objects[0].model_copy(update={"fields": tuple(fields)}),)})


ENDS = {"field": "ends", "column": "predicted_close_date", "notation": "date", "is_compared": True}


def written(kit: Kit) -> list[dict[str, str]]:
    """Every row of every file, read by a plain CSV reader."""
    found = []
    for part in kit.parcel.parts:
        handle = io.StringIO(kit.parcel.path(part).read_text(encoding="utf-8-sig"), newline="")
        found += [dict(row) for row in csv.DictReader(handle)]
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(days(), min_size=1, max_size=3), specs())
def test_every_row_is_in_the_kit_or_unchanged_or_left_out_with_a_reason(runs: list[Any], spec: TargetSpec) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        for number, rows in enumerate(runs):
            kit = kit_of(lake, publish_rows(lake, f"run-{number}", rows), spec)
            facts, cells = kit.objects[0], written(kit)
            of_kit = pq.read_table(kit.folder / "rows" / "scores.parquet", columns=["key", "change"]).to_pylist()
            cleared = {row["key"] for row in of_kit if row["change"] == "cleared"}
            silent = {row["opportunity_id"].strip() for row in rows if row["win_probability"] is None}
            assert len(cleared) == facts.cleared
            assert cleared <= silent
            assert not cleared or spec.can_clear
            assert facts.source_rows == len(rows)
            assert facts.new + facts.changed + facts.unchanged + facts.cleared + facts.not_delivered == len(rows)
            assert len(cells) == facts.new + facts.changed + facts.cleared == kit.rows
            assert max(Counter(row["id"] for row in cells).values(), default=1) == 1
            for row in cells:
                assert row["id"]
                assert (row["win"] in ("", "#N/A")) == (row["id"] in cleared)
                assert not FORMULA.match(row["id"])
                assert not FORMULA.match(row.get("reason", ""))
                assert all(row.values()) or spec.blank != "unknown"
            confirm_all(lake, "crm", kit.folder)
            again = kit_of(lake, publish_rows(lake, f"run-{number}", rows), spec)
            assert again.rows == 0
            assert again.objects[0].unchanged == facts.new + facts.changed + facts.unchanged


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(["succeeded", "failed", "unprocessed", "unknown"])), max_size=12
    )
)
def test_the_order_and_number_of_answers_do_not_matter(answers: list[tuple[int, str]]) -> None:
    ends = []
    for order in (answers, list(reversed(answers)), answers + answers):
        with tempfile.TemporaryDirectory() as folder:
            lake = Lake(Path(folder))
            kit = kit_of(
                lake, publish_rows(lake, "run-1", [scored_row(f"k{number}") for number in range(6)]), mapping()
            )
            for number, outcome in order:
                settle(lake, "crm", kit.folder, results_table(kit.parcel.parts[0], [f"k{number}"], outcome))
            state = read_state(lake, "crm")
            kept = state.results_of(kit.parcel.delivery_id)
            outcomes = dict(zip(kept["key"].to_pylist(), kept["outcome"].to_pylist(), strict=True)) if kept else {}
            ends.append((state.state_id, outcomes))
            held = set(state.held("scores")["key"].to_pylist())
            assert held == {key for key, outcome in outcomes.items() if outcome == "succeeded"}
    assert ends[0] == ends[1] == ends[2]


OUTCOMES = st.lists(st.sampled_from(["succeeded", "failed", "unprocessed", "unknown"]), min_size=8, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(days(), days(), OUTCOMES, st.sampled_from([("ignored", "#N/A"), ("clears", None)]))
def test_a_rollback_returns_what_succeeded_and_nothing_else(
    first: list[Any], second: list[Any], outcomes: list[str], blank: tuple[str, str | None]
) -> None:
    spec = spec_of(blank, None, "\n", False)
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        confirm_all(lake, "crm", kit_of(lake, publish_rows(lake, "run-1", first), spec).folder)
        start = read_state(lake, "crm").state_id
        kit = kit_of(lake, publish_rows(lake, "run-2", second), spec)
        rows = [row["id"] for row in written(kit)]
        for key, outcome in zip(rows, outcomes, strict=False):
            part = next(part for part in kit.parcel.parts if key in sent_keys(kit.parcel, part))
            settle(lake, "crm", kit.folder, results_table(part, [key], outcome))
        taken = {key for key, outcome in zip(rows, outcomes, strict=False) if outcome == "succeeded"}
        if not taken:
            with pytest.raises(ConfigurationError):
                build_rollback(lake, "crm", kit.folder)
            return
        back = build_rollback(lake, "crm", kit.folder)
        assert {row["id"] for row in written(back)} == taken
        confirm_all(lake, "crm", back.folder)
        assert read_state(lake, "crm").state_id == start
