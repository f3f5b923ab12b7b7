"""The report's words, by key, in English and in Simplified Chinese.

`{name}` stands for a value; `{name|one|many}` for the word that goes with a count (Chinese has one form).

Belongs here: putting values into texts. Does not belong here: the texts (`work`, `trust`, `management`), notation (`formats`).
"""

from __future__ import annotations

import re

from sales_pipeline.delivery.report.formats import Formats
from sales_pipeline.delivery.report.words.management import MANAGEMENT
from sales_pipeline.delivery.report.words.trust import TRUST
from sales_pipeline.delivery.report.words.work import WORK
from sales_pipeline.features.terms import Language

TEXTS: dict[str, tuple[str, str]] = {**WORK, **TRUST, **MANAGEMENT}
"""English and Chinese by key."""
PLACE = re.compile(r"\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}")


class Words:
    """Texts of one language; `formats` is its notation."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.formats = Formats(language)

    def __call__(self, key: str, **values: str | int) -> str:
        """The text of a key with its values; a whole number is written as a count. KeyError for an unknown key or a missing value."""
        text = TEXTS[key][0 if self.language == "en" else 1]

        def put(found: re.Match[str]) -> str:
            value = values[found[1]]
            if found[3] is not None:
                return found[2] if value == 1 else found[3]
            return self.formats.count(value) if isinstance(value, int) else value

        return PLACE.sub(put, text)

    def code(self, area: str, code: object) -> str:
        """A code of a table in words; one nobody translated stays as it is, with spaces."""
        key = f"{area}.{code}"
        return self(key) if key in TEXTS else str(code).replace("_", " ")

    def ended(self, text: str) -> str:
        """A text as a sentence."""
        return f"{text}." if self.language == "en" else f"{text}。"

    def lang(self, text: object) -> str:
        """The language of a text of a table where it is not the page's: tables speak English where nobody translated them."""
        return "en" if self.language != "en" and isinstance(text, str) and text.isascii() and " " in text else ""

    def sentences(self, *texts: str) -> str:
        """Sentences one after the other."""
        return (" " if self.language == "en" else "").join(text for text in texts if text)

    def joined(self, texts: list[str]) -> str:
        """A list within a sentence."""
        return (", " if self.language == "en" else "、").join(texts)
