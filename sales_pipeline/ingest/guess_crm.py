"""What the files of a recognised CRM leave to be guessed or asked: what is won, notations, names that stand for ids, what is not in the export.

Belongs here: guesses over a built-in dialect's specs. Does not belong here: recognising the CRM (`guess`), plain tables (`guess_table`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sales_pipeline.ingest import synonyms as words
from sales_pipeline.ingest.columns import Constant, Lookup, Rule, Take, Words, headers_of, parts, word
from sales_pipeline.ingest.dialects.spec import TableSpec, built_in, choose
from sales_pipeline.ingest.guess_table import GuessedMapping, guess_notation, guess_stages
from sales_pipeline.ingest.profile import FileProfile

_DATES = (*words.DATES, "changed_at", "opened_at", "period_start")
_MONEY = ("amount", "annual_revenue", "list_price", "total_price")
_EXPECTED = (("created_at", "when an opportunity was created"), ("owner_id", "who owns an opportunity"))
Chosen = list[tuple[FileProfile, TableSpec]]


def guess_details(files: Sequence[FileProfile], dialect: str, guessed: GuessedMapping) -> None:
    """Add stages, notations and questions to the mapping of a recognised dialect."""
    spec = built_in(dialect)
    chosen = [(file, one) for file in files for one in choose(spec, file.name, file.header)]
    deals = [
        (file, one)
        for file, one in chosen
        if one.table == "opportunities" and one.columns.get("kind") != Constant("lead")
    ]
    _guess_states(chosen, deals, guessed)
    _guess_notation(chosen, guessed)
    if dialect in ("dynamics", "odoo", "chinese"):
        _guess_currency(deals, guessed)
        _ask_for_ids(chosen, deals, guessed)
        _ask_for_columns(deals, guessed)
        _ask_for_lost(dialect, deals, guessed)


def _guess_states(chosen: Chosen, deals: Chosen, guessed: GuessedMapping) -> None:
    if any(one.table == "stages" and one.has("is_won", file.header) for file, one in chosen):
        guessed.comments["dialect"] += "\nwhich stages are won or lost is taken from the export's own list of stages"
        return
    stages: set[str] = set()
    for file, one in deals:
        won, stage = _teller(file, one), _first(file, one, one.columns.get("stage"))
        if won is not None:
            guessed.comments["dialect"] += f"\nwhat is won is told by {won!r} of {file.name}"
            stages |= set(file.values(stage)) if stage is not None and "outcome" in one.columns else set()
        elif stage is not None:
            guess_stages(file, stage, guessed)
    if stages:
        _list_stages(sorted(stages), guessed)


def _teller(file: FileProfile, spec: TableSpec) -> str | None:
    """The header that says what is won: where it must say so in words, one that has such a word."""
    for part in parts(spec.columns["is_won"]) if "is_won" in spec.columns else ():
        for header in headers_of(part):
            found = _first(file, spec, Take((header,)))
            values = file.values(found) if found is not None else []
            if found is not None and (
                not isinstance(part, Words) or not values or any(word(value, part.patterns) for value in values)
            ):
                return found
    return None


def _list_stages(values: Sequence[str], guessed: GuessedMapping) -> None:
    """The stages of a CRM whose records say apart from them whether they are won: open ones, but for those that sound closed."""
    won = [value for value in values if re.search(words.WON, value.strip(), re.IGNORECASE)]
    lost = [value for value in values if re.search(words.LOST, value.strip(), re.IGNORECASE)]
    still = [value for value in values if value not in won and value not in lost]
    guessed.mapping["stages"] = {"open": still, "won": won, "lost": lost}
    guessed.comments["stages"] = "from the records; a record's own word on won or lost goes before an open stage"
    if len(still) > 1:
        guessed.ask("stages.open", "put the open stages in the order of your process; they stand in alphabetical order")


def _guess_notation(chosen: Chosen, guessed: GuessedMapping) -> None:
    orders: set[str] = set()
    signs: set[str] = set()
    for file, one in chosen:
        for column, rule in one.columns.items():
            for header in _present(file, one, rule):
                if column in _DATES:
                    orders |= file.date_orders(header)
                if column in (*_MONEY, "crm_probability"):
                    signs |= file.decimal_signs(header)
    guess_notation(orders, signs, guessed)


def _guess_currency(deals: Chosen, guessed: GuessedMapping) -> None:
    if not deals or any(_first(file, one, one.columns.get("currency")) for file, one in deals):
        return
    shown = " ".join(
        " ".join((header, *file.values(header)[:200]))
        for file, one in deals
        for header in _present(file, one, one.columns.get("amount"))
    )
    found = {code for code, pattern in words.CURRENCIES if re.search(pattern, shown, re.IGNORECASE)}
    guessed.mapping["currency"] = next(iter(found)) if len(found) == 1 else "USD"
    guessed.comments["currency"] = "from the amounts or their header" if len(found) == 1 else "a guess"
    if len(found) != 1:
        guessed.ask("currency", "in which currency are amounts without one?")


def _ask_for_ids(chosen: Chosen, deals: Chosen, guessed: GuessedMapping) -> None:
    """Where a file names owners or accounts by display name alone and holds no table of them with ids, the name would be the id."""
    there = {one.table for _, one in chosen}
    for column, what in (("owner_id", "owners"), ("account_id", "accounts")):
        for file, one in deals:
            rule = one.columns.get(column)
            pieces = list(parts(rule)) if rule is not None else []
            by_name = [part for part in pieces if isinstance(part, Lookup) and part.is_unique]
            named = [header for part in by_name for header in _present(file, one, part)]
            ids = [header for part in pieces for header in _present(file, one, part) if header not in named]
            if named and not ids and what not in there:
                guessed.ask(
                    f"ids of {what}",
                    f"{what} are named in {named[0]!r} of {file.name} by their display name, which becomes their id and stands in the "
                    f"published tables: is that right? Else export the {what} with their ids too",
                )


def _ask_for_columns(deals: Chosen, guessed: GuessedMapping) -> None:
    for file, one in deals:
        for column, what in _EXPECTED:
            if not one.has(column, file.header):
                guessed.ask(
                    f"header_synonyms.{column}",
                    f"does a column of {file.name} say {what}? None was recognised; name it in header_synonyms: {{{column}: […]}}",
                )


def _ask_for_lost(dialect: str, deals: Chosen, guessed: GuessedMapping) -> None:
    """Odoo's lists leave archived records out, and lost ones are archived."""
    if dialect != "odoo":
        return
    for file, one in deals:
        rule = one.columns["outcome"]
        told = [
            word(value, part.patterns)
            for part in parts(rule)
            if isinstance(part, Words)
            for header in _present(file, one, part)
            for value in file.values(header)
        ]
        if "lost" not in told:
            guessed.ask(
                "lost records",
                f"{file.name} holds no lost record that says so: was it exported with the filter for lost or archived records on, "
                "and with the columns active or won_status? Without lost ones nothing can be learned",
            )


def _present(file: FileProfile, spec: TableSpec, rule: Rule | None) -> Iterator[str]:
    """The file's headers that a rule reads."""
    wanted = {spec.form(name) for name in headers_of(rule)} if rule is not None else set()
    yield from (header for header in file.header if spec.form(header) in wanted)


def _first(file: FileProfile, spec: TableSpec, rule: Rule | None) -> str | None:
    return next(_present(file, spec, rule), None)
