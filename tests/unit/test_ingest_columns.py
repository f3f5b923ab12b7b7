"""Cleaning of text columns: a glance at a batch never says anything else than a look at every cell."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sales_pipeline.ingest import columns
from sales_pipeline.ingest.columns import clean, missing_tokens

MISSING = missing_tokens(("NULL", "n/a", "-"))
TEXTS = st.text(alphabet="aN/-ULL 9\t\n\x00\x1f\x7fé\ufb01客\u00a0", max_size=9) | st.sampled_from(
    ["NULL", " n/a ", ""]
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(texts=st.lists(TEXTS | st.none(), max_size=6), longer=st.booleans(), cut=st.integers(0, 3))
def test_a_glance_says_what_a_look_at_every_cell_says(texts: list[str | None], longer: bool, cut: int) -> None:
    cells = [None if text is None else text + "xxxxx" * longer for text in texts]
    values = pa.array(cells, pa.string()).slice(cut)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_is_surely_filled", lambda *_: False)
        expected = clean(values, MISSING)
    assert clean(values, MISSING).to_pylist() == expected.to_pylist()


def test_ids_and_instants_are_taken_at_a_glance_and_others_are_not() -> None:
    def at_a_glance(*cells: str) -> bool:
        return columns._is_surely_filled(pa.array(cells, pa.string()), MISSING)

    assert at_a_glance("006Dx0000000001IAA", "2026-06-30 10:00:00")
    assert not at_a_glance("006Dx0000000001IAA", "")
    assert not at_a_glance("006Dx0000000001IAA", "  n/a    ")
    assert not at_a_glance("006Dx0000000001IAA", "größer als")
    assert not at_a_glance("NULL", "longer than that")
