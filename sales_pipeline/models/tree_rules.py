"""A decision tree as rules people can read: which opportunities, how many, how often won, and whether that held later.

A rule is a leaf. Its conditions are those on the way to it, one phrase per source column, in the column's own units. Its win rate counts every closed
opportunity once however many landmarks it has in the leaf, with Jeffreys' 80 % interval (Brown, Cai and DasGupta, 2001). It is stable when the
share won among the later window's opportunities lies within the 80 % that the earlier ones lead to expect of so many (beta-binomial).

Belongs here: from tree and encoding to rules. Does not belong here: fitting the tree (`candidates`), showing the rules.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sales_pipeline.models.encoding import MISSING, OTHER, Encoding, width
from sales_pipeline.models.estimators import Tree
from sales_pipeline.models.matrix import Floats, Indices, Matrix, SourceColumn

SHARE = 0.8
"""Coverage of both intervals."""
HIDDEN = "a field that is not shown here"


def rules(
    tree: Tree, encoding: Encoding, train: Matrix, later: Matrix, *, sensitive: Collection[str] = ()
) -> list[dict[str, Any]]:
    """One row per leaf, the highest win rate first.

    conditions (phrases) and text (joined by "and"), rows and opportunities (closed ones of the training rows), won, win_rate, win_rate_low,
    win_rate_high, later_rows, later_opportunities, later_win_rate, later_low and later_high (where it was to be expected), is_stable. The later
    figures are None where no closed opportunity of the later window meets the rule. Columns named in `sensitive` are not named.
    """
    whole = {
        column.name: _is_whole(train.frame[column.name]) for column in encoding.columns if column.kind != "category"
    }
    counts, later_counts = _count(tree, encoding, train), _count(tree, encoding, later)
    found: list[dict[str, Any]] = []
    for leaf, path in _paths(tree):
        merged: dict[int, _Merged] = {}
        for column, threshold, is_left in path:
            _merge(merged, encoding, column, threshold, is_left)
        conditions = [
            HIDDEN
            if encoding.columns[group].name in sensitive
            else _phrase(encoding.columns[group], encoding.blocks[group], part, whole)
            for group, part in sorted(merged.items())
        ]
        found.append(
            {
                "conditions": conditions,
                "text": " and ".join(conditions) or "every opportunity",
                **_figures(counts.get(leaf, (0, 0, 0)), later_counts.get(leaf, (0, 0, 0))),
            }
        )
    found.sort(key=lambda rule: (-rule["win_rate"], -rule["opportunities"], rule["text"]))
    return [{"rule": number, **rule} for number, rule in enumerate(found, start=1)]


@dataclass
class _Merged:
    """What a path says of one source column: above `low` and at most `high` on its own scale, one value or none of some, (not) missing."""

    low: float = -np.inf
    high: float = np.inf
    value: str | None = None
    excluded: list[str] = field(default_factory=list)
    is_missing: bool | None = None


def _paths(tree: Tree) -> list[tuple[int, list[tuple[int, float, bool]]]]:
    """(leaf, [(matrix column, threshold, goes left)]) of every leaf."""
    found: list[tuple[int, list[tuple[int, float, bool]]]] = []
    waiting: list[tuple[int, list[tuple[int, float, bool]]]] = [(0, [])]
    while waiting:
        node, path = waiting.pop()
        column = int(tree.feature[node])
        if column < 0:
            found.append((node, path))
            continue
        threshold = float(tree.threshold[node])
        waiting.append((int(tree.right[node]), [*path, (column, threshold, False)]))
        waiting.append((int(tree.left[node]), [*path, (column, threshold, True)]))
    return found


def _merge(merged: dict[int, _Merged], encoding: Encoding, column: int, threshold: float, is_left: bool) -> None:
    group = int(encoding.groups[column])
    block = encoding.blocks[group]
    position = column - sum(width(earlier) for earlier in encoding.blocks[:group])
    part = merged.setdefault(group, _Merged())
    if "levels" in block:
        level = str(block["levels"][position])
        if is_left:
            part.excluded.append(level)
        else:
            part.value = level
    elif position == 1:
        part.is_missing = not is_left
    else:
        original = threshold * float(block["scale"]) + float(block["mean"])
        original = float(np.expm1(original)) if block["log"] else original
        if is_left:
            part.high = min(part.high, original)
        else:
            part.low = max(part.low, original)


def _phrase(column: SourceColumn, block: Mapping[str, Any], part: _Merged, whole: Mapping[str, bool]) -> str:
    label = column.label.split(";")[0]
    if "levels" in block:
        return _category(label, part, [str(level) for level in block["levels"]])
    if part.is_missing:
        return f"{label} is not recorded"
    is_open = part.low == -np.inf and part.high == np.inf
    if is_open:
        return f"{label} is recorded"
    if column.kind == "boolean":
        said = f"{label}: {'yes' if part.low > -np.inf else 'no'}"
    else:
        said = f"{label} {_range(column, part, whole[column.name])}"
    # A missing number stands at the median, with a flag beside it: unless the path asked the flag, it goes where the median goes.
    takes_missing = bool(block["flag"]) and part.is_missing is None and part.low < float(block["median"]) <= part.high
    return f"{said} or not recorded" if takes_missing else said


def _range(column: SourceColumn, part: _Merged, is_whole: bool) -> str:
    low = int(np.floor(part.low)) + 1 if is_whole and part.low > -np.inf else part.low
    high = int(np.floor(part.high)) if is_whole and part.high < np.inf else part.high
    above = "at least" if is_whole else "above"
    if part.high == np.inf:
        return f"{above} {_number(low, column)}"
    if part.low == -np.inf:
        return f"at most {_number(high, column)}"
    if is_whole and low == high:
        return f"exactly {_number(low, column)}"
    return f"{above} {_number(low, column)} and at most {_number(high, column)}"


def _number(value: float, column: SourceColumn) -> str:
    """A threshold for people: shares in percent, logarithms as what they are of, no more digits than help."""
    if column.unit == "0–1":
        return f"{100 * value:.0f} %"
    if column.unit.startswith("ln(1+"):
        value = float(np.expm1(value))
    if abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _category(label: str, part: _Merged, levels: Sequence[str]) -> str:
    def shown(level: str) -> str:
        return {OTHER: "another value", MISSING: "not recorded"}.get(level, level)

    if part.value is not None:
        return f"{label} is {shown(part.value)}"
    left = [level for level in levels if level not in part.excluded]
    if 0 < len(left) <= len(part.excluded):
        return f"{label} is {' or '.join(shown(level) for level in left)}"
    return f"{label} is not {' or '.join(shown(level) for level in part.excluded)}"


def _is_whole(values: pd.Series) -> bool:
    known = values.to_numpy(dtype=np.float64)
    known = known[np.isfinite(known)]
    return bool(len(known)) and bool((known == np.floor(known)).all())


def _count(tree: Tree, encoding: Encoding, matrix: Matrix) -> dict[int, tuple[int, int, int]]:
    """By leaf: rows, opportunities and won opportunities among those whose outcome is known."""
    known = np.flatnonzero(np.isfinite(matrix.keys["is_won"].to_numpy(dtype=np.float64))).astype(np.int64)
    part = matrix.take(known)
    leaf: Indices = tree.leaves(encoding.encode(part).x)
    table = pd.DataFrame(
        {"leaf": leaf, "opportunity": part.keys["opportunity_id"].to_numpy(dtype=object), "won": part.keys["is_won"]}
    )
    rows = table.groupby("leaf").size()
    once = table.drop_duplicates(["leaf", "opportunity"]).groupby("leaf")["won"].agg(["count", "sum"])
    return {
        int(node): (int(rows[node]), int(count), int(won))
        for node, count, won in zip(once.index, once["count"], once["sum"], strict=True)
    }


def _figures(counted: tuple[int, int, int], later: tuple[int, int, int]) -> dict[str, Any]:
    from scipy.stats import beta, betabinom

    rows, closed, won = counted
    ends: Floats = np.array([(1 - SHARE) / 2, (1 + SHARE) / 2])
    first, second = won + 0.5, closed - won + 0.5
    low, high = (float(v) for v in beta.ppf(ends, first, second))
    # Jeffreys' interval does not shut out a rate of 0 or 1 that was seen.
    figures: dict[str, Any] = {
        "rows": rows,
        "opportunities": closed,
        "won": won,
        "win_rate": won / closed if closed else first / (first + second),
        "win_rate_low": 0.0 if closed and not won else low,
        "win_rate_high": 1.0 if closed and won == closed else high,
        "later_rows": later[0],
        "later_opportunities": later[1],
        "later_win_rate": None,
        "later_low": None,
        "later_high": None,
        "is_stable": None,
    }
    if later[1]:
        expected = [float(v) / later[1] for v in betabinom.ppf(ends, later[1], first, second)]
        rate = later[2] / later[1]
        figures |= {
            "later_win_rate": rate,
            "later_low": expected[0],
            "later_high": expected[1],
            "is_stable": bool(expected[0] <= rate <= expected[1]),
        }
    return figures
