"""The section on the team: says what is missing while no run publishes its tables."""

from __future__ import annotations

from sales_pipeline.delivery.report.blocks import Missing, Section
from sales_pipeline.delivery.report.words import Words

ID = "team"


def team_section(words: Words) -> Section:
    """The section."""
    return Section(ID, words("team.title"), words("team.lead"), [Missing(words("team.missing"))])
