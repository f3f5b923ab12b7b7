"""Fill docs/scores.md and its pictures from a real run: `python -m tests.support.scores_page -c data/pipeline.yaml`.

Only what stands between the markers is replaced; the words around it are written by hand.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dagster_project.cards import write_card
from sales_pipeline.delivery.card_charts import dates_svg, reliability_svg, segments_svg
from sales_pipeline.lake.layout import Lake
from sales_pipeline.models.proof_text import dates_table, text_table
from sales_pipeline.settings import load_settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "scores.md"


def fill(page: str, parts: Mapping[str, str]) -> str:
    """The page with each part between its markers `<!-- name -->` and `<!-- /name -->`; KeyError where a marker is missing."""
    for name, text in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        if not pattern.search(page):
            raise KeyError(f"no markers {name} on the page")
        page = pattern.sub(lambda match, text=text: f"{match[1]}{text.rstrip()}\n{match[2]}", page)
    return page


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """A table."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(column.replace("_", " ") for column in columns) + " |"]
    lines.append("| " + " | ".join("---" if number == 0 else "---:" for number in range(len(columns))) + " |")
    lines += ["| " + " | ".join(row[column] for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def parts_of(card: Mapping[str, Any]) -> dict[str, str]:
    """What the page shows of a card with a proof."""
    proof = card["proof"]
    amount, close, slip = proof["amount"], proof["close_date"], proof["slip"]
    lines = []
    if amount and amount["interval"]:
        lines.append(
            f"- 80 % intervals of the amount covered {amount['interval']['covered_share']:.1%} of {amount['rows']:,} won rows."
        )
    if amount and amount["crm"]:
        lines.append(
            f"- The amount is off by {amount['crm']['model_log_mae']:.3f} in logarithms, the CRM's own by {amount['crm']['log_mae']:.3f} on the same rows: "
            f"{amount['crm']['verdict']}."
        )
    if close and close["interval"]:
        lines.append(
            f"- 80 % intervals of the close date covered {close['interval']['covered_share']:.1%} of {close['interval']['rows']:,} rows, each as far as it has been watched."
        )
    if close and close["crm"]:
        lines.append(
            f"- Half of the closing days lie within {close['crm']['model_median_absolute_days']:.0f} days of the predicted one, within "
            f"{close['crm']['median_absolute_days']:.0f} of the CRM's: {close['crm']['verdict']}."
        )
    if slip:
        lines.append(
            f"- Slips past the CRM's close date: said {slip['predicted']:.1%}, seen {slip['slipped_share']:.1%} of {slip['rows']:,} rows."
        )
    return {
        "figures": f"{card['figures']['note']}\n\n{markdown(text_table(proof))}",
        "dates": markdown(dates_table(proof)),
        "values": "\n".join(lines),
        "limits": "\n".join(f"- {sentence}" for sentence in card["limits"]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-c", "--config", type=Path, default=Path("data/pipeline.yaml"))
    parser.add_argument("--lake", type=Path)
    arguments = parser.parse_args()
    settings = load_settings(arguments.config, {"lake": arguments.lake.resolve()} if arguments.lake else {})
    card = write_card(Lake(settings.lake), settings.training, None, progress=lambda line: print(line, file=sys.stderr))
    if not card["proof"] or not card["proof"]["win"]:
        print("there is no replay to show: run `sales-pipeline replay` first", file=sys.stderr)
        return 2
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), parts_of(card)), encoding="utf-8")
    pictures = {
        "reliability.svg": reliability_svg(card["proof"]["reliability"]),
        "replay_dates.svg": dates_svg(card["proof"]["dates"]),
        "replay_segments.svg": segments_svg(card["proof"]["segments"]),
    }
    for name, text in pictures.items():
        (DOCS / "images" / name).write_text(text, encoding="utf-8")
        print(f"written: docs/images/{name}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
