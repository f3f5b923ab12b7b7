"""Would probabilities be more right with a level of their own per segment, shrunken to none? Measured on the rows of a replay.

At each replay date a shift in log-odds per segment (stage, owner team, lead source) is learnt from what was said at earlier dates and has come by the end of the replay (more than
was known then: an upper bound of what such shifts could bring), by the posterior mode under a normal prior whose width is chosen on the same rows by leaving out a date (Efron & Morris, "Stein's paradox in statistics", 1977, on shrinking many
rates), and held against no shift on the date's own rows.

    python -m tests.benchmarks.segment_shrinkage REPLAY.parquet

Belongs here: that comparison. Does not belong here: the figures of a replay as such (`models.proof`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sales_pipeline.lake.tables import read_table
from sales_pipeline.models.estimators import expit, logit
from sales_pipeline.models.metrics import log_losses, paired_difference
from sales_pipeline.models.outcome_rows import MODEL, outcomes_of

Floats = npt.NDArray[np.float64]
SEGMENTS = ("stage", "owner_team", "lead_source")
WIDTHS = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Standard deviations of the prior of a shift, in log-odds; 0 is no shift at all."""


def shifts(odds: Floats, won: Floats, segment: npt.NDArray[np.object_], width: float) -> dict[str, float]:
    """The posterior mode of each segment's shift under a normal prior of that width, by Newton's method."""
    found: dict[str, float] = {}
    for name in set(segment) if width else ():
        mine, shift = segment == name, 0.0
        for _ in range(30):
            p = expit(odds[mine] + shift)
            step = (float((won[mine] - p).sum()) - shift / width**2) / (float((p * (1 - p)).sum()) + 1 / width**2)
            shift += step
            if abs(step) < 1e-9:
                break
        found[str(name)] = shift
    return found


def shifted(odds: Floats, segment: npt.NDArray[np.object_], by: dict[str, float]) -> Floats:
    """Probabilities with each segment's shift; segments not met before have none."""
    return expit(odds + np.array([by.get(str(name), 0.0) for name in segment]))


def gains(path: Path) -> list[str]:
    """One line per kind of segment: log loss without and with a shift over the dates that have known outcomes before them."""
    rows = read_table(path)
    outcomes = outcomes_of(rows)
    odds = logit(np.clip(outcomes.said[MODEL], 1e-6, 1 - 1e-6))
    usable = np.isfinite(outcomes.said[MODEL])
    dates = np.unique(outcomes.as_of_us[usable])
    lines: list[str] = []
    for name in SEGMENTS:
        segment = np.array([str(value) for value in rows.column(name).to_pylist()], dtype=object)
        losses: list[tuple[Floats, Floats, npt.NDArray[np.int64]]] = []
        for date in dates:
            known = usable & np.isfinite(outcomes.won) & (outcomes.as_of_us < date)
            now = usable & np.isfinite(outcomes.won) & (outcomes.as_of_us == date)
            if known.sum() < 200 or not now.any():
                continue
            width = _width(odds[known], outcomes.won[known], segment[known], outcomes.as_of_us[known])
            by = shifts(odds[known], outcomes.won[known], segment[known], width)
            plain, moved = (
                log_losses(outcomes.won[now], p) for p in (expit(odds[now]), shifted(odds[now], segment[now], by))
            )
            losses.append((plain, moved, outcomes.groups[now]))
        if not losses:
            lines.append(f"  {name}: no date with enough known outcomes before it")
            continue
        plain, moved, groups = (np.concatenate(parts) for parts in zip(*losses, strict=True))
        gain, error = paired_difference(plain, moved, groups)
        lines.append(
            f"  a shift per {name}: log loss {plain.mean():.4f} without, {moved.mean():.4f} with; gain {gain:+.4f} "
            f"(80 % interval {gain - 1.2816 * error:+.4f} to {gain + 1.2816 * error:+.4f}), {len(plain):,} rows of {len(losses)} dates"
        )
    return lines


def _width(odds: Floats, won: Floats, segment: npt.NDArray[np.object_], dates: Floats) -> float:
    """The prior's width with the lowest loss on dates left out in turn."""
    best = dict.fromkeys(WIDTHS, 0.0)
    for date in np.unique(dates):
        out = dates == date
        for width in WIDTHS:
            by = shifts(odds[~out], won[~out], segment[~out], width) if (~out).any() else {}
            best[width] += float(log_losses(won[out], shifted(odds[out], segment[out], by)).sum())
    return min(WIDTHS, key=lambda width: best[width])


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(argument)
        print("\n".join(gains(Path(argument))))
