"""Fills docs/scale.md and its picture from the figures of a benchmark run, so that no figure there is typed by hand.

    python -m tests.benchmarks.scale --sizes 100000,1000000 --json scale.json
    python -m tests.benchmarks.scale_page scale.json

Belongs here: how the figures are shown. Does not belong here: measuring them (`scale`).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from sales_pipeline.delivery.palette import BLUE, GREY, ORANGE
from sales_pipeline.delivery.svg import Labels, Look, svg
from tests.benchmarks.scale import COUNTED, Line, counted_cpu, floor_cpu, growth

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
MARKS = ("<!-- figures: begin -->", "<!-- figures: end -->")


def table(machine: str, sizes: dict[int, list[Line]]) -> str:
    """The figures as Markdown."""
    text = [f"Measured on: {machine}.", ""]
    text += [
        "| opportunities | stage | wall s | CPU s | of it start | of it row ledger | the work | x floor | peak MB |"
    ]
    text += ["| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for size, lines in sizes.items():
        floor = floor_cpu(lines)
        for line in lines:
            cells = (f"{line.wall:.0f}", *(f"{cell:.1f}" for cell in (line.cpu, line.start, line.ledger, line.work)))
            text.append(
                f"| {size:,} | {line.stage} | {' | '.join(cells)} | {line.work / floor:.1f} | {line.peak_mb:.0f} |"
            )
    text.append("")
    for size, lines in sizes.items():
        if {line.stage for line in lines} >= set(COUNTED):
            ratio = counted_cpu(lines) / floor_cpu(lines)
            text.append(
                f"- {size:,}: {', '.join(COUNTED)} together {ratio:.1f} times the floor in CPU, without start, row ledger and validation."
            )
    for small, large in zip(list(sizes), list(sizes)[1:], strict=False):
        grown = ", ".join(f"{stage} {exponent:.2f}" for stage, exponent in growth(sizes[small], sizes[large]).items())
        text.append(f"- Exponent of growth in CPU from {small:,} to {large:,} (1 is linear): {grown}.")
    return "\n".join(text)


def chart(sizes: dict[int, list[Line]]) -> str:
    """CPU of each stage as a multiple of the floor, one bar per size."""
    shown = [line.stage for line in next(iter(sizes.values())) if not line.stage.startswith("floor")]

    def draw(figure: Any, labels: Labels) -> None:
        axes = figure.add_axes((0.24, 0.14, 0.72, 0.82))
        height = 0.8 / len(sizes)
        for number, (size, lines) in enumerate(sizes.items()):
            by_stage = {line.stage: line.work / floor_cpu(lines) for line in lines}
            places = [place + number * height - 0.4 + height / 2 for place in range(len(shown))]
            colour = (BLUE, ORANGE, GREY)[number % 3]
            axes.barh(
                places,
                [by_stage.get(stage, 0.0) for stage in shown],
                height=height,
                color=colour,
                label=labels(f"{size:,} opportunities"),
            )
        axes.axvline(1.0, color=GREY, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(shown)), [labels(stage) for stage in shown])
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(lambda value, _: labels(f"{value:g}"))
        axes.set_xlabel(labels("CPU seconds as a multiple of reading the files once (dashed)"))
        axes.legend()

    description = "Bars: CPU seconds of each stage divided by those of the floor, one colour for each size."
    return svg(
        draw,
        (8.0, 0.6 * len(shown) + 1.2),
        "scale",
        "CPU of each stage against the floor",
        Look(description=description),
    )


def main() -> None:
    """Fill the page."""
    found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sizes: dict[int, list[Line]] = {}
    for line in found["lines"]:
        sizes.setdefault(line["size"], []).append(Line(**line))
    before, after = (re.escape(mark) for mark in MARKS)
    filled = f"{MARKS[0]}\n{table(found['machine'], sizes)}\n{MARKS[1]}"
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{before}.*{after}", lambda _: filled, page, flags=re.DOTALL), encoding="utf-8")
    (PAGE.parent / "images" / "scale.svg").write_text(chart(sizes), encoding="utf-8")


if __name__ == "__main__":
    main()
