"""A proof's figures as small tables of text: for the command line, the documentation and the card's page.

Belongs here: choosing and formatting figures. Does not belong here: computing them (`proof`), pages (delivery).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = {
    "model": "model",
    "challenger": "challenger",
    "base_rate": "base rate",
    "stage_rate": "stage rate",
    "crm_probability": "CRM's own probability",
}
"""How the compared are called in text, in the order they are shown."""


def text_table(proof: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per compared: who, rows, log_loss, brier, auc, calibration_error, seen_over_expected, gain (log loss the model saves, 80 % interval).

    Empty where nothing that was scored has closed; a figure that is not defined is an empty text.
    """
    win = proof["win"] or {}
    return [
        {
            "who": label,
            "rows": count(win[name]["rows"]),
            **{key: decimals(win[name].get(key)) for key in ("log_loss", "brier", "auc", "calibration_error")},
            "seen_over_expected": seen(win[name]),
            "gain": _gain(win[name].get("gain")),
        }
        for name, label in NAMES.items()
        if name in win
    ]


def dates_table(proof: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row per replay date: date, scored, open (still, by the end), won, said, log_loss, base_rate, stage_rate, crm, auc, seen_over_expected."""
    return [
        {
            "date": str(row["as_of"])[:10],
            "scored": count(row["scored"]),
            "open": count(row["still_open"]),
            "won": decimals(row.get("win_rate")),
            "said": decimals(row.get("predicted")),
            "log_loss": decimals(row.get("log_loss")),
            "base_rate": decimals(row.get("base_rate_log_loss")),
            "stage_rate": decimals(row.get("stage_rate_log_loss")),
            "crm": decimals(row.get("crm_probability_log_loss")),
            "auc": decimals(row.get("auc")),
            "seen_over_expected": seen(row),
        }
        for row in proof["dates"]
    ]


def count(value: Any) -> str:
    """A count or an amount without decimals, thousands apart; empty for anything but a number."""
    return f"{value:,.0f}" if isinstance(value, (int, float)) else ""


def decimals(value: Any) -> str:
    """Three decimals; empty for anything but a number."""
    return f"{value:.3f}" if isinstance(value, (int, float)) else ""


def seen(row: Mapping[str, Any]) -> str:
    """Wins seen over wins expected, with its interval where there is one."""
    value = row.get("observed_expected")
    if value is None:
        return ""
    low, high = row.get("observed_expected_low"), row.get("observed_expected_high")
    return f"{value:.2f}" if low is None else f"{value:.2f} ({low:.2f}–{high:.2f})"


def _gain(gain: Mapping[str, Any] | None) -> str:
    return f"{gain['log_loss']:.4f} ({gain['low']:.4f} to {gain['high']:.4f})" if gain else ""
