"""What counts as equal between two engines."""

from __future__ import annotations

from tests.support.parity import differences


def test_the_comparison_can_fail() -> None:
    one = {"a": [1.0, None, "x"], "b": 2}
    assert list(differences(one, {"a": [1.0 + 1e-12, None, "x"], "b": 2}, "t")) == []
    assert list(differences(one, {"a": [1.0 + 1e-8, None, "y"], "b": 2.0}, "t")) == [
        "t.a[0]: 1.0 and 1.00000001", "t.a[2]: 'x' and 'y'", "t.b: 2 and 2.0",
    ]  # fmt: skip
