"""The named rules of cleaning and how many cells or records each touched.

Belongs here: the list of rules and the query that counts them. Does not belong here: the rules' SQL (sql/ and engines/macros/). A rule
that changes a value without setting it to NULL leaves a `touched_<rule>` column in a staged table; one that could not use a value
leaves the value in `bad_`, `early_` or `orphan_<column>`; one that refuses a record sets `problem`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sqlglot import exp

from sales_pipeline.clean.ledger import ISSUE_REASONS
from sales_pipeline.engines.base import Engine, WorkTable

TOUCHED: dict[str, str] = {
    "spelling": "category brought to its most frequent spelling, or respelled by mapping.synonyms",
    "id": "identifier trimmed, or brought to its usual form (18 characters, a GUID in lower case)",
    "blanks": "outer blanks removed and inner ones folded",
    "stage_label": "stage named by id or in another case brought to its label",
    "no_stage": "no stage and nothing else says won or lost: taken as open",
    "amount": "money read from a notation other than plain digits",
    "amount_unit": "money written in a Chinese unit (万, 亿, 千万) multiplied out",
    "close_before_creation": "close date lies before the creation: counted, left as it is",
}
"""Rules that leave a value, by the rest of the column's name after `touched_`."""

PROBLEMS: dict[str, str] = {
    "missing key": "record without its identifier: quarantined",
    "unknown stage": "stage whose meaning nobody says: quarantined",
    "no instant": "event without a readable instant: quarantined",
    "no value": "record without the value it is about: quarantined",
    "orphan": "belongs to an opportunity the exports do not hold: quarantined",
    "deleted": "deleted in the CRM: kept out, structural",
    "other field": "history of a field no canonical column holds: structural",
}
"""Rules that refuse a record, by reason."""


@dataclass(frozen=True)
class RuleCount:
    """One rule on one table: what it means and how many records (or cells, one per record) it touched."""

    rule: str
    table: str
    column: str
    meaning: str
    records: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able data."""
        return asdict(self)


def count(table: str, staged: WorkTable, engine: Engine) -> list[RuleCount]:
    """All rules over one staged table (`table`: its raw table's name without `raw_`), those that touched nothing included."""
    counts: list[RuleCount] = []
    names = staged.columns
    touched = [n for n in names if n.startswith("touched_")]
    unusable = [n for n in names if n.partition("_")[0] in ISSUE_REASONS]
    tests: dict[str, exp.Expr] = {n: exp.column(n) for n in touched}
    tests |= {n: exp.column(n).is_(exp.Null()).not_() for n in unusable}
    tests |= {f"problem {p}": exp.column("problem").eq(p) for p in PROBLEMS}
    tests["duplicate"] = exp.column("problem").is_(exp.Null()).and_(exp.column("version") > 1)
    query = exp.select(
        *(
            exp.alias_(exp.Count(this=exp.Case().when(test, exp.Literal.number(1))), name, quoted=True)
            for name, test in tests.items()
        )
    ).from_("staged")
    row = engine.query(query, {"staged": staged}).to_pylist()[0]
    for name in touched:
        rule = name.removeprefix("touched_")
        counts.append(RuleCount(rule, table, "", TOUCHED[rule], int(row[name])))
    for name in unusable:
        prefix, _, column = name.partition("_")
        meaning = f"value that {ISSUE_REASONS[prefix]}: set to NULL with a cell issue"
        counts.append(RuleCount(prefix, table, column, meaning, int(row[name])))
    for problem, meaning in PROBLEMS.items():
        if row[f"problem {problem}"]:
            counts.append(RuleCount(problem, table, "", meaning, int(row[f"problem {problem}"])))
    counts.append(RuleCount("duplicate", table, "", "the latest record of a key is kept", int(row["duplicate"])))
    return counts
