"""The selector on columns made to be kept or dropped."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.features.selector import Selected, judge_columns, select

COUNT = 1500


def data(seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(seed)
    strong, weak, noise = rng.normal(size=(3, COUNT))
    category = rng.choice(["a", "b", "c"], COUNT)
    logit = 2 * strong + 0.5 * weak + np.where(category == "a", 1.0, -0.5)
    frame = pd.DataFrame(
        {
            "noise": noise,
            "weak": weak,
            "strong": strong,
            "strong again": strong * 3 + 1,
            "category": pd.Series(category, dtype="string"),
            "many levels": pd.Series(rng.integers(0, 80, COUNT).astype(str), dtype="string"),
            "flag": pd.Series(np.ones(COUNT, dtype=bool)),
            "gappy": np.where(rng.random(COUNT) < 0.3, np.nan, strong + rng.normal(size=COUNT)),
        }
    )
    return frame, pd.Series((rng.random(COUNT) < 1 / (1 + np.exp(-logit))).astype(float))


@pytest.fixture(scope="module")
def judged() -> dict[str, Selected]:
    frame, target = data()
    return {entry.name: entry for entry in judge_columns(frame, target)}


def test_what_carries_is_kept_in_order_of_importance(judged: dict[str, Selected]) -> None:
    kept = [name for name, entry in judged.items() if entry.is_kept]
    assert kept[0] == "strong"
    assert {"strong", "weak", "category"} <= set(kept)
    assert judged["strong"].score > judged["weak"].score


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("flag", "constant"),
        ("strong again", "nearly the same as strong"),
        ("noise", "no more than a shuffled copy"),
        ("many levels", "no more than a shuffled copy"),
    ],
)
def test_what_does_not_is_dropped_with_its_reason(judged: dict[str, Selected], name: str, reason: str) -> None:
    assert (judged[name].is_kept, judged[name].reason) == (False, reason)


def test_equal_inputs_give_equal_choices_and_a_limit_keeps_the_best() -> None:
    frame, target = data()
    assert select(frame, target) == select(frame, target)
    assert select(frame, target, max_columns=1) == ["strong"]


def test_a_numeric_target() -> None:
    frame, _ = data()
    assert select(frame[["noise", "strong"]], frame["strong"] ** 3, task="regress") == ["strong"]


def test_groups_do_not_vouch_for_themselves() -> None:
    # Ten rows per group share a random target: without groups a category that names the group would seem to know it.
    rng = np.random.default_rng(1)
    group = pd.Series(np.repeat(np.arange(150), 10).astype(str), dtype="string")
    target = pd.Series(np.repeat(rng.integers(0, 2, 150), 10).astype(float))
    frame = pd.DataFrame({"name of the group": group})
    assert select(frame, target) == ["name of the group"]
    assert select(frame, target, groups=group) == []


def test_one_class_keeps_nothing_and_an_unknown_target_is_refused() -> None:
    frame, target = data()
    assert select(frame, pd.Series(np.ones(COUNT))) == []
    with pytest.raises(ValueError, match="known target"):
        select(frame, target.where(frame["noise"] > 0))
