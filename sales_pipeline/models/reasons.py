"""Reasons of a probability: contributions added up by business term, the largest first, as text.

Features that say one thing in several ways are one term: its weight is their sum, its text that of the member that says most in the direction of the
sum, so that sign and text agree. Fields marked sensitive are one term without a name.

Belongs here: adding up and ranking. Does not belong here: the contributions (`contributions`), the words (`wording`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sales_pipeline.features.terms import NOT_SHOWN
from sales_pipeline.models.contributions import Contributions
from sales_pipeline.models.matrix import Floats, Indices
from sales_pipeline.models.wording import ENGLISH, Wording

MOST = 3
LEAST_WEIGHT = 0.005
"""Effects smaller than this, in log-odds, are not worth a sentence."""

Reason = dict[str, Any]


@dataclass(frozen=True)
class Terms:
    """Contributions by term: `codes` in order of first appearance, `weights` (rows, terms), and the columns of each term."""

    codes: tuple[str, ...]
    weights: Floats
    members: tuple[Indices, ...]


def add_up(parts: Contributions, wording: Wording = ENGLISH) -> Terms:
    """The contributions of each business term."""
    of_column = [wording.term(column, is_rate=parts.is_rate) for column in parts.columns]
    codes = tuple(dict.fromkeys(of_column))
    members = tuple(
        np.array([index for index, code in enumerate(of_column) if code == term], dtype=np.int64) for term in codes
    )
    weights = np.zeros((len(parts.effects), len(codes)))
    for number, columns in enumerate(members):
        weights[:, number] = parts.effects[:, columns].sum(axis=1)
    return Terms(codes, weights, members)


def rank_reasons(parts: Contributions, wording: Wording = ENGLISH) -> tuple[list[list[Reason]], list[list[Reason]]]:
    """Per row up to three reasons up and three down, largest first; `weight` is in log-odds, so its sign is its direction."""
    terms = add_up(parts, wording)
    up: list[list[Reason]] = []
    down: list[list[Reason]] = []
    order = np.argsort(-terms.weights, axis=1, kind="stable")
    for row in range(len(terms.weights)):
        ranked = order[row]
        highest = [i for i in ranked[:MOST] if terms.weights[row, i] >= LEAST_WEIGHT]
        lowest = [i for i in ranked[::-1][:MOST] if terms.weights[row, i] <= -LEAST_WEIGHT]
        up.append([_rounded(tell(parts, terms, row, int(i), wording)) for i in highest])
        down.append([_rounded(tell(parts, terms, row, int(i), wording)) for i in lowest])
    return up, down


def _rounded(reason: Reason) -> Reason:
    return reason | {"weight": round(reason["weight"], 6)}


def all_reasons(parts: Contributions, row: int, wording: Wording = ENGLISH) -> list[Reason]:
    """Every term of one row that adds anything, largest first in size, with the term's name as `label`."""
    terms = add_up(parts, wording)
    order = sorted(range(len(terms.codes)), key=lambda i: (-abs(terms.weights[row, i]), i))
    return [
        tell(parts, terms, row, i, wording)
        | {"label": wording.term_label(terms.codes[i], parts.columns[terms.members[i][0]])}
        for i in order
        if terms.weights[row, i] != 0.0
    ]


def tell(parts: Contributions, terms: Terms, row: int, term: int, wording: Wording) -> Reason:
    """One term of one row: code, text and weight."""
    weight = float(terms.weights[row, term])
    code = terms.codes[term]
    if code == NOT_SHOWN:
        return {"code": code, "text": wording.hidden(weight), "weight": weight}
    strongest = loudest(parts.effects[row], terms.members[term], weight)
    column = parts.columns[strongest]
    text = wording.sentence(
        column,
        parts.values[column.name][row],
        weight,
        known=parts.known.get(column.name),
        usual=parts.usual.get(column.name),
        is_rate=parts.is_rate,
    )
    return {"code": code, "text": text, "weight": weight}


def loudest(effects: Floats, members: Sequence[int] | Indices, weight: float) -> int:
    """The member that says most in the direction of the sum; the first of equals."""
    sign = 1.0 if weight > 0 else -1.0
    return max((int(member) for member in members), key=lambda member: (sign * float(effects[member]), -member))
