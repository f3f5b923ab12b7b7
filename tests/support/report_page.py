"""Small inputs for tests of the report, and what a test reads off the page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa

from sales_pipeline.contracts.published import ROW_LEDGER_SUMMARY
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.domain.time import AsOf
from sales_pipeline.models.model_card import model_card
from tests.support.cards import training_card
from tests.support.published_run import RUN, run_tables
from tests.support.replay_rows import replay_facts
from tests.support.scored_rows import AS_OF, rows_of

EARLIER = AsOf(AS_OF.instant - timedelta(days=7))
EVIL = "<script>alert(\"$x^2$ & 'y'\")</script>"
VOID = {"meta", "br", "hr", "input", "wbr", "col"}


def ledger_row(outcome: str, records: int, **values: Any) -> dict[str, Any]:
    return {
        "file": "Opportunity.csv",
        "sha256": "ab",
        "export_id": "e1",
        "canonical_table": "opportunities",
        "outcome": outcome,
        "reason": "",
        "records": records,
        "run_id": RUN,
    } | values


def report_inputs(tables: Mapping[str, pa.Table] | None = None, **values: Any) -> ReportInputs:
    """The inputs of the small complete run, with a ledger and a card of the last window."""
    ledger = [ledger_row("accepted", 3), ledger_row("quarantined", 1, reason="too few fields")]
    found = {**run_tables(), ROW_LEDGER_SUMMARY.name: rows_of(ROW_LEDGER_SUMMARY, ledger)}
    given: dict[str, Any] = {
        "tables": found if tables is None else tables,
        "card": card(),
        "run_id": RUN,
        "as_of": AS_OF,
        "source_system": "crm",
        "teams": {"seller-1": "North"},
    }
    return ReportInputs(**(given | values))


def card(proof: dict[str, Any] | None = None, **win: Any) -> dict[str, Any]:
    """A model card, with a replay where a proof is given."""
    facts = replay_facts(8) if proof else None
    return model_card(training_card(**win), name="win-probability", version="v1", proof=proof, replay=facts)


class Page(HTMLParser):
    """Tags in order, ids, links, texts of elements without markup, and tags that never close or close twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.classes: list[str] = []
        self.labelled: list[str] = []
        self.badly_closed: list[str] = []
        self._open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        self.badly_closed += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)
        self.text += " "
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.badly_closed.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text += data

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name == "class":
                self.classes.append(value or "")
            elif name == "aria-labelledby":
                self.labelled += (value or "").split()
