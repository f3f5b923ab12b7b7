"""The decision tree as rules: conditions in original units, support per opportunity, stability in a later window."""

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.models.encoding import learn_encoding
from sales_pipeline.models.estimators import Tree
from sales_pipeline.models.matrix import Matrix, SourceColumn
from sales_pipeline.models.tree_rules import rules

COLUMNS = (
    SourceColumn("amount", "number", "amount", "currency"),
    SourceColumn("calls", "number", "calls so far; all of them", "count"),
    SourceColumn("share", "number", "share won", "0–1"),
    SourceColumn("is_new", "boolean", "new business"),
    SourceColumn("stage", "category", "stage"),
)
N = 400


def _matrix(seed: int = 1, n: int = N, missing: float = 0.1) -> Matrix:
    random = np.random.default_rng(seed)
    calls = random.integers(0, 10, n).astype(float)
    frame = pd.DataFrame(
        {
            "amount": np.exp(random.normal(9, 1, n)),
            "calls": np.where(random.uniform(size=n) < missing, np.nan, calls),
            "share": random.uniform(size=n),
            "is_new": (random.uniform(size=n) < 0.5).astype(float),
            "stage": random.choice(["Discovery", "Proposal", "Negotiation"], n).astype(object),
        }
    )
    keys = pd.DataFrame(
        {
            "opportunity_id": np.array([f"o{i // 2}" for i in range(n)], dtype=object),
            "is_won": np.repeat((random.uniform(size=n // 2) < 0.4).astype(float), 2),
        }
    )
    return Matrix(frame, keys, COLUMNS)


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return _matrix()


def _tree(nodes: list[tuple[int, float, int, int]]) -> Tree:
    """From (matrix column, threshold, left, right); a column of -1 is a leaf."""
    column, threshold, left, right = (np.array(part) for part in zip(*nodes, strict=True))
    return Tree(column.astype(np.int64), threshold.astype(np.float64), left, right, np.zeros(len(nodes)))


LEAF = (-1, 0.0, -1, -1)


def _texts(matrix: Matrix, *splits: tuple[int, float], sensitive: tuple[str, ...] = ()) -> list[str]:
    """Rules of a chain of splits, each following the right side of the one before it; in the order of the leaves."""
    encoding = _encoding(matrix)
    nodes: list[tuple[int, float, int, int]] = []
    for number, (column, threshold) in enumerate(splits):
        nodes += [(column, threshold, 2 * number + 1, 2 * number + 2), LEAF]
    nodes.append(LEAF)
    found = rules(_tree(nodes), encoding, matrix, matrix, sensitive=sensitive)
    return [rule["text"] for rule in found]


def _encoding(matrix: Matrix):
    return learn_encoding(matrix.frame, COLUMNS)


def _scaled(matrix: Matrix, name: str, value: float) -> tuple[int, float]:
    """Matrix column and threshold of a number's value."""
    encoding = _encoding(matrix)
    block = encoding.blocks[[c.name for c in encoding.columns].index(name)]
    raw = np.log1p(value) if block["log"] else value
    return encoding.names.index(name), (raw - block["mean"]) / block["scale"]


def test_thresholds_are_in_the_columns_own_units(matrix: Matrix) -> None:
    assert sorted(_texts(matrix, _scaled(matrix, "amount", 12345.0))) == [
        "amount above 12,345",
        "amount at most 12,345",
    ]
    assert "share won above 25 %" in _texts(matrix, _scaled(matrix, "share", 0.25))
    assert set(_texts(matrix, _scaled(matrix, "is_new", 0.5))) == {"new business: yes", "new business: no"}


def test_whole_numbers_and_missing_ones(matrix: Matrix) -> None:
    texts = _texts(matrix, _scaled(matrix, "calls", 2.5))
    # A missing number goes where the median, 4 or 5, goes.
    assert set(texts) == {"calls so far at most 2", "calls so far at least 3 or not recorded"}
    flag = _encoding(matrix).names.index("calls missing")
    assert set(_texts(matrix, (flag, 0.5))) == {"calls so far is recorded", "calls so far is not recorded"}
    later_flag = _texts(matrix, _scaled(matrix, "calls", 2.5), (flag, 0.5))
    assert "calls so far at least 3" in later_flag
    assert "calls so far is not recorded" in later_flag


def test_conditions_on_one_column_are_merged(matrix: Matrix) -> None:
    texts = _texts(matrix, _scaled(matrix, "calls", 2.5), _scaled(matrix, "calls", 7.5), _scaled(matrix, "calls", 8.5))
    assert "calls so far at least 3 and at most 7 or not recorded" in texts
    assert "calls so far exactly 8" in texts
    assert "calls so far at least 9" in texts


def test_categories(matrix: Matrix) -> None:
    names = _encoding(matrix).names
    column = names.index("stage=Proposal")
    assert set(_texts(matrix, (column, 0.5))) == {"stage is Proposal", "stage is not Proposal"}
    nodes = [(column, 0.5, 1, 2), (names.index("stage=Discovery"), 0.5, 3, 4), LEAF, LEAF, LEAF]
    found = {rule["text"] for rule in rules(_tree(nodes), _encoding(matrix), matrix, matrix)}
    assert found == {"stage is Proposal", "stage is Discovery", "stage is Negotiation"}


def test_sensitive_columns_are_not_named(matrix: Matrix) -> None:
    texts = _texts(matrix, _scaled(matrix, "amount", 9000.0), sensitive=("amount",))
    assert set(texts) == {"a field that is not shown here"}


def test_support_counts_opportunities_once(matrix: Matrix) -> None:
    (rule,) = rules(_tree([LEAF]), _encoding(matrix), matrix, matrix)
    assert rule["text"] == "every opportunity"
    assert (rule["rows"], rule["opportunities"]) == (N, N // 2)
    assert rule["won"] == int(matrix.keys["is_won"].iloc[::2].sum())
    assert rule["win_rate"] == pytest.approx(rule["won"] / (N // 2))
    assert rule["win_rate_low"] < rule["win_rate"] < rule["win_rate_high"]
    assert rule["win_rate_high"] - rule["win_rate_low"] == pytest.approx(2 * 1.2816 * np.sqrt(0.24 / 200), rel=0.1)


def test_open_opportunities_are_no_support(matrix: Matrix) -> None:
    open_half = Matrix(
        matrix.frame, matrix.keys.assign(is_won=matrix.keys["is_won"].where(np.arange(N) < 100)), COLUMNS
    )
    (rule,) = rules(_tree([LEAF]), _encoding(matrix), open_half, open_half)
    assert rule["opportunities"] == 50


def test_rules_are_the_trees_leaves(matrix: Matrix) -> None:
    splits = (_scaled(matrix, "calls", 2.5), _scaled(matrix, "amount", 9000.0))
    encoding = _encoding(matrix)
    nodes = [(splits[0][0], splits[0][1], 1, 2), LEAF, (splits[1][0], splits[1][1], 3, 4), LEAF, LEAF]
    found = rules(_tree(nodes), encoding, matrix, matrix)
    counts = {rule["text"]: rule["rows"] for rule in found}
    calls, amount = matrix.frame["calls"].fillna(matrix.frame["calls"].median()), matrix.frame["amount"]
    assert counts == {
        "calls so far at most 2": int((calls < 3).sum()),
        "amount at most 9,000 and calls so far at least 3 or not recorded": int(
            ((calls >= 3) & (amount <= 9000)).sum()
        ),
        "amount above 9,000 and calls so far at least 3 or not recorded": int(((calls >= 3) & (amount > 9000)).sum()),
    }
    assert [rule["rule"] for rule in found] == [1, 2, 3]
    assert [rule["win_rate"] for rule in found] == sorted((rule["win_rate"] for rule in found), reverse=True)


def test_stability(matrix: Matrix) -> None:
    encoding, tree = _encoding(matrix), _tree([LEAF])
    (same,) = rules(tree, encoding, matrix, _matrix(seed=2))
    assert same["is_stable"] is True
    assert same["later_low"] <= same["later_win_rate"] <= same["later_high"]
    changed = _matrix(seed=3)
    all_lost = Matrix(changed.frame, changed.keys.assign(is_won=0.0), COLUMNS)
    (other,) = rules(tree, encoding, matrix, all_lost)
    assert other["later_win_rate"] == 0.0
    assert other["is_stable"] is False
    (unseen,) = rules(tree, encoding, matrix, matrix.take(np.zeros(0, dtype=np.int64)))
    assert unseen["is_stable"] is None
    assert unseen["later_win_rate"] is None


def test_a_leaf_without_closed_opportunities_has_no_nan(matrix: Matrix) -> None:
    column, threshold = _scaled(matrix, "amount", 1e12)
    found = rules(_tree([(column, threshold, 1, 2), LEAF, LEAF]), _encoding(matrix), matrix, matrix)
    empty = next(rule for rule in found if not rule["opportunities"])
    assert empty["win_rate"] == pytest.approx(0.5)
    assert empty["win_rate_low"] < 0.05
    assert empty["is_stable"] is None


def test_a_last_window_whose_rows_no_column_tells_apart_gives_no_rules() -> None:
    """The search may find a tree over all windows while the last one is left without a column."""
    from types import SimpleNamespace

    from sales_pipeline.models.evaluation import candidates_of
    from sales_pipeline.models.params import TrainingParams
    from sales_pipeline.models.win import _tree_rules

    [tree] = candidates_of("win", ["decision_tree"])
    choice = SimpleNamespace(best_of=[SimpleNamespace(candidate=tree, setting={})])
    windows = SimpleNamespace(before_test=SimpleNamespace(sample=SimpleNamespace(x=np.empty((419, 0)))))
    plan = SimpleNamespace(before_test=np.arange(5), test=np.arange(5))
    assert _tree_rules(_matrix(), plan, TrainingParams(), choice, windows) == []
