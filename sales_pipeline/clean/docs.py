"""Great Expectations' Data Docs of a run's checks, made to be read offline.

Belongs here: rendering and stripping. Does not belong here: running checks (`validate`). The renderer's pages load scripts, styles and an
image from other hosts; every such reference is removed, so a page opens without a network and tells nobody that it was opened.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sales_pipeline.clean.validate import CheckResult

_EXTERNAL = (
    re.compile(r"<script\b[^>]*\bsrc\s*=[^>]*>.*?</script\s*>", re.IGNORECASE | re.DOTALL),
    re.compile(r"<link\b[^>]*>", re.IGNORECASE),
    re.compile(r"<img\b[^>]*>", re.IGNORECASE),
    re.compile(r"<(iframe|object|embed)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL),
    re.compile(r"@import[^;]*;", re.IGNORECASE),
    re.compile(r"""url\(\s*["']?(?:https?:)?//[^)]*\)""", re.IGNORECASE),
    re.compile(r"<script\b(?:(?!</script).)*?(?:https?:)?//(?:(?!</script).)*</script\s*>", re.IGNORECASE | re.DOTALL),
)
_ADDRESS = re.compile(r"""(href|src|action)\s*=\s*(["'])(?:https?:)?//[^"']*\2""", re.IGNORECASE)
_STYLE = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    "<style>body{font-family:sans-serif;margin:2em;max-width:75em}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}</style>"
)


def strip_external(page: str) -> str:
    """The page without anything that would be fetched from another host, and with a policy that forbids it."""
    for pattern in _EXTERNAL:
        page = pattern.sub("", page)
    page = _ADDRESS.sub(r"\1=\2#\2", page)
    return re.sub(r"<head([^>]*)>", lambda m: f"<head{m.group(1)}>{_STYLE}", page, count=1, flags=re.IGNORECASE)


def render_data_docs(results: Mapping[str, Sequence[CheckResult]], folder: Path, *, run_name: str = "run") -> Path:
    """Write one page per table and an index into `folder`; returns the index. `results` by canonical table."""
    from great_expectations.render.view import DefaultJinjaPageView

    folder.mkdir(parents=True, exist_ok=True)
    view = DefaultJinjaPageView()
    for table, checks in results.items():
        page = str(view.render(_document(table, checks, run_name)))
        (folder / f"{table}.html").write_text(strip_external(page), encoding="utf-8")
    index = folder / "index.html"
    index.write_text(_index(results), encoding="utf-8")
    return index


def _document(table: str, checks: Sequence[CheckResult], run_name: str) -> Any:
    """The renderer's own page of one table, before it is put into HTML."""
    from great_expectations.core import ExpectationSuiteValidationResult, ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.render.renderer import ValidationResultsPageRenderer

    outcomes = [
        ExpectationValidationResult(
            success=check.passed,
            expectation_config=ExpectationConfiguration(
                type=check.kind, kwargs=check.arguments, meta={"check": check.name}
            ),
            result=_details(check),
            exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
        )
        for check in checks
    ]
    passed = sum(check.passed for check in checks)
    return ValidationResultsPageRenderer().render(
        ExpectationSuiteValidationResult(
            success=passed == len(checks),
            results=outcomes,
            suite_name=table,
            statistics={
                "evaluated_expectations": len(checks),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(checks) - passed,
                "success_percent": 100.0 * passed / len(checks) if checks else None,
            },
            meta={"run_id": run_name, "active_batch_definition": {"data_asset_name": table}},
        )
    )


def _details(check: CheckResult) -> dict[str, Any]:
    rows, faults = int(check.figures.get("rows", 0)), int(check.figures.get("rows_at_fault", 0))
    return {
        "element_count": rows,
        "missing_count": 0,
        "missing_percent": 0.0,
        "unexpected_count": faults,
        "unexpected_percent": 100.0 * faults / rows if rows else 0.0,
        "partial_unexpected_list": check.figures.get("examples", []),
        "observed_value": check.figures.get("observed"),
    }


def _index(results: Mapping[str, Sequence[CheckResult]]) -> str:
    rows = "".join(
        f'<tr><td><a href="{html.escape(table)}.html">{html.escape(table)}</a></td><td>{sum(c.passed for c in checks)} of {len(checks)}</td>'
        f"<td>{html.escape('; '.join(c.message for c in checks if not c.passed)) or 'all passed'}</td></tr>"
        for table, checks in results.items()
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{_STYLE}<title>Checks</title></head><body><h1>Checks</h1>'
        f"<table><tr><th>table</th><th>passed</th><th>not passed</th></tr>{rows}</table></body></html>\n"
    )
