"""Numbers, money and days for people, in the report's language, by Unicode's locale data (CLDR, through Babel).

Belongs here: notation. Does not belong here: words (`words`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import date
from typing import Any

from babel.dates import format_date, format_skeleton
from babel.numbers import format_compact_currency, format_currency, format_decimal, format_percent

from sales_pipeline.features.terms import Language

LOCALES: dict[Language, str] = {"en": "en_US", "zh": "zh_Hans_CN"}
NOTHING = "–"


def is_known(value: Any) -> bool:
    """Whether there is a number: not None, NaN or infinite."""
    return isinstance(value, (int, float)) and math.isfinite(value)


class Formats:
    """Notation in one language. A value that is not known is a dash."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._locale = LOCALES[language]

    def count(self, value: Any) -> str:
        """A count, thousands apart."""
        return str(format_decimal(round(value), locale=self._locale)) if is_known(value) else NOTHING

    def number(self, value: Any, places: int = 2) -> str:
        """A number with so many decimals."""
        if not is_known(value):
            return NOTHING
        return str(format_decimal(round(value, places), format=f"#,##0.{'0' * places}", locale=self._locale))

    def money(self, value: Any, currency: str) -> str:
        """An amount in three or four digits: `$1.2M`."""
        if not is_known(value):
            return NOTHING
        if abs(value) < (999.5 if self.language == "en" else 9_999.5):
            return self.whole_money(value, currency)
        # Rounded first: else 999,999 became "$1000K".
        value = float(f"{round(value):.4g}")
        return _minus(format_compact_currency(value, currency, locale=self._locale, fraction_digits=1))

    def whole_money(self, value: Any, currency: str) -> str:
        """An amount to the unit: `$1,234,567`."""
        if not is_known(value):
            return NOTHING
        return _minus(format_currency(value, currency, format="¤#,##0", locale=self._locale, currency_digits=False))

    def percent(self, value: Any, places: int = 0) -> str:
        """A share (0–1) in percent; one decimal below 1 %."""
        if not is_known(value):
            return NOTHING
        places = max(places, 1 if 0 < abs(value) < 0.01 else 0)
        pattern = "#,##0" + ("." + "0" * places if places else "") + "%"
        return str(format_percent(round(value, places + 2), format=pattern, locale=self._locale))

    def points(self, value: Any) -> str:
        """A change of a share in percentage points, with its sign."""
        if not is_known(value):
            return NOTHING
        return f"{100 * value:+.0f}".replace("-", "−") if abs(value) >= 0.005 else "0"

    def span(self, low: Any, high: Any) -> str:
        """A range of shares: `12–34%`."""
        if not (is_known(low) and is_known(high)):
            return NOTHING
        return f"{self.percent(low).removesuffix('%')}–{self.percent(high)}"

    def money_span(self, low: Any, high: Any, currency: str) -> str:
        """A range of amounts."""
        return f"{self.money(low, currency)}–{self.money(high, currency)}"

    def day(self, value: date | None) -> str:
        """A day in full: `June 30, 2026`."""
        return str(format_date(value, format="long", locale=self._locale)) if value else NOTHING

    def short_day(self, value: date | None) -> str:
        """A day of this year: `Jun 30`."""
        return str(format_skeleton("MMMd", value, locale=self._locale)) if value else NOTHING

    def iso_day(self, value: date | None) -> str:
        """A day in figures: `2026-06-30`."""
        return value.isoformat() if value else NOTHING

    def hours(self, minutes: Any) -> str:
        """Minutes as hours, one decimal below ten."""
        if not is_known(minutes):
            return NOTHING
        hours = minutes / 60
        return self.number(hours, 1) if hours < 10 else self.count(hours)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def number_of(value: Any) -> float | None:
    """A cell as a number; None for None, NaN and NaT."""
    return float(value) if is_known(value) else None


def main_currency(currencies: Iterable[str | None]) -> str | None:
    """The currency of most rows, the first by code of several; None where there is none."""
    counts = {currency: count for currency, count in Counter(currencies).items() if currency}
    return min(counts, key=lambda code: (-counts[code], code)) if counts else None


def shortened(text: Any, most: int) -> str:
    """At most so many characters, the rest as an ellipsis; empty for nothing."""
    plain = "" if text is None else str(text)
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
