"""Whether a page keeps its promises: nothing fetched, nothing run, no larger than promised, links only to files beside it.

Belongs here: reading the finished HTML. Does not belong here: making it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from html.parser import HTMLParser

from sales_pipeline.delivery.report.limits import MOST_BYTES

FETCHING = frozenset(
    {
        "src",
        "href",
        "xlink:href",
        "srcset",
        "poster",
        "data",
        "action",
        "formaction",
        "background",
        "ping",
        "cite",
        "manifest",
    }
)
REFUSED = frozenset(
    {
        "script",
        "iframe",
        "frame",
        "object",
        "embed",
        "link",
        "img",
        "image",
        "base",
        "form",
        "audio",
        "video",
        "source",
        "portal",
    }
)
_CSS_URL = re.compile(r"url\(\s*['\"]?(?!#)", re.IGNORECASE)
_IMPORT = re.compile(r"@import|@font-face", re.IGNORECASE)


class _References(HTMLParser):
    """What a browser would fetch, run or follow; style sheets and style attributes too."""

    def __init__(self, files: Collection[str]) -> None:
        super().__init__()
        self.found: list[str] = []
        self._files = files
        self._is_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._is_style = tag == "style"
        if tag in REFUSED:
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            text = value or ""
            if name.startswith("on"):
                self.found.append(f"{tag} {name}")
            if (
                name in FETCHING
                and not text.startswith("#")
                and not (tag == "a" and name == "href" and text in self._files)
            ):
                self.found.append(f"{tag} {name}={text[:80]}")
            if name != "content" and _CSS_URL.search(text):
                self.found.append(f"{tag} {name}={text[:80]}")
            if tag == "meta" and name == "http-equiv" and text.lower() == "refresh":
                self.found.append("meta refresh")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  the signature is the library's
        self._is_style = False

    def handle_data(self, data: str) -> None:
        if self._is_style and (_CSS_URL.search(data) or _IMPORT.search(data)):
            self.found.append("style sheet with url() or @import")


def outside_references(page: str, files: Collection[str]) -> list[str]:
    """Everything on the page that leads out of it, but links to `files` of its own folder; empty for a page that stands alone."""
    reader = _References(files)
    reader.feed(page)
    reader.close()
    return reader.found


def size_problem(page: bytes) -> str | None:
    """A sentence where the page is larger than promised."""
    if len(page) <= MOST_BYTES:
        return None
    return f"the report has {len(page):,} bytes; at most {MOST_BYTES:,} are promised"
