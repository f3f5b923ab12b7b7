"""Frequency-table naive Bayes: the formula of predictive lead scoring as a peer documents it, and the same idea as a candidate.

`FrequencyTables` is that formula to the letter, on leads with a stage, a team, fields and tags; the figures published with it are conformance
tests. `fit_frequencies` is the candidate family: the same frequencies and smoothing counted on landmark rows, where it becomes a linear function
of the category columns. Belongs here: both. Does not belong here: the families that are fitted by optimisation (`candidates`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sales_pipeline.models.estimators import Linear
from sales_pipeline.models.matrix import Encoded, Floats, Indices, codes
from sales_pipeline.models.teaching import first_of_landmark

SMOOTHING = 0.1
"""What every count starts with; 1 would weigh too much in small tables."""
LEAST_TAG_COUNT = 50.0
"""Won and lost together, smoothing included, below which a team's tag says nothing."""
STAGE, TAG = "stage", "tag"
EMPTY = "False"
POOLED = "\x00pooled"

Counts = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True)
class Lead:
    """A lead as the formula sees it. A field without a value is skipped, except where an empty value is one of its own (`empty_counts`)."""

    stage: str | None
    team: str | None = None
    fields: Mapping[str, str | None] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Factor:
    """One value's share in a score: how often won and lost leads have it. `score` above 0.5 speaks for winning, below against."""

    name: str
    value: str
    won_share: float
    lost_share: float
    score: float


@dataclass(frozen=True)
class FrequencyTables:
    """Counts of won and lost leads by team, field and value; `tables` holds one table per team and the pooled one.

    Built by `of`. `stages` are in order; the first of them holds the priors, because a won lead counts for every stage and a lost one for its
    own and all before it.
    """

    stages: tuple[str, ...]
    won_stages: frozenset[str]
    empty_counts: frozenset[str]
    tables: Mapping[str, Counts]

    @classmethod
    def of(
        cls,
        closed: Iterable[tuple[Lead, bool]],
        stages: Sequence[str],
        *,
        won_stages: Iterable[str] = (),
        empty_counts: Iterable[str] = (),
    ) -> FrequencyTables:
        """Count closed leads (True: won), whose values are those they closed with.

        `stages` come in order and belong to every team. The pooled table sums the teams' smoothed rows, and the rows of leads without a team;
        it serves leads whose team has no table, or that have none.
        """
        order = {stage: number for number, stage in enumerate(stages)}
        skipped = frozenset(empty_counts)
        teams: dict[str | None, Counts] = {}
        for lead, is_won in closed:
            table = teams.setdefault(lead.team, {})
            reached = len(stages) if is_won else order[lead.stage] + 1 if lead.stage in order else 0
            values = [(STAGE, stage) for stage in stages[:reached]]
            values += [(name, value) for name, value in _values(lead, skipped) if name != STAGE]
            for name, value in values:
                won, lost = table.setdefault(name, {}).get(value, (SMOOTHING, SMOOTHING))
                table[name][value] = (won + is_won, lost + (not is_won))
        pooled: Counts = {}
        for table in teams.values():
            if TAG in table:
                table[TAG] = {tag: pair for tag, pair in table[TAG].items() if sum(pair) >= LEAST_TAG_COUNT}
            for name, rows in table.items():
                for value, (won, lost) in rows.items():
                    before = pooled.setdefault(name, {}).get(value, (0.0, 0.0))
                    pooled[name][value] = (before[0] + won, before[1] + lost)
        tables = {team: table for team, table in teams.items() if team is not None}
        return cls(tuple(stages), frozenset(won_stages), skipped, {**tables, POOLED: pooled})

    def probability(self, lead: Lead) -> float | None:
        """In percent, rounded to 2 decimals within 0.01 and 99.99; None where the table has no lead to start from.

        0 without a stage, 100 in a stage that means won. A team of which all leads were lost, or all won, has its smoothed prior like any other.
        """
        if lead.stage is None:
            return 0.0
        if lead.stage in self.won_stages:
            return 100.0
        table = self._table(lead)
        won, lost = self._totals(table)
        if won <= 0 or lost <= 0:
            return None
        odds = won / lost
        for name, _, won_share, lost_share in self._shares(lead, table):
            if name == STAGE or (won_share > 0 and lost_share > 0):
                odds *= won_share / lost_share
        return float(min(max(round(100 * odds / (1 + odds), 2), 0.01), 99.99))

    def factors(self, lead: Lead) -> list[Factor]:
        """Each value's share in the score, highest first: won share over both shares; a stage's score is one less its share of lost leads."""
        found = [
            Factor(name, value, won, lost, 1 - lost if name == STAGE else won / (won + lost))
            for name, value, won, lost in self._shares(lead, self._table(lead))
        ]
        return sorted(found, key=lambda factor: (-factor.score, factor.name, factor.value))

    def _table(self, lead: Lead) -> Counts:
        return self.tables.get(lead.team or POOLED, self.tables[POOLED])

    def _totals(self, table: Counts) -> tuple[float, float]:
        return table.get(STAGE, {}).get(self.stages[0], (0.0, 0.0)) if self.stages else (0.0, 0.0)

    def _shares(self, lead: Lead, table: Counts) -> Iterable[tuple[str, str, float, float]]:
        """(field, value, share among won, share among lost) of every value the table knows."""
        for name, value in _values(lead, self.empty_counts):
            rows = table.get(name, {})
            if value not in rows:
                continue
            if name == STAGE:
                all_won, all_lost = self._totals(table)
            else:
                all_won = sum(won for won, _ in rows.values())
                all_lost = sum(lost for _, lost in rows.values())
            if all_won > 0 and all_lost > 0:
                yield name, value, rows[value][0] / all_won, rows[value][1] / all_lost


def _values(lead: Lead, empty_counts: frozenset[str]) -> list[tuple[str, str]]:
    found = [(STAGE, lead.stage)] if lead.stage is not None else []
    for name, value in lead.fields.items():
        if value is not None:
            found.append((name, value))
        elif name in empty_counts:
            found.append((name, EMPTY))
    return [*found, *((TAG, tag) for tag in lead.tags)]


def fit_frequencies(rows: Encoded, won: Floats, weight: Floats, *, smoothing: float) -> Linear:
    """The candidate: log-odds of the base rate plus, per category, ln(share among won / share among lost) of the row's value.

    The formula above on landmark rows, with what landmarks change. One vote per opportunity and value (its landmarks' mean weight): rows of one
    opportunity repeat each other. The stage counts as it stood at the landmark, by plain frequency: the cumulative rule makes up for stages known at
    closing only, and would let every step forward raise the score. The team is a category like the others instead of a table of its own, and
    values missing at the landmark are a value. Categories are the matrix's one-hot blocks; numbers take no part. Being a sum over
    one-hot columns it is `Linear`, and its contributions are exact. Independence overstates: the scores need a calibrator.
    """
    opportunity = codes(rows.keys["opportunity_id"])
    count = int(opportunity.max(initial=-1)) + 1
    is_first = first_of_landmark(rows.keys).astype(np.float64)
    coefficients = np.zeros(rows.x.shape[1])

    def votes(chosen: Indices) -> tuple[float, float]:
        """Won and lost votes of opportunities with a row among the chosen."""
        who = opportunity[chosen]
        times = np.maximum(np.bincount(who, weights=is_first[chosen], minlength=count), 1.0)
        for_winning, for_losing = (
            float((np.bincount(who, weights=(weight * part)[chosen], minlength=count) / times).sum())
            for part in (won, 1.0 - won)
        )
        return for_winning, for_losing

    for block in one_hot_blocks(rows):
        counted = np.array([votes(np.flatnonzero(rows.x[:, column] > 0.5)) for column in block]) + smoothing
        coefficients[block] = np.log(counted[:, 0] / counted[:, 0].sum()) - np.log(counted[:, 1] / counted[:, 1].sum())
    all_won, all_lost = votes(np.arange(len(rows), dtype=np.int64))
    intercept = float(np.log((all_won + smoothing) / (all_lost + smoothing)))
    return Linear(coefficients, intercept, rows.x.mean(axis=0))


def one_hot_blocks(rows: Encoded) -> list[Indices]:
    """Matrix columns of each category: the groups in which every row has a single one and otherwise zeros."""
    blocks: list[Indices] = []
    for group in range(int(rows.groups.max(initial=-1)) + 1):
        block = np.flatnonzero(rows.groups == group)
        part = rows.x[:, block]
        if len(block) > 1 and bool(((part == 0) | (part == 1)).all()) and bool((part.sum(axis=1) == 1).all()):
            blocks.append(block)
    return blocks
