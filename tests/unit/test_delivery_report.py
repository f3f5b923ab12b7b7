"""The report: what it says, that it stands alone, and that nothing in the data can break it."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest

from sales_pipeline.contracts.published import FOLLOW_UP_QUEUE, PUBLISHED_TABLES
from sales_pipeline.delivery.palette import DARK, DRAWN_ON, LIGHT, TEXT_ON, contrast
from sales_pipeline.delivery.report.formats import Formats, main_currency, shortened
from sales_pipeline.delivery.report.guard import outside_references, size_problem
from sales_pipeline.delivery.report.limits import MOST_BYTES
from sales_pipeline.delivery.report.page import report_page
from sales_pipeline.delivery.report.words import PLACE, TEXTS, Words
from sales_pipeline.features.terms import Language
from sales_pipeline.models.proof import proof
from tests.support.published_run import queue_row, run_tables
from tests.support.replay_rows import make_replay
from tests.support.report_page import EARLIER, EVIL, Page, card, report_inputs
from tests.support.scored_rows import prediction_row, rows_of, scored_table, spine_row

FILES = {f"{name}.csv" for name in PUBLISHED_TABLES} | {"model_card.html"}


@pytest.fixture(scope="module")
def proven() -> dict[str, Any]:
    rows, end = make_replay(opportunities=2000)
    return proof(rows, rounds=20, seed=1, end=end)


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", Page(page).text)


def with_scored(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, pa.Table]:
    return {**run_tables(), "scored_opportunities": scored_table(*([row[part] for row in rows] for part in (0, 1)))}


class TestPage:
    @pytest.mark.parametrize("language", ["en", "zh"])
    def test_it_is_well_formed_alone_and_small(self, language: Language, proven: dict[str, Any]) -> None:
        text = report_page(report_inputs(language=language, card=card(proven)))
        page = Page(text)
        assert page.badly_closed == []
        assert len(page.ids) == len(set(page.ids))
        assert set(page.labelled) <= set(page.ids)
        assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
        assert outside_references(text, FILES) == []
        assert size_problem(text.encode()) is None
        assert "script" not in page.tags
        assert not re.search(r"https?:|@import|url\((?!#)", text)

    def test_equal_inputs_give_equal_bytes(self, proven: dict[str, Any]) -> None:
        assert report_page(report_inputs(card=card(proven))) == report_page(report_inputs(card=card(proven)))

    def test_the_summary_says_what_is_open_and_to_do(self) -> None:
        text = text_of(report_page(report_inputs()))
        assert "3 opportunities are open, worth $3K by the CRM" in text.replace("€", "$")
        assert "1 seller has 1 follow-up to do" in text
        assert "This is the first published run" in text
        assert "1 record of the export could not be used (25.0%)" in text

    def test_chinese_is_chinese(self) -> None:
        text = text_of(report_page(report_inputs(language="zh")))
        assert "共有 3 个未关闭的商机" in text
        assert "今日跟进" in text
        assert "致电" in text

    def test_every_chart_has_a_title_a_description_and_its_table(self, proven: dict[str, Any]) -> None:
        page = report_page(report_inputs(card=card(proven)))
        figures = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
        assert len(figures) == 3
        for figure in figures:
            assert re.search(r'<svg[^>]* role="img" aria-labelledby="(\S+)-title \1-desc"', figure)
            assert "<title" in figure
            assert "<desc" in figure
            assert "<table>" in figure
            assert "Q00" not in figure, "a stand-in was left"
            assert "#0b5a9d" not in figure, "a colour the dark page cannot change"

    def test_every_text_from_outside_is_text(self) -> None:
        tables = with_scored([(spine_row("a", stage=EVIL, owner_id=EVIL, account_id=EVIL), prediction_row("a"))])
        tables["follow_up_queue"] = rows_of(
            FOLLOW_UP_QUEUE, [queue_row("a", owner_id=EVIL, account_id=EVIL, reason=EVIL, evidence=EVIL)]
        )
        page = Page(report_page(report_inputs(tables, teams={EVIL: EVIL}, source_system=EVIL)))
        assert "script" not in page.tags
        assert page.badly_closed == []
        assert 'alert("$x^2$' in page.text

    def test_without_any_table_every_section_says_what_is_missing(self) -> None:
        page = Page(report_page(report_inputs({}, card=card(None, test=None))))
        assert page.classes.count("missing") >= 7
        assert "svg" not in page.tags
        assert "No opportunity is open in this export." in page.text

    def test_one_row_without_a_score_is_told(self) -> None:
        tables = with_scored([(spine_row("a"), prediction_row("a", None))])
        text = text_of(report_page(report_inputs(tables)))
        assert "1 opportunity is open; none has a probability" in text
        assert "1 of 1 open opportunity has no score: no creation date is recorded." in text

    def test_five_thousand_owners_stay_within_the_size(self) -> None:
        count = 5000
        many = [
            (spine_row(f"o{n}", owner_id=f"owner-{n}-" + "x" * 100, stage=f"stage {n}"), prediction_row(f"o{n}", 0.3))
            for n in range(count)
        ]
        tables = with_scored(many)
        rows = [
            queue_row(f"o{n}", queue_id=f"q{n}", owner_id=f"owner-{n}-" + "x" * 100, reason="r" * 2000)
            for n in range(count)
        ]
        tables["follow_up_queue"] = rows_of(FOLLOW_UP_QUEUE, rows)
        teams = {f"owner-{n}-" + "x" * 100: f"team {n}" for n in range(count)}
        text = report_page(report_inputs(tables, teams=teams))
        assert len(text.encode()) < MOST_BYTES / 3
        assert "20 of 5,000 shown" in text_of(text)


class TestChanges:
    def _inputs(self, **outcomes: str) -> Any:
        up = [{"code": "engagement", "text": "The customer wrote twice", "weight": 0.9}]
        before = scored_table(
            [spine_row(name) for name in ("kept", "won", "lost", "vanished")],
            [prediction_row(name, 0.3) for name in ("kept", "won", "lost", "vanished")],
        )
        now = scored_table(
            [spine_row("kept", stage="Proposal"), spine_row("fresh")],
            [prediction_row("kept", 0.6, reasons_up=up), prediction_row("fresh", 0.4)],
        )
        return report_inputs(
            {"scored_opportunities": now},
            previous={"scored_opportunities": before},
            previous_as_of=EARLIER,
            outcomes={"won": "won", "lost": "lost"},
        )

    def test_new_won_lost_moved_and_gone_are_counted(self) -> None:
        text = text_of(report_page(self._inputs()))
        assert "Since June 23, 2026: 1 new, 1 won, 1 lost, 1 moved to another stage" in text
        assert "no longer in the export" in text
        assert "Qualify Proposal 1" in text

    def test_the_largest_move_says_why(self) -> None:
        text = text_of(report_page(self._inputs()))
        assert "30% 60% +30 stage Qualify → Proposal · The customer wrote twice" in text


class TestGuard:
    @pytest.mark.parametrize(
        "page",
        [
            '<script src="a.js"></script>',
            '<img src="x.png">',
            '<a href="https://example.com">x</a>',
            '<a href="//example.com">x</a>',
            '<a href="other.csv">x</a>',
            '<link rel="stylesheet" href="a.css">',
            "<style>@import 'a.css';</style>",
            "<style>p { background: url(a.png) }</style>",
            '<p style="background: url(a.png)">x</p>',
            '<p onclick="x()">x</p>',
            '<svg><use xlink:href="a.svg#b"/></svg>',
            '<meta http-equiv="refresh" content="1">',
        ],
    )
    def test_what_leads_out_is_found(self, page: str) -> None:
        assert outside_references(page, {"left_out.csv"})

    def test_anchors_and_files_beside_it_are_allowed(self) -> None:
        page = '<a href="#top">x</a><a href="left_out.csv">x</a><g clip-path="url(#c)"></g><p>url(x) https://a</p>'
        assert outside_references(page, {"left_out.csv"}) == []

    def test_a_page_too_large_is_called_so(self) -> None:
        assert size_problem(b"x" * MOST_BYTES) is None
        assert "600,001 bytes" in (size_problem(b"x" * (MOST_BYTES + 1)) or "")


class TestPalette:
    @pytest.mark.parametrize("palette", [LIGHT, DARK])
    def test_contrast_is_what_wcag_asks_for(self, palette: dict[str, str]) -> None:
        assert contrast("#000000", "#ffffff") == pytest.approx(21)
        text = {pair: contrast(palette[pair[0]], palette[pair[1]]) for pair in TEXT_ON}
        drawn = {pair: contrast(palette[pair[0]], palette[pair[1]]) for pair in DRAWN_ON}
        assert {pair: ratio for pair, ratio in text.items() if ratio < 4.5} == {}
        assert {pair: ratio for pair, ratio in drawn.items() if ratio < 3} == {}

    def test_both_schemes_name_the_same_colours(self) -> None:
        assert LIGHT.keys() == DARK.keys()
        assert len(set(LIGHT.values())) == len(LIGHT)


class TestWords:
    @pytest.mark.parametrize("key", sorted(TEXTS))
    def test_both_languages_have_the_same_places(self, key: str) -> None:
        english, chinese = TEXTS[key]
        assert chinese
        if english:
            assert {found[0] for found in PLACE.findall(chinese)} <= {found[0] for found in PLACE.findall(english)}
            plain = {found[0] for found in PLACE.findall(english) if not found[2]}
            assert plain <= {found[0] for found in PLACE.findall(chinese)}

    def test_a_count_takes_its_word(self) -> None:
        words = Words("en")
        assert words("worry.no_owner", count=1) == "1 open opportunity has no owner."
        assert words("worry.no_owner", count=1200) == "1,200 open opportunities have no owner."
        assert words.code("action", "fly_there") == "fly there"

    def test_notation_follows_the_language(self) -> None:
        en, zh = Formats("en"), Formats("zh")
        assert (en.money(999_999.9, "USD"), en.money(999.7, "USD"), zh.money(9505.18, "USD")) == (
            "$1M",
            "$1K",
            "US$9,505",
        )
        assert (en.money(1_234_567, "USD"), zh.money(1_234_567, "USD")) == ("$1.2M", "US$123.5万")
        assert (en.percent(0.004), en.percent(0.25), en.points(-0.126)) == ("0.4%", "25%", "−13")
        assert {en.money(None, "USD"), en.count(float("nan")), en.span(None, 0.2), en.day(None)} == {"–"}
        assert main_currency(["EUR", "USD", "EUR", None]) == "EUR"
        assert main_currency([]) is None
        assert shortened("abcdef", 4) == "abc…"
