"""The section on the accounts: says what is missing while no run publishes its tables."""

from __future__ import annotations

from sales_pipeline.delivery.report.blocks import Missing, Section
from sales_pipeline.delivery.report.words import Words

ID = "accounts"


def accounts_section(words: Words) -> Section:
    """The section."""
    return Section(ID, words("accounts.title"), words("accounts.lead"), [Missing(words("accounts.missing"))])
