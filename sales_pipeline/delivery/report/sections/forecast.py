"""The section on the forecast: says what is missing while no run publishes its tables."""

from __future__ import annotations

from sales_pipeline.delivery.report.blocks import Missing, Section
from sales_pipeline.delivery.report.words import Words

ID = "forecast"


def forecast_section(words: Words) -> Section:
    """The section."""
    return Section(ID, words("forecast.title"), words("forecast.lead"), [Missing(words("forecast.missing"))])
