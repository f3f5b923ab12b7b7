"""The verdicts on one set of canonical tables, computed once and kept with it.

Belongs here: keeping them, and the Data Docs made from them. Does not belong here: the checks (`clean.validate`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.io_managers import from_data, to_data
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.domain.identifiers import digest_bytes, digest_of
from sales_pipeline.lake.layout import Lake

if TYPE_CHECKING:
    from sales_pipeline.clean.prepare import Canonical
    from sales_pipeline.clean.validate import CheckResult

DOCS = "data_docs"


def validated(lake: Lake, canonical: "Canonical") -> tuple[dict[str, list["CheckResult"]], Path]:
    """The verdicts by table, and the folder of the Data Docs."""
    from sales_pipeline.clean import business, docs, validate

    code = [digest_bytes(Path(str(module.__file__)).read_bytes()) for module in (validate, business, docs)]
    key = digest_of(canonical.key, code, {name: validate.check_names(name) for name in CANONICAL_TABLES})

    def build(folder: Path) -> dict[str, Any]:
        results = {name: validate.validate(canonical, name) for name in CANONICAL_TABLES}
        docs.render_data_docs(results, folder / DOCS, run_name=canonical.key)
        return {name: to_data(verdicts) for name, verdicts in results.items()}

    folder, facts = lake.step("validated", key, build)
    return {name: from_data(facts[name]) for name in CANONICAL_TABLES}, folder / DOCS
