"""Texts of instants that are taken as usual at a glance: only such as the pattern of usual forms takes too."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sales_pipeline.ingest import recorded

PLAIN = ["2026-06-30 10:00:00", "2024-01-01 00:00:00"]


@pytest.mark.parametrize(
    "texts",
    [PLAIN, ["2026-06-30T10:00:00", "2024-01-01T23:59:59"], ["1999-12-31 10:00:00", "1970-01-01 00:00:00"], ["2026-99-99 99:99:99"]],
)  # fmt: skip
def test_texts_of_one_usual_form_are_plain_wherever_they_lie(texts: list[str]) -> None:
    assert recorded._are_plain(pa.array(texts))
    assert recorded._are_plain(pa.array(["x", *texts, "a longer text"]).slice(1, len(texts)))
    assert pc.all(pc.match_substring_regex(pa.array(texts), recorded._USUAL)).as_py()


@pytest.mark.parametrize(
    "text",
    ["", "2026-06-30", None, "2026-06-30T10:00:00", "1999-12-31 10:00:00", "2126-06-30 10:00:00", "2026/06/30 10:00:00", "2026-06-30 10:00:0x",
     "2026-06-30 10:00:0/", "2026-06-30 10:00:0:", "2026-06-30 10:00:00Z", "2026-06-30  9:00:00", "30.06.2026 10:00:00", "２026-06-30 10:00"],
)  # fmt: skip
def test_one_text_of_another_form_among_many_is_left_to_the_pattern(text: str | None) -> None:
    assert not recorded._are_plain(pa.array([*PLAIN, text, *PLAIN]))


def test_no_texts_are_not_plain() -> None:
    assert not recorded._are_plain(pa.array([], pa.string()))
    assert not recorded._are_plain(pa.array(PLAIN, pa.large_string()))
