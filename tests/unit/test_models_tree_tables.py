"""Boosted trees as tables: the same scores and contributions as LightGBM's, and those the definition of a Shapley value asks for."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sales_pipeline.models.estimators import Boosting
from sales_pipeline.models.matrix import Encoded
from sales_pipeline.models.tree_tables import MOST_SPLITS, TreeTables

ROWS = 80


def fitted(
    x: Any, y: Any, *, leaves: int = 7, rounds: int = 3, categorical: list[int] | str = "auto"
) -> lightgbm.Booster:
    """A small model of rows that may be few."""
    options = {
        "objective": "regression",
        "num_leaves": leaves,
        "learning_rate": 0.5,
        "min_data_in_leaf": 1,
        "min_data_in_bin": 1,
        "min_data_per_group": 1,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(x, y, categorical_feature=categorical, params={"verbosity": -1})
    return lightgbm.train(options, data, num_boost_round=rounds)


def drawn(seed: int, columns: int) -> tuple[Any, Any]:
    """Rows of few distinct values, so that trees split on one column again and again and share thresholds."""
    random = np.random.default_rng(seed)
    x = np.round(random.normal(size=(ROWS, columns)), 1)
    return x, x[:, 0] * x[:, -1] + np.abs(x).sum(axis=1) + random.normal(size=ROWS)


def encoded(x: Any, groups: Any = None) -> Encoded:
    columns = np.arange(x.shape[1]) if groups is None else groups
    return Encoded(x, pd.DataFrame(index=range(len(x))), columns.astype(np.int64))


def worth(node: dict[str, Any], row: Any, known: frozenset[int]) -> float:
    """A tree's mean where only some columns of a row are known: other splits by how many training rows went either way."""
    if "leaf_value" in node:
        return float(node["leaf_value"])
    sides = [node["left_child"], node["right_child"]]
    if node["split_feature"] in known:
        return worth(sides[0 if row[node["split_feature"]] <= node["threshold"] else 1], row, known)
    weights = [side.get("internal_count", side.get("leaf_count")) for side in sides]
    return sum(
        weight * worth(side, row, known) for weight, side in zip(weights, sides, strict=True)
    ) / node["internal_count"]  # fmt: skip


def shapley(model: lightgbm.Booster, row: Any) -> list[float]:
    """Of every column: what it adds to what is known before it, on average over all orders."""
    trees = [tree["tree_structure"] for tree in model.dump_model()["tree_info"]]
    orders = list(permutations(range(len(row))))
    added = [0.0] * len(row)
    for order in orders:
        for place, column in enumerate(order):
            before, after = frozenset(order[:place]), frozenset(order[: place + 1])
            added[column] += sum(worth(tree, row, after) - worth(tree, row, before) for tree in trees)
    return [total / len(orders) for total in added]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), columns=st.integers(1, 4), leaves=st.integers(2, MOST_SPLITS + 1))
def test_contributions_are_shapley_values_however_they_are_computed(seed: int, columns: int, leaves: int) -> None:
    x, y = drawn(seed, columns)
    model = fitted(x, y, leaves=leaves)
    estimator = Boosting(model.model_to_string())
    assert TreeTables.read(estimator.text) is not None
    effects, names = estimator.contributions(encoded(x))
    assert names == []
    np.testing.assert_allclose(effects, np.asarray(model.predict(x, pred_contrib=True))[:, :-1], atol=1e-9)
    np.testing.assert_allclose(effects[:3], [shapley(model, row) for row in x[:3]], atol=1e-9)
    np.testing.assert_array_equal(estimator.score(encoded(x)), model.predict(x, raw_score=True))


def test_values_on_and_beside_a_threshold_go_where_the_trees_send_them() -> None:
    x, y = drawn(3, 3)
    model = fitted(x, y)
    tables = TreeTables.read(model.model_to_string())
    assert tables is not None
    rows = np.zeros((3 * len(tables.columns), 3))
    for number, (column, threshold) in enumerate(zip(tables.columns, tables.thresholds, strict=True)):
        rows[3 * number : 3 * number + 3, column] = [np.nextafter(threshold, -9.0), threshold, np.nextafter(threshold, 9.0)]  # fmt: skip
    np.testing.assert_array_equal(tables.score(rows), model.predict(rows, raw_score=True))


def test_columns_of_one_group_are_added_up() -> None:
    x, y = drawn(5, 4)
    estimator = Boosting(fitted(x, y).model_to_string())
    single, _ = estimator.contributions(encoded(x))
    grouped, _ = estimator.contributions(encoded(x, np.array([0, 1, 1, 3])))
    assert grouped.shape == (ROWS, 4)
    np.testing.assert_allclose(grouped[:, [0, 1, 3]], np.column_stack([single[:, 0], single[:, 1:3].sum(axis=1), single[:, 3]]), atol=1e-12)  # fmt: skip
    np.testing.assert_array_equal(grouped[:, 2], 0.0)


def test_a_tree_without_splits_gives_its_value_and_explains_nothing() -> None:
    x, _ = drawn(1, 2)
    model = fitted(x, np.full(ROWS, 3.5))
    estimator = Boosting(model.model_to_string())
    np.testing.assert_array_equal(estimator.score(encoded(x)), model.predict(x, raw_score=True))
    np.testing.assert_array_equal(estimator.contributions(encoded(x))[0], 0.0)


def test_no_rows_have_no_scores() -> None:
    x, y = drawn(2, 2)
    for leaves in (7, 63):
        estimator = Boosting(fitted(x, y, leaves=leaves).model_to_string())
        assert estimator.contributions(encoded(x[:0]))[0].shape == (0, 2)
    assert Boosting(fitted(x, y).model_to_string()).score(encoded(x[:0])).shape == (0,)


@pytest.mark.parametrize("what", ["large", "missing", "category"])
def test_what_tables_cannot_hold_is_left_to_lightgbm(what: str) -> None:
    x, y = drawn(7, 3)
    if what == "missing":
        x[::5, 0] = np.nan
    if what == "category":
        x[:, 1] = np.abs(x[:, 1] * 10) % 6
        y = np.array([5.0, 0.0, 3.0, 9.0, 1.0, 7.0])[x[:, 1].astype(int)]
    model = fitted(x, y, leaves=63 if what == "large" else 7, categorical=[1] if what == "category" else "auto")
    estimator = Boosting(model.model_to_string())
    assert TreeTables.read(estimator.text) is None
    np.testing.assert_array_equal(estimator.score(encoded(x)), model.predict(x, raw_score=True))
    expected = np.asarray(model.predict(x, pred_contrib=True))[:, :-1]
    np.testing.assert_array_equal(estimator.contributions(encoded(x))[0], expected)
