"""The report as a page: sections in the order a sales manager reads them, put into the template.

Belongs here: the order, and the page around the sections. Does not belong here: what a section says (`sections`), whether the page may be
published (`guard`).
"""

from __future__ import annotations

from pathlib import Path

from sales_pipeline.delivery.palette import DARK, LIGHT, css_variables
from sales_pipeline.delivery.report.blocks import Section
from sales_pipeline.delivery.report.inputs import ReportInputs
from sales_pipeline.delivery.report.sections.accounts import accounts_section
from sales_pipeline.delivery.report.sections.changes import changes_of, changes_section
from sales_pipeline.delivery.report.sections.evidence import leaks_section, rules_section
from sales_pipeline.delivery.report.sections.forecast import forecast_section, forecast_sentence
from sales_pipeline.delivery.report.sections.model import model_section
from sales_pipeline.delivery.report.sections.pipeline import pipeline_of, pipeline_section
from sales_pipeline.delivery.report.sections.quality import quality_section
from sales_pipeline.delivery.report.sections.queue import queue_section
from sales_pipeline.delivery.report.sections.summary import summary_section
from sales_pipeline.delivery.report.sections.team import team_section
from sales_pipeline.delivery.report.words import Words

REPORT = "report.html"
"""The page's file in a run's folder."""
TEMPLATE = "page.html.j2"
HTML_LANGUAGE = {"en": "en", "zh": "zh-Hans"}


def report_page(inputs: ReportInputs) -> str:
    """The whole page; equal inputs give equal bytes. All text of the inputs is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    words = Words(inputs.language)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    model = inputs.card["model"]
    return environment.get_template(TEMPLATE).render(
        sections=report_sections(inputs, words),
        words=words,
        lang=HTML_LANGUAGE[inputs.language],
        day=words.formats.day(inputs.day),
        source=inputs.source_system,
        run=inputs.run_id,
        model=f"{model['name']} {model['version']}",
        light=css_variables(LIGHT),
        dark=css_variables(DARK),
    )


def report_sections(inputs: ReportInputs, words: Words) -> list[Section]:
    """The sections in order, the summary first."""
    pipeline, changes = pipeline_of(inputs, words), changes_of(inputs)
    return [
        summary_section(inputs, pipeline, changes, words, forecast=forecast_sentence(inputs, words)),
        queue_section(inputs, words),
        pipeline_section(inputs, pipeline, words),
        forecast_section(inputs, words),
        changes_section(inputs, changes, words),
        team_section(inputs, words),
        accounts_section(inputs, words),
        model_section(inputs, words),
        rules_section(inputs, words),
        leaks_section(inputs, words),
        quality_section(inputs, words),
    ]
