"""How the scale benchmark's figures are put together: ratios, exponents, the table and its picture."""

from __future__ import annotations

import pytest

from tests.benchmarks.scale import Line, counted_cpu, floor_cpu, growth
from tests.benchmarks.scale_page import chart, table


def _lines(size: int, factor: float) -> list[Line]:
    stages = {"floor": 2.0, "ingest": 5.0, "clean": 6.0, "training features": 3.0, "floor again": 4.0}
    return [
        Line(size, stage, 1.0, cpu * factor + (0.0 if stage.startswith("floor") else 1.5), 0.0 if stage.startswith("floor") else 1.0, 0.0 if stage.startswith("floor") else 0.5, 100.0)
        for stage, cpu in stages.items()
    ]  # fmt: skip


def test_start_and_ledger_are_no_part_of_the_work_and_the_floor_is_a_mean() -> None:
    lines = _lines(1000, 1.0)
    assert floor_cpu(lines) == 3.0
    assert counted_cpu(lines) == pytest.approx(14.0)


def test_the_exponent_of_linear_growth_is_one() -> None:
    found = growth(_lines(1000, 1.0), _lines(10_000, 10.0))
    assert found == pytest.approx(dict.fromkeys(found, 1.0))
    assert growth(_lines(1000, 1.0), _lines(10_000, 100.0))["clean"] == pytest.approx(2.0)


def test_the_page_shows_every_stage_of_every_size_and_what_they_come_to() -> None:
    sizes = {1000: _lines(1000, 1.0), 10_000: _lines(10_000, 10.0)}
    text = table("a machine", sizes)
    assert text.count("| 1,000 |") == text.count("| 10,000 |") == 5
    assert "1,000: ingest, clean, training features together 4.7 times the floor" in text
    assert "training features 1.00" in text
    picture = chart(sizes)
    assert "10,000 opportunities" in picture
    assert "training features" in picture
