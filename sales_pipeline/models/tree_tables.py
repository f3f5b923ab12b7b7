"""Boosted trees as tables: what a small tree gives a row, and what each column adds to that, looked up by the tree's decisions about the row.

A tree sees of a row only on which side of each of its splits it lies. With at most `MOST_SPLITS` splits there are few such patterns, so that score and
contributions of every pattern are worked out once per model, and a row costs a comparison per threshold and a look-up per tree and column.

Contributions are Shapley values of the tree's columns (Shapley, 1953) in the game of Lundberg et al., "From local explanations to global understanding with
explainable AI for trees" (2020), algorithm 1: a coalition's worth is the tree's mean where only its columns are known, the sides of other splits weighing as many
training rows as went there. They are added up over all coalitions, as defined; LightGBM comes to the same by another way (tested to 1e-9).

Belongs here: reading LightGBM's text, tables, looking up. Does not belong here: larger trees, which LightGBM itself scores and takes apart (`estimators`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from sales_pipeline.models.matrix import Floats, Indices

MOST_SPLITS = 8
"""Of a tree that is made a table: 256 patterns, at most as many coalitions."""
_CATEGORICAL, _MISSING = 0b0001, 0b1100
"""Bits of LightGBM's `decision_type`: a split by category; what is taken for missing (none of them: nothing is)."""


@dataclass(frozen=True)
class TreeTable:
    """One tree. A row's pattern is the binary number of its splits in order, 1 where the row goes left.

    tests
        Number of the comparison (`TreeTables`) of each split.
    score
        (patterns,): the value of the leaf.
    columns, effects
        The columns split on, and (columns, patterns): what each adds to the score, against the mean of the training rows.
    """

    tests: tuple[int, ...]
    score: Floats
    columns: tuple[int, ...]
    effects: Floats


@dataclass(frozen=True)
class TreeTables:
    """All trees of a model, and the distinct comparisons they make: test i asks whether `columns[i]` is at most `thresholds[i]`, ascending by column."""

    columns: tuple[int, ...]
    thresholds: tuple[float, ...]
    trees: tuple[TreeTable, ...]

    @classmethod
    def read(cls, text: str) -> TreeTables | None:
        """The tables of a LightGBM model; None where it has a tree that is too large, or splits that are no comparisons of numbers."""
        found = [_Tree.read(block) for block in text.split("\nTree=")[1:]]
        trees = [tree for tree in found if tree is not None]
        if len(trees) < len(found):
            return None
        splits = sorted({split for tree in trees for split in tree.splits})
        number = {split: place for place, split in enumerate(splits)}
        return cls(
            tuple(column for column, _ in splits),
            tuple(threshold for _, threshold in splits),
            tuple(tree.table(tuple(number[split] for split in tree.splits)) for tree in trees),
        )

    def score(self, x: Floats) -> Floats:
        """Raw scores of the rows of a matrix without NaN: bit for bit those of LightGBM, as leaves are added in the same order."""
        total, values = np.zeros(len(x)), np.empty(len(x))
        for tree, pattern in zip(self.trees, self._patterns(x), strict=True):
            total += _look_up(tree.score, pattern, values)
        return total

    def contributions(self, x: Floats, groups: Indices) -> Floats:
        """What each group of columns adds to the raw scores, (rows, groups); `groups` has the group of every column of the matrix."""
        added = np.zeros((int(groups.max(initial=-1)) + 1, len(x)))
        values = np.empty(len(x))
        for tree, pattern in zip(self.trees, self._patterns(x), strict=True):
            for column, effects in zip(tree.columns, tree.effects, strict=True):
                added[groups[column]] += _look_up(effects, pattern, values)
        return added.T

    def _patterns(self, x: Floats) -> Any:
        """Per tree the pattern of every row."""
        by_column = np.ascontiguousarray(x.T)
        passed = np.empty((len(self.columns), len(x)), dtype=bool)
        for row, column, threshold in zip(passed, self.columns, self.thresholds, strict=True):
            np.less_equal(by_column[column], threshold, out=row)
        bits = passed.view(np.uint8)
        pattern = np.empty(len(x), dtype=np.uint8)
        for tree in self.trees:
            pattern[:] = 0
            for test in tree.tests:
                pattern += pattern
                pattern += bits[test]
            yield pattern.astype(np.intp)


def _look_up(table: Floats, pattern: npt.NDArray[np.intp], out: Floats) -> Floats:
    """The entries of a table, which has one for every pattern: nothing is out of range, and `wrap` looks after that for least."""
    return table.take(pattern, out=out, mode="wrap")


@dataclass(frozen=True)
class _Tree:
    """A tree as LightGBM writes it: (column, threshold) of splits, in an order in which parents come first; a child below 0 is the leaf ~child.

    `leaf_rows` are the training rows of every leaf.
    """

    splits: tuple[tuple[int, float], ...]
    children: tuple[tuple[int, int], ...]
    leaf_value: tuple[float, ...]
    leaf_rows: tuple[int, ...]

    @classmethod
    def read(cls, block: str) -> _Tree | None:
        """From the lines `name=values` after `Tree=`; None where it cannot be made a table."""
        lines = dict(line.split("=", 1) for line in block.split("\n\n", 1)[0].splitlines() if "=" in line)
        columns, decisions, left, right, leaf_rows = (
            tuple(int(value) for value in lines[name].split())
            for name in ("split_feature", "decision_type", "left_child", "right_child", "leaf_count")
        )
        thresholds, leaf_value = (
            tuple(float(value) for value in lines[name].split()) for name in ("threshold", "leaf_value")
        )
        is_plain = lines["is_linear"] == "0" and not any(kind & (_CATEGORICAL | _MISSING) for kind in decisions)
        if len(columns) > MOST_SPLITS or not is_plain:
            return None
        return cls(
            tuple(zip(columns, thresholds, strict=True)), tuple(zip(left, right, strict=True)), leaf_value, leaf_rows
        )

    def table(self, tests: tuple[int, ...]) -> TreeTable:
        """Score and contributions of every pattern."""
        count = len(self.splits)
        columns = tuple(sorted({column for column, _ in self.splits}))
        patterns = np.arange(2**count)
        coalitions = np.arange(2 ** len(columns))[:, None]
        # Per coalition and pattern the share of training rows that what is known lets come to a node.
        reach: dict[int, Floats] = {0: np.ones((len(coalitions), len(patterns)))}
        worth = np.zeros((len(coalitions), len(patterns)))
        rows = self._rows()
        for node, (column, _) in enumerate(self.splits):
            left, right = self.children[node]
            is_known = (coalitions >> columns.index(column) & 1).astype(bool)
            goes_left = (patterns >> (count - 1 - node) & 1).astype(np.float64)
            share = np.where(is_known, goes_left, rows[left] / rows[node])
            here = reach.pop(node)
            for child, part in ((left, share), (right, 1.0 - share)):
                if child < 0:
                    worth += self.leaf_value[~child] * (here * part)
                else:
                    reach[child] = here * part
        if not count:
            worth += self.leaf_value[0]
        return TreeTable(tests, worth[-1], columns, _shapley(len(columns)) @ worth)

    def _rows(self) -> dict[int, int]:
        """Training rows of every node and leaf."""
        rows = {~leaf: count for leaf, count in enumerate(self.leaf_rows)}
        for node in reversed(range(len(self.children))):
            left, right = self.children[node]
            rows[node] = rows[left] + rows[right]
        return rows


@cache
def _shapley(players: int) -> Floats:
    """(players, coalitions): by what the worths of all coalitions, numbered by the bits of who is in them, are to be added up to Shapley values."""
    weights = np.zeros((players, 2**players))
    for player in range(players):
        for coalition in range(2**players):
            size = coalition.bit_count()
            if coalition >> player & 1:
                weights[player, coalition] = factorial(size - 1) * factorial(players - size)
            else:
                weights[player, coalition] = -factorial(size) * factorial(players - size - 1)
    return weights / factorial(players)
