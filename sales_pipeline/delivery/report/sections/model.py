"""How right the scores were: the reliability curve, the replay date by date, and the card's warnings. From the model card alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sales_pipeline.delivery.card_charts import dates_svg, reliability_svg
from sales_pipeline.delivery.report.blocks import (
    Block,
    Cell,
    Column,
    DataTable,
    Figure,
    Heading,
    Missing,
    Pair,
    Points,
    Section,
    Text,
    Tile,
    Tiles,
)
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.words import TEXTS, Words
from sales_pipeline.delivery.report.words.trust import CHART_WORDS
from sales_pipeline.delivery.svg import Look

ID = "model"


def model_section(inputs: ReportInputs, words: Words) -> Section:
    """The section; without a replay the untouched last window, without that the reason."""
    card = inputs.card
    proof, figures = card.get("proof"), card["figures"]["win"]
    blocks: list[Block] = []
    if figures is None:
        note = card["figures"]["note"] if words.language == "en" else words("model.why_none")
        blocks.append(Missing(words("model.none", note=note)))
    else:
        if proof and proof["win"]:
            counts = proof["counts"]
            dates = len(card["replay"]["dates"]) if card.get("replay") else counts["dates"]
            blocks.append(
                Text(
                    words("model.basis", dates=dates, first=counts["from"], last=counts["to"], end=proof["end"][:10]),
                    tone="soft",
                )
            )
        else:
            blocks.append(Text(words("model.no_replay"), tone="soft"))
        blocks.append(_tiles(figures, proof, words))
        charts = [block for block in (_curve(figures, proof, words), _dates(proof, words)) if block is not None]
        blocks += [Pair(charts)] if len(charts) > 1 else charts
    if card["limits"]:
        blocks.append(Heading(words.sentences(words("model.limits"), words("page.from_model"))))
        blocks.append(
            Points([Cell(sentence, lang="" if words.language == "en" else "en") for sentence in card["limits"]])
        )
    return Section(ID, words("model.title"), words("model.lead"), blocks)


def look(words: Words, description: str) -> Look:
    """How the card's charts are put on this page."""
    fixed = {key.removeprefix(CHART_WORDS): words(key) for key in TEXTS if key.startswith(CHART_WORDS)}
    return Look(is_inline=True, words=fixed, description=description)


def _tiles(figures: Mapping[str, Any], proof: Mapping[str, Any] | None, words: Words) -> Tiles:
    fmt = words.formats
    intervals = figures.get("intervals") or {}

    def between(name: str, places: int, otherwise: str) -> str:
        low, high = intervals.get(name) or (None, None)
        if low is None:
            return words(otherwise)
        return words("model.note_range", range=f"{fmt.number(low, places)}–{fmt.number(high, places)}")

    win = (proof or {}).get("win") or {}
    stage = win.get("stage_rate")
    note = words("model.note_stage", value=fmt.number(stage["log_loss"], 3)) if stage else words("model.note_lower")
    return Tiles(
        [
            Tile(words("model.tile_log_loss"), fmt.number(figures.get("log_loss"), 3), note),
            Tile(words("model.tile_auc"), fmt.number(figures.get("auc"), 3), between("auc", 3, "model.note_higher")),
            Tile(
                words("model.tile_error"),
                fmt.number(figures.get("calibration_error"), 3),
                between("calibration_error", 3, "model.note_lower"),
            ),
            Tile(
                words("model.tile_seen"),
                fmt.number(figures.get("observed_expected"), 2),
                between("observed_expected", 2, "model.note_one"),
            ),
        ]
    )


def _curve(figures: Mapping[str, Any], proof: Mapping[str, Any] | None, words: Words) -> Block | None:
    fmt = words.formats
    if proof and proof["win"]:
        tables: Mapping[str, Sequence[Mapping[str, Any]]] = proof["reliability"]
    else:
        tables = {"model": figures.get("calibration_table") or ()}
    rows = tables.get("model") or ()
    if not rows:
        return None
    worst = max(rows, key=lambda row: abs(row["predicted"] - row["won"]))
    title = words("model.curve")
    described = words("model.curve_desc", said=fmt.percent(worst["predicted"]), seen=fmt.percent(worst["won"]))
    data = DataTable(
        title,
        [Column(words(f"model.{name}")) for name in ("said", "won", "interval", "rows")],
        [
            [
                fmt.percent(row["predicted"]),
                fmt.percent(row["won"]),
                fmt.span(row.get("low"), row.get("high")),
                fmt.count(row.get("opportunities", row.get("rows"))),
            ]
            for row in rows
        ],
    )
    return Figure(reliability_svg(tables, title, look(words, described)), words("model.curve_caption"), data)


def _dates(proof: Mapping[str, Any] | None, words: Words) -> Block | None:
    if not (proof and proof["win"]):
        return None
    fmt = words.formats
    judged = [row for row in proof["dates"] if row.get("log_loss") is not None]
    if not judged:
        return None
    beside = [row for row in judged if row.get("stage_rate_log_loss") is not None]
    better = sum(row["log_loss"] < row["stage_rate_log_loss"] for row in beside)
    title = words("model.dates")
    data = DataTable(
        title,
        [
            Column(words("model.date"), "text"),
            *(
                Column(words(f"model.{name}"))
                for name in ("scored", "log_loss", "stage_rate", "base_rate", "crm", "said", "won")
            ),
        ],
        [
            [
                str(row["as_of"])[:10],
                fmt.count(row["scored"]),
                *(
                    fmt.number(row.get(name), 3)
                    for name in ("log_loss", "stage_rate_log_loss", "base_rate_log_loss", "crm_probability_log_loss")
                ),
                fmt.percent(row.get("predicted")),
                fmt.percent(row.get("win_rate")),
            ]
            for row in proof["dates"]
        ],
    )
    described = words("model.dates_desc", better=better, all=len(beside))
    return Figure(dates_svg(proof["dates"], title, look(words, described)), words("model.dates_caption"), data)
