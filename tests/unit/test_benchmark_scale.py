"""How the benchmarks' figures are put together: ratios, exponents, shares, aims, the page and its picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.aims import AIMS, BARE, SCORING, judge, markdown_table, text_table
from tests.benchmarks.bench import Figure
from tests.benchmarks.days import DATA, NAMES, OF_THE_CHAMPION, forget, shares
from tests.benchmarks.engines import ON_DUCKDB, ON_SPARK
from tests.benchmarks.lines import Line, Results, by_size, read_lines, take
from tests.benchmarks.scale import TOGETHER, counted_cpu, floor_cpu, growth, link_to_kept, pairs
from tests.benchmarks.scale_page import PAGE, chart, day_table, filled, scoring_table, stage_table

MILLION = 1_000_000


def _lines(size: int, factor: float, kind: str = "csv") -> list[Line]:
    stages = {"floor": 2.0, "ingest": 5.0, "clean": 6.0, "training features": 3.0, "floor again": 4.0}
    none = {"start": 0.0, "row ledger": 0.0}
    apart = {"start": 1.0, "row ledger": 0.5}
    return [
        Line(size, stage, 1.0, cpu * factor + (0.0 if stage.startswith("floor") else 1.5), 100.0, kind, none if stage.startswith("floor") else apart, 0.5, "a machine")
        for stage, cpu in stages.items()
    ]  # fmt: skip


def _days(size: int, full: float, unchanged: float, new: float) -> list[Line]:
    return [
        Line(size, part + name, 1.0, cpu, 100.0, parts={"clean": cpu / 2})
        for part in ("", DATA)
        for name, cpu in zip(NAMES, (full, unchanged, new), strict=True)
    ]


def test_start_and_ledger_are_no_part_of_the_work_and_the_floor_is_a_mean() -> None:
    lines = _lines(1000, 1.0)
    assert floor_cpu(lines) == 3.0
    assert counted_cpu(lines) == pytest.approx(14.0)


def test_the_exponent_of_linear_growth_is_one() -> None:
    found = growth(_lines(1000, 1.0), _lines(10_000, 10.0))
    assert found == pytest.approx(dict.fromkeys(found, 1.0))
    assert TOGETHER in found
    assert growth(_lines(1000, 1.0), _lines(10_000, 100.0))["clean"] == pytest.approx(2.0)


def test_growth_is_told_between_sizes_of_the_same_files_only() -> None:
    sizes = [(1000, "csv"), (10_000, "csv"), (10_000, "parquet"), (100_000, "parquet")]
    assert pairs(sizes) == [((1000, "csv"), (10_000, "csv")), ((10_000, "parquet"), (100_000, "parquet"))]


def test_no_exponent_is_told_between_sizes_measured_at_different_speeds_of_the_machine() -> None:
    assert "Exponent of growth in CPU from 1,000 to 10,000 (csv; 1 is linear): floor 1.00" in stage_table(
        [*_lines(1000, 1.0), *_lines(10_000, 10.0)]
    )
    slowed = stage_table([*_lines(1000, 1.0), *_lines(10_000, 30.0)])
    assert "No exponent from 1,000 to 10,000 (csv): the floor's, which is linear, came to 1.48" in slowed
    assert "Exponent of growth" not in slowed


def test_days_are_shares_of_the_full_run() -> None:
    found = shares(_days(1000, 200.0, 10.0, 50.0))
    assert found == {part + name: share for part in ("", DATA) for name, share in (("unchanged day", 0.05), ("new day", 0.25))}  # fmt: skip
    assert shares(_lines(1000, 1.0)) == {}


def test_what_was_measured_is_found_again_and_the_last_line_counts(tmp_path: Path) -> None:
    def measure(cpu: float) -> Figure:
        (tmp_path / "parts.json").write_text('{"start": 0.5}', encoding="utf-8")
        return Figure(1.0, cpu, 10.0)

    store = tmp_path / "kept" / "lines.jsonl"
    first = take(Results(store), 10, "csv", "clean", tmp_path, lambda: measure(2.0))
    assert (first.work, first.start) == (1.5, 0.5)
    assert take(Results(store), 10, "csv", "clean", tmp_path, lambda: measure(9.0), again=False).cpu == 2.0
    assert take(Results(store), 10, "csv", "clean", tmp_path, lambda: measure(3.0)).cpu == 3.0
    take(Results(store), 10, "parquet", "clean", tmp_path, lambda: measure(4.0), again=False)
    assert [line.cpu for line in read_lines([store])] == [3.0, 4.0]


def test_the_lakes_copy_takes_the_place_of_a_landed_file(tmp_path: Path) -> None:
    landing, kept = tmp_path / "landing", tmp_path / "files"
    for folder in (landing, kept):
        folder.mkdir()
    (landing / "a.csv").write_text("one", encoding="utf-8")
    (landing / "b.csv").write_text("two", encoding="utf-8")
    (kept / "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed").write_text("one", encoding="utf-8")
    link_to_kept(landing, kept)
    link_to_kept(landing, kept)
    assert [(path.name, path.is_symlink(), path.read_text()) for path in sorted(landing.iterdir())] == [("a.csv", True, "one"), ("b.csv", False, "two")]  # fmt: skip


def test_a_full_run_finds_a_champion_and_nothing_else(tmp_path: Path) -> None:
    for name in (*OF_THE_CHAMPION, "canonical", "runs"):
        (tmp_path / name).mkdir()
    (tmp_path / "CURRENT").write_text("x", encoding="utf-8")
    forget(tmp_path, but=OF_THE_CHAMPION)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(OF_THE_CHAMPION)


def test_an_aim_is_judged_at_its_own_size_only() -> None:
    small, large = _days(1000, 100.0, 1.0, 10.0), _days(MILLION, 100.0, 4.0, 21.0)
    before = {one.aim.name: one for one in judge([*_lines(1000, 1.0), *small])}
    unchanged = before["an unchanged day, rerun, against a full run, CPU"]
    assert (unchanged.size, unchanged.value, unchanged.reached) == (1000, 1.0, None)
    assert before["growth over ten times the rows: exponent of CPU"].value is None
    lines = [*small, *large, *_lines(MILLION, 1.0, "parquet"), *_lines(10 * MILLION, 20.0, "parquet")]
    after = {one.aim.name: one for one in judge(lines)}
    assert after["an unchanged day, rerun, against a full run, CPU"].reached is True
    assert after["a new day against a full run, CPU"].reached is False
    assert after["growth over ten times the rows: exponent of CPU"].reached is False
    assert after["growth over ten times the rows: peak memory"].reached is True
    rows = [
        Line(500, stage, 1.0, 1.0, 50.0, parts={"rows": 500, "seconds": seconds})
        for stage, seconds in ((SCORING, 2.0), (BARE, 1.8))
    ]
    assert [one.reached for one in judge(rows) if one.value is not None] == [True]
    engines = [Line(MILLION, stage, 1.0, cpu, 50.0) for stage, cpu in ((ON_DUCKDB, 10.0), (ON_SPARK, 40.0))]
    compared = {one.aim.name: one.value for one in judge([*engines, *_lines(MILLION, 1.0, "parquet")])}
    assert compared["Spark local[2] against DuckDB, CPU"] == pytest.approx(4.0)
    assert [one.aim for one in judge([])] == list(AIMS)
    text = text_table(judge(lines))
    assert "at most 20.0 %" in text
    assert "21.0 %" in text
    assert "not measured\n" in text
    assert markdown_table(judge(lines)).count("\n") == len(AIMS) + 1


def test_the_page_shows_every_stage_of_every_size_and_what_they_come_to() -> None:
    lines = [*_lines(1000, 1.0), *_lines(10_000, 10.0), *_days(1000, 100.0, 1.0, 10.0)]
    text = stage_table(lines)
    assert text.count("| 1,000 |") == text.count("| 10,000 |") == 5
    assert "1,000 (csv): ingest, clean, training features together 4.7 times the floor" in text
    assert "training features 1.00" in text
    speed = scoring_table([Line(500, SCORING, 1.0, 1.0, 50.0, parts={"rows": 500, "seconds": 0.25}), *lines])
    assert speed.endswith("| 500 | scoring | 2,000 | 50 |")
    days = day_table(lines)
    assert days.count("| 1,000 |") == 6
    assert "| new day | 1 | 10.0 | 10.0 % | 100 | clean 5.0 |" in days


def test_only_what_stands_between_marks_is_replaced() -> None:
    page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n<!-- y: begin -->\n<!-- y: end -->\n"
    assert filled(page, {"x": "new"}) == page.replace("old", "new")
    with pytest.raises(KeyError, match="z: begin"):
        filled(page, {"z": "new"})


def test_the_page_has_every_mark() -> None:
    filled(PAGE.read_text(encoding="utf-8"), {"aims": "", "figures": "", "days": "", "scoring": ""})


def test_the_picture_has_a_bar_for_every_stage_and_size() -> None:
    picture = chart([*_lines(1000, 1.0), *_lines(10_000, 20.0)])
    for text in ("1,000 opportunities, csv", "10,000 opportunities, csv", "training features"):
        assert text in picture
    assert len(by_size([*_lines(1000, 1.0), *_lines(10_000, 20.0)])) == 2
