"""The figures of a run as four verdicts, each with what to do about it.

Belongs here: putting a verdict into words. Does not belong here: the figures and their limits, what is watched (`watches`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sales_pipeline.monitoring.watches import WATCHES, Watch

MOST_SHOWN = 5


@dataclass(frozen=True)
class Verdict:
    """Whether a watch passed; `message` is empty where it did with nothing to add; `figures` are shown beside it."""

    name: str
    passed: bool
    message: str
    figures: dict[str, Any]
    rows: list[dict[str, Any]]


def verdicts(monitoring: pa.Table) -> list[Verdict]:
    """One verdict per watch from MODEL_MONITORING of a run."""
    rows = monitoring.to_pylist()
    return [_verdict(watch, [row for row in rows if row["kind"] in watch.kinds]) for watch in WATCHES]


def _verdict(watch: Watch, rows: list[dict[str, Any]]) -> Verdict:
    alerts = [row for row in rows if row["is_alert"]]
    judged = [row for row in rows if row["value"] is not None]
    unjudged = sorted({row["detail"] for row in rows if row["value"] is None})
    limited = [row for row in judged if row["limit_low"] is not None or row["limit_high"] is not None]
    figures = {"figures": len(judged), "with a limit": len(limited), "alerts": len(alerts)}
    if alerts:
        shown = "; ".join(_sentence(row) for row in alerts[:MOST_SHOWN])
        more = f"; and {len(alerts) - MOST_SHOWN} more" if len(alerts) > MOST_SHOWN else ""
        return Verdict(watch.name, False, f"{shown}{more}. What to do: {watch.what_to_do}.", figures, rows)
    return Verdict(watch.name, True, "; ".join(unjudged), figures, rows)


def _sentence(row: dict[str, Any]) -> str:
    low, high = row["limit_low"], row["limit_high"]
    expected = (
        f"between {low:.3g} and {high:.3g}"
        if low is not None and high is not None
        else (f"at most {high:.3g}" if high is not None else f"at least {low:.3g}")
    )
    return f"{row['subject']}: {row['figure']} {row['value']:.3g} against {row['reference']}, expected {expected} ({row['detail']})"
