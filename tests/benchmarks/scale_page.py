"""Fills docs/scale.md and its picture from measured lines, so that no figure there is typed by hand.

    python -m tests.benchmarks.scale --sizes 100000,1000000 --days --results scale.jsonl
    python -m tests.benchmarks.scale_page scale.jsonl [FILE …]

Belongs here: how the figures are shown. Does not belong here: measuring them (`scale`, `days`), the aims (`aims`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sales_pipeline.delivery.palette import BLUE, GREY, ORANGE
from sales_pipeline.delivery.svg import Labels, Look, svg
from tests.benchmarks.aims import SCORING, judge, markdown_table
from tests.benchmarks.bench import STAGES
from tests.benchmarks.days import DATA, NAMES, shares
from tests.benchmarks.lines import Line, by_size, read_lines
from tests.benchmarks.scale import COUNTED, counted_cpu, floor_cpu, growth, is_whole, pairs
from tests.benchmarks.scale_peers import PEERS

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
OF_STAGES = ("floor", *STAGES, "floor again", *PEERS)
OF_DAYS = tuple(part + name for part in ("", DATA) for name in NAMES)
LINEAR_AT_MOST = 1.2
"""The floor reads every file once: where its exponent of growth is more, the sizes were measured at different speeds of the machine."""


def machines(lines: Iterable[Line]) -> str:
    """Where and how undisturbed the lines were measured."""
    found = list(lines)
    loads = [line.load for line in found]
    return f"Measured on: {'; '.join(sorted({line.machine for line in found}))}; load average {min(loads):.0f} to {max(loads):.0f} before a stage."


def stage_table(lines: Iterable[Line]) -> str:
    """Stages and peers by size, and what they come to together."""
    sizes = {key: found for key, found in by_size(lines).items() if any(line.stage == "floor" for line in found)}
    text = [
        "| opportunities | files | stage | wall s | CPU s | of it start | of it row ledger | the work | x floor | peak MB | disk GB |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (size, kind), found in sizes.items():
        floor = floor_cpu(found)
        for line in (line for line in found if line.stage in OF_STAGES):
            cells = (f"{line.wall:.0f}", *(f"{cell:.1f}" for cell in (line.cpu, line.start, line.ledger, line.work, line.work / floor)))  # fmt: skip
            text.append(f"| {size:,} | {kind} | {line.stage} | {' | '.join(cells)} | {line.peak_mb:.0f} | {line.disk_gb:.1f} |")  # fmt: skip
    text.append("")
    for (size, kind), found in sizes.items():
        if is_whole(found):
            text.append(
                f"- {size:,} ({kind}): {', '.join(COUNTED)} together {counted_cpu(found) / floor_cpu(found):.1f} times the floor in CPU, "
                "without start, row ledger and validation."
            )
    for small, large in pairs(sizes):
        found = growth(sizes[small], sizes[large])
        between = f"{small[0]:,} to {large[0]:,} ({small[1]}"
        if found.get("floor", 1.0) > LINEAR_AT_MOST:
            text.append(f"- No exponent from {between}): the floor's, which is linear, came to {found['floor']:.2f}, so the machine was slower at the larger size.")  # fmt: skip
            continue
        grown = ", ".join(f"{stage} {exponent:.2f}" for stage, exponent in found.items() if stage not in (*OF_DAYS, "export"))  # fmt: skip
        text.append(f"- Exponent of growth in CPU from {between}; 1 is linear): {grown}.")
    return "\n".join(text)


def day_table(lines: Iterable[Line]) -> str:
    """Whole runs and data stages by size: all of it, an unchanged day, a new day."""
    text = [
        "| opportunities | files | run | wall s | CPU s | of a full one | peak MB | CPU s by stage |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for (size, kind), found in by_size(lines).items():
        known = shares(found)
        for line in (line for line in found if line.stage in OF_DAYS):
            share = f"{100 * known[line.stage]:.1f} %" if line.stage in known else ""
            parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in line.parts.items())
            text.append(f"| {size:,} | {kind} | {line.stage} | {line.wall:.0f} | {line.cpu:.1f} | {share} | {line.peak_mb:.0f} | {parts} |")  # fmt: skip
    return "\n".join(text)


def scoring_table(lines: Iterable[Line]) -> str:
    """Rows per CPU second of scoring, of bare prediction, and of what else was measured that way."""
    text = ["| rows | way | rows per CPU s | peak MB |", "| ---: | --- | ---: | ---: |"]
    text += [
        f"| {line.size:,} | {line.stage} | {line.parts['rows'] / line.parts['seconds']:,.0f} | {line.peak_mb:.0f} |"
        for line in lines
        if line.parts.keys() >= {"rows", "seconds"}
    ]
    return "\n".join(text)


def chart(lines: Iterable[Line]) -> str:
    """CPU of each stage as a multiple of the floor, one bar per size."""
    sizes = {key: found for key, found in by_size(lines).items() if is_whole(found)}
    met = {line.stage for found in sizes.values() for line in found}
    shown = [stage for stage in (*STAGES, *PEERS) if stage in met]

    def draw(figure: Any, labels: Labels) -> None:
        axes = figure.add_axes((0.24, 0.14, 0.72, 0.82))
        height = 0.8 / len(sizes)
        for number, ((size, kind), found) in enumerate(sizes.items()):
            by_stage = {line.stage: line.work / floor_cpu(found) for line in found}
            places = [place + number * height - 0.4 + height / 2 for place in range(len(shown))]
            axes.barh(
                places, [by_stage.get(stage, 0.0) for stage in shown], height=height, color=(BLUE, ORANGE, GREY)[number % 3],
                label=labels(f"{size:,} opportunities, {kind}"), alpha=1.0 if number < 3 else 0.5,
            )  # fmt: skip
        axes.axvline(1.0, color=GREY, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(shown)), [labels(stage) for stage in shown])
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(lambda value, _: labels(f"{value:g}"))
        axes.set_xlabel(labels("CPU seconds as a multiple of reading the files once (dashed)"))
        axes.legend()

    description = "Bars: CPU seconds of each stage divided by those of the floor, one colour for each size."
    look = Look(description=description)
    return svg(draw, (8.0, 0.6 * len(shown) + 1.2), "scale", "CPU of each stage against the floor", look)


def filled(page: str, parts: dict[str, str]) -> str:
    """The page with what stands between each part's marks replaced. Raises KeyError where a mark is missing."""
    for name, text in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        if begin not in page or end not in page:
            raise KeyError(f"{begin} … {end}")
        whole = f"{begin}\n{text}\n{end}"
        page = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, whole=whole: whole, page, flags=re.DOTALL)
    return page


def main() -> None:
    """Fill the page: what the lines say nothing about is left as it stands."""
    lines = read_lines(Path(name) for name in sys.argv[1:])
    parts = {"aims": markdown_table(judge(lines))}
    if any(is_whole(found) for found in by_size(lines).values()):
        parts["figures"] = f"{machines(lines)}\n\n{stage_table(lines)}"
        (PAGE.parent / "images" / "scale.svg").write_text(chart(lines), encoding="utf-8")
    if any(line.stage in OF_DAYS for line in lines):
        parts["days"] = day_table(lines)
    if any(line.stage == SCORING for line in lines):
        parts["scoring"] = scoring_table(lines)
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), parts), encoding="utf-8")


if __name__ == "__main__":
    main()
