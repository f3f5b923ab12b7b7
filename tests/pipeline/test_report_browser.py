"""The report in headless Chromium: nothing leaves the page, every control is reached by keyboard, everything can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.delivery.report.page import report_page
from sales_pipeline.models.proof import proof
from tests.support.chromium import CHROMIUM, Tab, chromium
from tests.support.management_rows import management_tables
from tests.support.published_run import run_tables
from tests.support.replay_rows import make_replay
from tests.support.report_page import EARLIER, card, report_inputs

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]
LOOKS = [(width, is_dark) for width in (390, 1280) for is_dark in (False, True)]
CONTROLS = "[...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')].filter(e => e.checkVisibility())"
ACTIVE = """(() => { const e = document.activeElement, s = getComputedStyle(e);
  return [[...document.querySelectorAll('*')].indexOf(e), e.tagName, s.outlineStyle, parseFloat(s.outlineWidth)]; })()"""
FAINT = """(() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number); return m.length === 3 ? [...m, 1] : m; };
  const light = c => { const [r, g, b] = c.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; }
    return [255, 255, 255, 1]; };
  const found = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (['title', 'desc'].includes(e.tagName)) continue;
    const style = getComputedStyle(e), text = parse(e.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(text.slice(0, 3)), light(ground(e).slice(0, 3))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push([e.tagName, e.textContent.trim().slice(0, 40), ratio]);
  }
  return found; })()"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("report")
    rows, end = make_replay(opportunities=1500)
    values: dict[str, Any] = {
        "card": card(proof(rows, rounds=20, seed=1, end=end)),
        "previous": {"scored_opportunities": run_tables(EARLIER)["scored_opportunities"]},
        "previous_as_of": EARLIER,
    }
    found = {}
    for language in ("en", "zh"):
        inputs = report_inputs({**run_tables(), **management_tables()}, language=language, **values)
        found[language] = folder / f"{language}.html"
        found[language].write_text(report_page(inputs), encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_no_request_leaves_the_page_and_the_console_is_silent(tab: Tab, pages: dict[str, Path]) -> None:
    tab.requests.clear()
    tab.messages.clear()
    tab.open(pages["en"])
    assert tab.requests == [pages["en"].resolve().as_uri()]
    assert tab.messages == []


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("width", "is_dark"), LOOKS)
def test_it_fits_and_can_be_read(tab: Tab, pages: dict[str, Path], language: str, width: int, is_dark: bool) -> None:
    tab.open(pages[language], width, is_dark=is_dark)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    for _ in range(2):
        assert tab.evaluate(FAINT) == []
        tab.evaluate("[...document.querySelectorAll('details')].map(d => { d.open = true; return 1; })")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    shown = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shown == ("rgb(17, 23, 29)" if is_dark else "rgb(255, 255, 255)")


def test_every_control_is_reached_by_keyboard_and_shows_it(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["en"])
    count = tab.evaluate(f"{CONTROLS}.length")
    seen = []
    for _ in range(count):
        tab.press("Tab", 9)
        seen.append(tuple(tab.evaluate(ACTIVE)))
    assert len(set(seen)) == count
    assert {row[1] for row in seen} == {"A", "SUMMARY", "DIV"}
    assert [row for row in seen if row[2] == "none" or row[3] < 2] == []


def test_a_folded_part_opens_by_keyboard(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["en"])
    folded = "document.querySelector('figure details')"
    assert not tab.evaluate(f"{folded}.open")
    tab.evaluate(f"({folded}.querySelector('summary').focus(), 1)")
    tab.press("Enter", 13, text="\r")
    assert tab.evaluate(f"{folded}.open")


def test_on_paper_it_is_dark_on_white_with_everything_unfolded(tab: Tab, pages: dict[str, Path]) -> None:
    tab.open(pages["en"], is_dark=True, media="print")
    assert tab.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()") == "#ffffff"
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert tab.evaluate("document.querySelector('figure details table').getBoundingClientRect().height") > 20
