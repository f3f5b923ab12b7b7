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
import numpy.typing as npt
import pyarrow as pa

from sales_pipeline.contracts.derive import REASON_TYPE
from sales_pipeline.features.terms import NOT_SHOWN
from sales_pipeline.models.contributions import Contributions
from sales_pipeline.models.matrix import Floats, Indices, codes
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


def rank_reasons(
    parts: Contributions, wording: Wording = ENGLISH, *, silent: npt.NDArray[np.bool_] | None = None
) -> tuple[pa.ListArray, pa.ListArray]:
    """Per row up to three reasons up and three down, largest first, as lists of REASON_TYPE; `weight` is in log-odds, so its sign is its direction.

    `silent` rows have none. A text is made once for each value a column has among the reasons, not once a row.
    """
    terms = add_up(parts, wording)
    spoken = np.ones(len(terms.weights), dtype=bool) if silent is None else ~silent
    up = _largest(terms.weights)
    # Of equal ones the last is the lowest: the order of a descending ranking read from its end.
    down = [len(terms.codes) - 1 - place for place in _largest(-terms.weights[:, ::-1])]
    return _told(parts, terms, up, spoken, 1.0, wording), _told(parts, terms, down, spoken, -1.0, wording)


def _largest(weights: Floats) -> list[Indices]:
    """Per row the places of the largest weights, largest first, the first of equals first."""
    left = weights.copy()
    every = np.arange(len(left))
    found: list[Indices] = []
    for _ in range(min(MOST, left.shape[1])):
        place = left.argmax(axis=1)
        left[every, place] = -np.inf
        found.append(place)
    return found


def _told(
    parts: Contributions,
    terms: Terms,
    places: Sequence[Indices],
    spoken: npt.NDArray[np.bool_],
    sign: float,
    wording: Wording,
) -> pa.ListArray:
    """The ranked terms of every row that weigh enough in the direction of `sign`."""
    count = len(spoken)
    term = np.column_stack(places) if places else np.zeros((count, 0), dtype=np.int64)
    weight = np.take_along_axis(terms.weights, term, axis=1)
    counts = spoken[:, None] & (sign * weight >= LEAST_WEIGHT)
    row = np.nonzero(counts)[0]
    term, weight = term[counts], weight[counts]
    texts: list[str] = []
    text = np.zeros(len(row), dtype=np.int64)
    for number, code in enumerate(terms.codes):
        here = np.flatnonzero(term == number)
        if not len(here):
            continue
        if code == NOT_SHOWN:
            text[here] = len(texts)
            texts.append(wording.hidden(sign))
            continue
        members = terms.members[number]
        loud = members[(sign * parts.effects[np.ix_(row[here], members)]).argmax(axis=1)]
        for column in np.unique(loud).tolist():
            said = here[loud == column]
            source = parts.columns[column]
            values = parts.values[source.name][row[said]]
            which, first = _distinct(values)
            text[said] = len(texts) + which
            texts += [_sentence(parts, column, value, sign, wording) for value in values[first]]
    reasons = pa.StructArray.from_arrays(
        [
            pa.array(terms.codes, pa.string()).take(pa.array(term)),
            pa.array(texts, pa.string()).take(pa.array(text)),
            pa.array(_rounded(weight), pa.float64()),
        ],
        fields=list(REASON_TYPE),
    )
    ends = np.concatenate([[0], np.cumsum(counts.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), reasons)


def _distinct(values: npt.NDArray[Any]) -> tuple[Indices, Indices]:
    """The number of each value, and where each distinct one stands first; 0.0 and -0.0 are two."""
    number = codes(values.view(np.int64) if values.dtype == np.float64 else values)
    return number, np.unique(number, return_index=True)[1].astype(np.int64)


def _rounded(weights: Floats) -> Floats:
    """Six places, as `round` has them: numpy's own rounding scales first, and is off by a digit at some ties."""
    scaled = weights * 1e6
    rounded = np.rint(scaled) / 1e6
    near = np.flatnonzero(np.abs(scaled - np.floor(scaled) - 0.5) < 1e-3)
    rounded[near] = [round(weight, 6) for weight in weights[near].tolist()]
    return rounded


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
    text = _sentence(parts, strongest, parts.values[column.name][row], weight, wording)
    return {"code": code, "text": text, "weight": weight}


def _sentence(parts: Contributions, number: int, value: Any, weight: float, wording: Wording) -> str:
    """What a value of a column says for (weight above 0) or against."""
    column = parts.columns[number]
    return wording.sentence(
        column,
        value,
        weight,
        known=parts.known.get(column.name),
        usual=parts.usual.get(column.name),
        is_rate=parts.is_rate,
    )


def loudest(effects: Floats, members: Sequence[int] | Indices, weight: float) -> int:
    """The member that says most in the direction of the sum; the first of equals."""
    sign = 1.0 if weight > 0 else -1.0
    return max((int(member) for member in members), key=lambda member: (sign * float(effects[member]), -member))
