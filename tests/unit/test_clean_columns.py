"""Figures of whole columns: what follows from them, and that they add up over parts as far as they can."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sales_pipeline.clean.columns import COUNTS, Column, corrected, kind_of, usual_spellings
from sales_pipeline.clean.params import CleanParams

PARAMS = CleanParams()


def _column(texts: list[str], *, numbers: int = 0, is_category: bool = True, **counts: int) -> Column:
    """A column of these cells; how many can be read in which way is said, not found."""
    lengths = Counter(len(text) for text in texts)
    levels = len({text.lower() for text in texts})
    held = {text: (text.lower(), cells) for text, cells in Counter(texts).items()} if is_category else {}
    return Column({**dict.fromkeys(COUNTS, 0), "numbers": numbers, **counts}, dict(lengths), (levels, levels), held)


IDS = [f"{number:05d}" for number in range(10_000, 10_060)]
WORDS = [f"word {number}" for number in range(60)]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (_column(["yes", "no"], flags=2), "boolean"),
        (_column(["2026-01-01"], days=1), "date"),
        (_column(IDS, numbers=60), "identifier"),
        (_column([*IDS, "7"], numbers=61), "number"),
        (_column([*IDS, "07"], numbers=61, leading_zeros=1), "identifier"),
        (_column([*IDS, "1.25"], numbers=61, fractions=1), "number"),
        (_column(IDS[:50], numbers=50), "number"),
        (_column(["x" * 61]), "text"),
        (_column([f"{number}" for number in range(201)] * 2), "text"),
        (_column(["a", "b"]), "category"),
        (_column(WORDS), "identifier"),
        (_column(WORDS[:54] + WORDS[:6]), "category"),
    ],
)
def test_the_type_of_a_column(column: Column, kind: str) -> None:
    assert kind_of(column, PARAMS) == kind
    assert kind_of(Column.from_json(column.to_json()), PARAMS) == kind


def test_a_type_is_not_certain_where_the_number_of_distinct_values_decides() -> None:
    known = _column(WORDS, is_category=False)
    assert kind_of(Column(known.counts, known.lengths, (54, 60), {}), PARAMS) is None
    assert kind_of(Column(known.counts, known.lengths, (55, 60), {}), PARAMS) == "identifier"


def test_the_most_frequent_spelling_is_the_usual_one_and_of_equals_the_smallest() -> None:
    assert usual_spellings(_column(["b", "B", "b", "a", "A", "C"])) == {"B": "b", "a": "A"}


texts = st.lists(st.sampled_from(["a", "A", "b", "cc", "CC", "d e"]), max_size=12)


@given(stay=texts, gone=texts, come=texts)
def test_parts_taken_out_and_put_in_give_the_figures_of_the_whole(
    stay: list[str], gone: list[str], come: list[str]
) -> None:
    def side(found: list[str], *, is_category: bool) -> dict[str, Column]:
        return {"c": _column(found, is_category=is_category, numbers=len(found))} if found else {}

    for is_category in (True, False):
        sides = (side(part, is_category=is_category) for part in (stay + gone, gone, come))
        whole = side(stay + come, is_category=is_category)
        found = corrected(*sides)
        assert found.keys() == whole.keys()
        for name, column in found.items():
            low, high = column.levels
            assert low <= whole[name].levels[0] <= high
            assert not is_category or column == whole[name]
            assert (column.counts, column.lengths) == (whole[name].counts, whole[name].lengths)
