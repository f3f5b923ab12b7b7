"""What words of the source mean: stages, outcomes, spellings of categories, the scale of probabilities.

Belongs here: small in-memory tables the SQL models join, made from the mapping and from the distinct values of the raw tables.
Does not belong here: anything per record.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from sqlglot import exp

from sales_pipeline.domain.stages import State
from sales_pipeline.engines.base import Engine, Source
from sales_pipeline.engines.compiler import DIALECT
from sales_pipeline.ingest.params import SourceMapping

SQL = Path(__file__).parent / "sql"

CATEGORIES: dict[str, tuple[str, ...]] = {
    "accounts": ("industry", "country", "account_type"),
    "owners": ("team",),
    "products": ("family",),
    "opportunities": ("pipeline", "lead_source", "opportunity_type"),
}
"""Columns whose spellings are brought to one; `mapping.synonyms` may respell identifiers too."""

_STAGE_SCHEMA = pa.schema([("key", pa.string()), ("state", pa.string()), ("label", pa.string())])
_OUTCOME_SCHEMA = pa.schema([("key", pa.string()), ("state", pa.string())])
_SPELLING_SCHEMA = pa.schema([("field", pa.string()), ("found", pa.string()), ("value", pa.string())])


def fold(text: str) -> str:
    """Blanks folded and case lowered, as the macro `norm` does."""
    return " ".join(text.split()).lower()


@dataclass(frozen=True)
class StageMap:
    """States and labels by folded stage name or id. `is_listed`: the source or the mapping lists its stages, so others are unknown."""

    states: Mapping[str, str]
    labels: Mapping[str, str]
    is_listed: bool

    def table(self, learned: Mapping[str, str] | None = None) -> pa.Table:
        """Columns key, state, label; `learned` states fill in where nothing is listed."""
        states = {**(learned or {}), **self.states}
        keys = sorted({*states, *self.labels})
        return pa.table([keys, [states.get(k) for k in keys], [self.labels.get(k) for k in keys]], schema=_STAGE_SCHEMA)


def stage_map(raw_stages: Source, raw_opportunities: Source, mapping: SourceMapping, engine: Engine) -> StageMap:
    """The mapping's stages, then those of the stage table; a stage's id and its label both lead to it.

    A stage that no table labels is written as most opportunities write it.
    """
    rows = engine.query(SQL / "stage_list.sql", {"raw_stages": raw_stages}).to_pylist()
    configured = {
        fold(name): state.value
        for state, names in (
            (State.WON, mapping.stages.won),
            (State.LOST, mapping.stages.lost),
            (State.OPEN, mapping.stages.open),
        )
        for name in names
    }
    states: dict[str, str] = {}
    labels: dict[str, str] = {}
    for row in rows:
        label = row["label"] or row["stage"]
        state = configured.get(fold(label)) or configured.get(fold(row["stage"])) or row["state"]
        for name in (row["stage"], label):
            labels.setdefault(fold(name), label)
            if state is not None:
                states.setdefault(fold(name), state)
    states.update(configured)
    found = _distinct(engine, raw_opportunities, ("stage",))["stage"]
    for name, spelling in _best_spellings(found).items():
        labels.setdefault(name, spelling)
    return StageMap(states, labels, is_listed=bool(states))


def outcome_map(mapping: SourceMapping) -> pa.Table:
    """Values of the outcome column that close an opportunity: the mapping's, else the very words won and lost.

    Dialects whose CRM keeps the outcome apart from the stage give it in these words.
    """
    rule = mapping.outcome
    pairs = (
        {"won": "won", "lost": "lost"}
        if rule is None
        else {fold(v): "lost" for v in rule.lost} | {fold(v): "won" for v in rule.won}
    )
    return pa.table([list(pairs), list(pairs.values())], schema=_OUTCOME_SCHEMA)


def learned_states(records: Iterable[tuple[str, str, int]]) -> dict[str, str]:
    """By folded stage name: the state most of its opportunities are in (ties: open, lost, won); `records` are stage, state and their number."""
    best: dict[str, tuple[int, int, str]] = {}
    for stage, state, number in records:
        rank = (number, ("won", "lost", "open").index(state), state)
        best[stage] = max(best.get(stage, rank), rank)
    return {key: rank[2] for key, rank in best.items()}


def _distinct(engine: Engine, raw: Source, columns: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    """Per column its distinct texts and how often each occurs."""
    found: dict[str, list[tuple[str, int]]] = {}
    for column in columns:
        value = exp.column(column, quoted=True)
        cleaned = exp.func("clean_text", value, dialect="duckdb")
        query = (
            exp.select(exp.alias_(cleaned, "found"), exp.alias_(exp.Count(this=exp.Star()), "records"))
            .from_("raw")
            .where(value.copy().is_(exp.Null()).not_())
            .group_by(exp.Literal.number(1))
        )
        rows = engine.query(query, {"raw": raw}).to_pylist()
        found[column] = [(row["found"], int(row["records"])) for row in rows if row["found"] is not None]
    return found


def _best_spellings(values: Iterable[tuple[str, int]]) -> dict[str, str]:
    """By folded text: its most frequent spelling, of equally frequent ones the smallest."""
    weights: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for text, records in values:
        weights[fold(text)][text] += records
    return {key: min(options, key=lambda s: (-options[s], s)) for key, options in weights.items()}


def spellings_of(
    values: Iterable[tuple[str, int]], synonyms: Mapping[str, str], *, fold_case: bool = True
) -> dict[str, str]:
    """Texts that are respelled: synonyms first, then each folded text to its most frequent spelling (ties: the smallest)."""
    counted = list(values)
    meant = {fold(key): value for key, value in synonyms.items()}
    best = _best_spellings((meant.get(fold(text), text), records) for text, records in counted)
    # A synonym's own spelling wins: the user wrote it.
    best.update({fold(value): value for value in synonyms.values()} if fold_case else {})
    respelled: dict[str, str] = {}
    for text, _ in counted:
        spelled = meant.get(fold(text), text)
        value = best[fold(spelled)] if fold_case else spelled
        if value != text:
            respelled[text] = value
    return respelled


def category_texts(
    table: str, raw: Source, mapping: SourceMapping, columns: Iterable[str], engine: Engine
) -> dict[str, list[tuple[str, int]]]:
    """Per column of a raw table that may be respelled its distinct texts and how often each occurs; `columns` are those the table holds."""
    categories = CATEGORIES.get(table, ())
    return _distinct(engine, raw, [c for c in columns if c in categories or c in mapping.synonyms])


def spellings(
    table: str, texts: Mapping[str, list[tuple[str, int]]], mapping: SourceMapping
) -> list[tuple[str, str, str]]:
    """Field, text found and the one it is respelled to, for the texts of one raw table that are respelled.

    Categories fold case; other columns are respelled only by the mapping's synonyms.
    """
    rows: list[tuple[str, str, str]] = []
    for column, values in texts.items():
        is_category = column in CATEGORIES.get(table, ())
        respelled = spellings_of(values, mapping.synonyms.get(column, {}), fold_case=is_category)
        rows.extend((column, found, value) for found, value in sorted(respelled.items()))
    return rows


def spelling_table(rows: Iterable[Sequence[str]]) -> pa.Table:
    """Rows of `spellings` as the table that models join."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table([pa.array(part, pa.string()) for part in columns], schema=_SPELLING_SCHEMA)


def probability_scale(sources: Iterable[Source], engine: Engine) -> float:
    """100 where any probability is written as a percentage (greater than 1 or with a sign), else 1."""
    for source in sources:
        if engine.query(SQL / "probability_scale.sql", {"raw": source}).num_rows:
            return 100.0
    return 1.0


def folded_ids(raw: Source, columns: Iterable[str], engine: Engine) -> dict[str, int | None]:
    """By id column of a Salesforce table: 1 where its 18-character ids are all of one case (a tool has folded them), 0 where one is not, None without any.

    One id in both cases acquits a column, so that only the first such id and the first full one are looked for.
    """
    found: list[exp.Query] = []
    for name in columns:
        value = exp.Trim(this=exp.column(name, quoted=True))
        is_full = exp.Length(this=value).eq(18)
        is_mixed = exp.and_(
            value.copy().neq(exp.Upper(this=value.copy())), value.copy().neq(exp.Lower(this=value.copy()))
        )
        for kind, test in (("full", is_full), ("mixed", exp.and_(is_full.copy(), is_mixed))):
            pair = (exp.alias_(exp.Literal.string(text), alias) for text, alias in ((name, "name"), (kind, "kind")))
            found.append(
                exp.select("name", "kind").from_(exp.select(*pair).from_("raw").where(test).limit(1).subquery("f"))
            )
    rows = engine.query(union(found), {"raw": raw}).to_pylist()
    kinds = {name: {row["kind"] for row in rows if row["name"] == name} for name in columns}
    return {name: None if not seen else int("mixed" not in seen) for name, seen in kinds.items()}


def union(queries: Sequence[exp.Query]) -> exp.Query:
    """UNION ALL of one or more queries."""
    result = queries[0]
    for query in queries[1:]:
        result = exp.union(result, query, distinct=False, dialect=DIALECT)
    return result


_ID_STYLES = {"salesforce": "salesforce", "dynamics": "guid"}


def id_style(mapping: SourceMapping, folded: Mapping[str, int | None]) -> str:
    """How `parse_id` reads the ids of a table of this source; `folded` as `folded_ids` gives it. Ids of most dialects are text."""
    return "salesforce_folded" if any(folded.values()) else _ID_STYLES.get(mapping.dialect, "text")
