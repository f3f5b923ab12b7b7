"""The model card as a page: one HTML file without outside resources, for the screen and for paper.

Belongs here: how a card's figures are worded and laid out. Does not belong here: figures (models), pictures (`card_charts`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sales_pipeline.delivery.card_charts import dates_svg, reliability_svg, segments_svg
from sales_pipeline.models.proof_text import NAMES, count, dates_table, decimals, seen, text_table

TEMPLATE = "card_page.html.j2"
NARROW = "\u202f"
"""A narrow space at which lines do not break, before the percent sign."""
WIN_COLUMNS = ("log_loss", "brier", "auc", "calibration_error")
AMOUNT_COLUMNS = ("log_mse", "mae", "rmse", "r2")


def card_page(card: Mapping[str, Any]) -> str:
    """The page of a model card (`models.model_card`); the same card gives the same bytes. All text of the card is escaped."""
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
    )
    proof = card["proof"]
    win = proof["win"] if proof else None
    shares = [row["share"] for row in card["features"] if row["share"] is not None]
    chosen = {row["column"] for row in card["features"]}
    rules = card["tree_rules"] or [{}]
    return environment.get_template(TEMPLATE).render(
        card=card,
        proof=proof,
        tiles=_tiles(card),
        reliability=Markup(reliability_svg(proof["reliability"])) if win else "",
        dates_chart=Markup(dates_svg(proof["dates"])) if win else "",
        segments_chart=Markup(segments_svg(proof["segments"])) if win else "",
        compared=text_table(proof) if win else [],
        replayed=dates_table(proof) if win else [],
        horizons=[{"name": f"{key.removesuffix('d')} days", **row} for key, row in proof["horizons"].items() if row]
        if proof
        else [],
        values=_values(proof) if proof else [],
        has_importance=bool(shares),
        largest_share=max(shares, default=1.0) or 1.0,
        dropped=", ".join(row["column"] for row in card["selection_stability"] if row["column"] not in chosen),
        rule_columns=list(rules[0]),
        candidates=_candidates(card),
        data=_data(card),
        cell=cell,
        day=lambda text: str(text)[:10],
        count=count,
        percent=percent,
        percent1=lambda value: percent(value, 1),
        seen=seen,
        span=span,
        sentence=sentence,
        decimals=decimals,
        words=words,
    )


def words(name: Any) -> str:
    """A code as words."""
    return str(name).replace("_", " ")


def sentence(text: Any) -> str:
    """With a capital and a full stop; empty for nothing."""
    plain = str(text or "")
    return f"{plain[:1].upper()}{plain[1:]}{'' if plain.endswith('.') or not plain else '.'}"


def percent(value: Any, places: int = 0) -> str:
    """A share in percent; one decimal below 1 %; empty for anything but a number."""
    if not isinstance(value, (int, float)):
        return ""
    return f"{100 * value:.{max(places, 1 if 0 < value < 0.01 else 0)}f}{NARROW}%"


def span(low: Any, high: Any) -> str:
    """A range of shares in percent."""
    return f"{percent(low).removesuffix(f'{NARROW}%')}–{percent(high)}" if low is not None else ""


def cell(value: Any) -> str:
    """Any cell: numbers in four digits, counts whole, lists joined."""
    if value is None:
        return ""
    if isinstance(value, float):
        return count(value) if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    return str(value)


def _tiles(card: Mapping[str, Any]) -> list[dict[str, str]]:
    """The few figures a reader remembers."""
    figures = card["figures"]["win"]
    if not figures:
        return []
    proof, intervals = card["proof"], figures.get("intervals", {})

    def between(name: str) -> str:
        low_high = intervals.get(name)
        return f"80\u202f%: {low_high[0]:.3f}–{low_high[1]:.3f}" if low_high and low_high[0] is not None else ""

    others = proof["win"] if proof and proof["win"] else {}
    beside = [
        f"{NAMES[name]} {others[name]['log_loss']:.3f}" for name in ("stage_rate", "crm_probability") if name in others
    ]
    tiles = [
        {"name": "log loss", "value": decimals(figures["log_loss"]), "note": "; ".join(beside) or between("log_loss")},
        {"name": "AUC", "value": decimals(figures.get("auc")) or "–", "note": between("auc")},
        {
            "name": "calibration error",
            "value": decimals(figures.get("calibration_error")) or "–",
            "note": between("calibration_error").replace(":", ", chance taken out:"),
        },
    ]
    if figures.get("observed_expected") is not None:
        low, high = intervals.get("observed_expected") or (None, None)
        note = f"80\u202f%: {low:.2f}–{high:.2f}" if low is not None else ""
        tiles.append({"name": "wins seen / expected", "value": f"{figures['observed_expected']:.2f}", "note": note})
    for part, name in (("amount", "amount interval covers"), ("close_date", "close-date interval covers")):
        found = proof[part] if proof else None
        if found and found["interval"]:
            share = found["interval"]
            tiles.append(
                {
                    "name": name,
                    "value": percent(share["covered_share"]),
                    "note": f"80\u202f% promised; {span(share['low'], share['high'])}",
                }
            )
    return tiles


def _values(proof: Mapping[str, Any]) -> list[dict[str, str]]:
    """Amount, close date and slip in words."""
    found: list[dict[str, str]] = []
    amount, close, slip = proof["amount"], proof["close_date"], proof["slip"]
    if amount:
        text = f"off by a factor of {math.exp(amount['log_mae']):.2f} on (geometric) average, over {count(amount['rows'])} rows"
        if amount["crm"]:
            crm = amount["crm"]
            text += (
                f"; by {math.exp(crm['model_log_mae']):.2f} on the {count(crm['rows'])} of them with an amount in the CRM, which is itself off by "
                f"{math.exp(crm['log_mae']):.2f}: {crm['verdict']}"
            )
        found.append({"name": "Expected amount", "text": f"{text}. {_covered(amount['interval'])}"})
    if close:
        text = f"half of the closing days lie within {count(close['median_absolute_days'])} days of the predicted one"
        if close["crm"]:
            text += f"; the CRM's own dates within {count(close['crm']['median_absolute_days'])}, closing typically {_late(close['crm'])} it: {close['crm']['verdict']}"
        found.append({"name": "Close date", "text": f"{text}. {_covered(close['interval'])}"})
    if slip:
        text = (
            f"said {percent(slip['predicted'])}, seen {percent(slip['slipped_share'])} of {count(slip['rows'])}; Brier {decimals(slip['brier'])} against "
            f"{decimals(slip['constant_brier'])} of one constant for all; calibration error {decimals(slip['calibration_error'])}."
        )
        found.append({"name": "Open past the CRM's close date", "text": text})
    return found


def _late(gaps: Mapping[str, Any]) -> str:
    late = gaps["median_days_late"]
    return f"{count(abs(late))} days {'after' if late >= 0 else 'before'}"


def _covered(interval: Mapping[str, Any] | None) -> str:
    if interval is None:
        return "No interval was given."
    return (
        f"The 80\u202f% interval covered {percent(interval['covered_share'])} ({span(interval['low'], interval['high'])}); "
        f"{percent(interval['below_share'])} lay below it, {percent(interval['above_share'])} above."
    )


def _candidates(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    tasks = []
    for task, name, columns in (("win", "Win", WIN_COLUMNS), ("amount", "Amount", AMOUNT_COLUMNS)):
        rows = card[task].get("candidates") or []
        if not rows:
            continue
        has_test = any(row.get("test") for row in rows)
        note = "on the untouched last window" if has_test else "on the validation windows"
        tasks.append(
            {
                "name": name,
                "note": f"figures {note}; chosen on earlier validation windows",
                "columns": columns,
                "rows": [
                    {
                        "name": row["name"],
                        "setting": row["setting"] if row["setting"] != "none" else "",
                        "is_chosen": bool(row.get("is_chosen"))
                        or (task == "amount" and row["name"] == card[task]["choice"]),
                        "figures": (row.get("test") or {}) if has_test else row["validation"],
                    }
                    for row in rows
                ],
            }
        )
    return tasks


def _data(card: Mapping[str, Any]) -> dict[str, str]:
    """Counts and methods by name; what is not known is left out."""
    from sales_pipeline.models.card import sample_statement

    counts, method, splits = card.get("data", {}), card["method"], card.get("splits", {})
    windows = splits.get("windows") or []
    rows = {
        "Training rows": f"{count(counts.get('training_rows'))} landmarks of {count(counts.get('training_opportunities'))} opportunities",
        "Known": f"{count(counts.get('landmark_rows'))} landmarks of {count(counts.get('opportunities'))} opportunities: "
        f"{count(counts.get('won_opportunities'))} won, {count(counts.get('lost_opportunities'))} lost, the rest open",
        "Sample": sample_statement(counts["sample"]) if "sample" in counts else "",
        "Windows": "; ".join(
            f"{w['name']}: {str(w['from'])[:10]} to {str(w['to'])[:10]}, {count(w['rows'])} rows"
            for w in windows
            if w["rows"]
        ),
        "Landmarks": method["landmarks"],
        "Censoring": method["censoring"],
        "Calibration": method["calibration"],
        "Probability interval": method["interval"],
        "Close dates": method["timing"],
        "Amount": "; ".join(str(part) for part in (method["amount"]["why"], method["amount"]["interval"]) if part),
        "Trained through": card["model"]["trained_through"],
        "Data digest": card.get("data_digest"),
        "Feature contract": card.get("feature_contract"),
    }
    if card["replay"]:
        replay = card["replay"]
        searched = sum(date["is_search"] for date in replay["dates"])
        rows["Replay"] = (
            f"{len(replay['dates'])} dates, every {replay['every_days']} days; families {', '.join(words(f) for f in replay['families'])}; "
            f"full search at {searched}"
        )
    return {name: str(value) for name, value in rows.items() if value}
